"""Asking another model after a failure."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from mesa_llm.activation.repeats import log_once
from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.errors import ConfigurationError, ModelCallError
from mesa_llm.limits.failures import with_context

_logger = logging.getLogger(__name__)


class FallbackClient(AsyncClient):
    """Asks one model after the other until one answers.

    The next one is asked if a call to a model has failed (`ModelCallError`), so retries belong inside, around each
    model. Every other error is raised at once: an exhausted budget, an error in a program. Each call begins with the
    first model, whatever has become of others: so results stay a function of the answers. `LLMResponse.model` says who
    has answered.

    The last one may be a `RuleBasedClient`, which always answers:

        FallbackClient((RetryingClient(main), None), (RetryingClient(spare), "openai/gpt-4o-mini"), (rules, "rules/v1"))

    Args:
        *clients: each client with the model to ask it for, `provider/model`; `None` asks for the model that the request
            names.

    Raises:
        ConfigurationError: if there are no two of them.
    """

    def __init__(self, *clients: tuple[LLMClient, str | None]) -> None:
        if len(clients) < 2:
            raise ConfigurationError(
                f"FallbackClient needs at least two clients, got {len(clients)}. Use the client itself for no fallback."
            )
        for client in clients:
            _check(client)
        self.clients = clients

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Have the first client answer that can. Runs on the transport loop.

        Raises:
            ModelCallError: that of the last client; its text tells those of the others too, and its cause holds them.
        """
        failures: list[ModelCallError] = []
        for client, model in self.clients:
            asked = request if model is None else replace(request, model=model)
            if failures:
                log_once(
                    _logger,
                    logging.WARNING,
                    f"{asked.model} is asked instead, as a call has failed: {failures[-1]}",
                    model=None if asked.call.agent is None else asked.call.agent.model,
                    kind=(asked.model, type(failures[-1]), failures[-1].status),
                )
            try:
                response = await client.complete(asked)
            except ModelCallError as error:
                failures.append(error)
            else:
                return replace(response, retries=response.retries + _sent(failures)) if failures else response
        raise _all_failed(failures)


def _check(client: object) -> None:
    match client:
        case (LLMClient(), str() | None):
            return
    raise ConfigurationError(f"FallbackClient takes pairs of a client and a model (or None), got {client!r}.")


def _sent(failures: Sequence[ModelCallError]) -> int:
    """How often a request was sent that has failed so often."""
    return sum(error.retries + 1 for error in failures)


def _all_failed(failures: Sequence[ModelCallError]) -> ModelCallError:
    *earlier, last = failures
    failure = with_context(last, more=f"Before it, {len(earlier)} failed: {' | '.join(map(str, earlier))}")
    failure.retries += _sent(earlier)
    failure.__cause__ = ExceptionGroup(f"{len(failures)} models have failed", failures)
    return failure
