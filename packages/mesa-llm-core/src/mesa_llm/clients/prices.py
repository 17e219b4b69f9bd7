"""What calls cost, by the price list that litellm brings along."""

from __future__ import annotations

from mesa_llm.clients.messages import LLMRequest, Usage
from mesa_llm.clients.model_list import listed_model


def cost_of(llm_model: str, usage: Usage) -> float | None:
    """The price of a call in US dollars, at the list price of its provider.

    Tokens read and written, at the price of one: discounts (for cached prompts, or in batches) and extra charges (for
    very long prompts, or for searches) are left out. The list is as old as the litellm that is installed; without one
    there are no prices.

    Args:
        llm_model: the model, as `provider/model`.
        usage: the tokens that the call took.

    Returns:
        The price; `None` if the list does not have it, or the usage tells no tokens. A price of zero counts as not
        known: the list has it for free models, for servers of one's own, and where nobody has filled one in.
    """
    listed = listed_model(llm_model)
    if listed is None or listed.prompt_price is None or listed.completion_price is None or not usage.total_tokens:
        return None
    return usage.prompt_tokens * listed.prompt_price + usage.completion_tokens * listed.completion_price


def price_of(request: LLMRequest, prompt_tokens: int, completion_tokens: int) -> float | None:
    """The list price of a request that takes so many tokens, in US dollars; `None` if it is not known.

    For the argument `price` of `mesa_llm.limits.BudgetClient`, which estimates by it before a call. It goes by the
    model's name alone, so it is meant for models at their provider's own address.

    Args:
        request: the request.
        prompt_tokens: tokens read.
        completion_tokens: tokens written.
    """
    return cost_of(request.model, Usage(prompt_tokens, completion_tokens))
