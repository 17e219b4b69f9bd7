"""How the agents of a run reach whoever decides: a language model, or the example's rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.shown_text import masked_address
from mesa_llm_examples.words import RULE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mesa_llm.clients import Answer, LLMClient, LLMRequest

ATTEMPTS = 6
LATENCY = 0.05
TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WayToModel:
    """The way to a language model; without one, a rule decides.

    What is `None` is as usual: see the constants above.

    Attributes:
        llm_model: the language model, as `provider/model`; `None` for the example's rule.
        api_base: the base URL of the model's server; `None` for the provider's own.
        timeout: seconds to wait for an answer of the model.
        max_attempts: how often a request is sent at most.
        latency: seconds until the rule answers.

    Raises:
        ConfigurationError: if one is given that has no meaning beside the others.
    """

    llm_model: str | None = None
    api_base: str | None = field(default=None, repr=False)
    timeout: float | None = None
    max_attempts: int | None = None
    latency: float | None = None

    def __post_init__(self) -> None:
        if self.llm_model is not None:
            if self.latency is not None:
                raise ConfigurationError("--latency is for runs without --model: a model takes the time it takes.")
            return
        if self.api_base is not None:
            raise ConfigurationError("--api-base needs --model, for example --model openai/NAME.")
        if self.max_attempts is not None:
            raise ConfigurationError("--max-attempts needs --model: without it nothing is sent.")
        if self.timeout is not None:
            raise ConfigurationError("--timeout needs --model: without it nobody is waited for.")

    def client(self, policy: Callable[[LLMRequest], Answer]) -> LLMClient:
        """A client that goes this way. Imports Mesa.

        Args:
            policy: decides if no model is to be asked.
        """
        from mesa_llm.clients import RuleBasedClient  # noqa: PLC0415 - imports Mesa
        from mesa_llm.module_llm import connect  # noqa: PLC0415

        if self.llm_model is None:
            return RuleBasedClient(policy, latency=self.simulated_latency_s or 0.0)
        return connect(
            api_base=self.api_base,
            timeout=TIMEOUT if self.timeout is None else self.timeout,
            max_attempts=ATTEMPTS if self.max_attempts is None else self.max_attempts,
        )

    def prepare(self) -> None:
        """Import what the first call would wait for, so that the time of the first run does not have it."""
        from mesa_llm.clients import LiteLLMClient  # noqa: PLC0415 - imports Mesa
        from mesa_llm.clients.litellm_module import load_litellm  # noqa: PLC0415
        from mesa_llm.clients.masking import Secrets  # noqa: PLC0415
        from mesa_llm.clients.transport import TransportClient  # noqa: PLC0415
        from mesa_llm.concurrency import transport_loop  # noqa: PLC0415

        if self.llm_model is None:
            return
        if isinstance(TransportClient(api_base=self.api_base).transport_for(self.llm_model), LiteLLMClient):
            transport_loop.submit(load_litellm(Secrets())).result()

    @property
    def simulated_latency_s(self) -> float | None:
        """Seconds that each answer of the rule is said to take; `None` if a model is asked, whose time is its own."""
        if self.llm_model is not None:
            return None
        return LATENCY if self.latency is None else self.latency

    @property
    def simulated(self) -> str:
        """What is said beside the times of simulated answers; empty if a model is asked."""
        seconds = self.simulated_latency_s
        return "" if seconds is None else f"simulated, {seconds:g} s each"

    @property
    def answers(self) -> str:
        """Whose answers they are: those of a model, or simulated ones."""
        seconds = self.simulated_latency_s
        return f"answers of {self.decides}" if seconds is None else f"simulated answers, {seconds:g} s each"

    @property
    def decides(self) -> str:
        """Who decides, in few words; the address without password and keys."""
        if self.llm_model is None:
            return RULE
        return f"{self.llm_model} at {masked_address(self.api_base)}" if self.api_base else self.llm_model

    def __str__(self) -> str:
        """Who decides, in one or two sentences."""
        if self.llm_model is None:
            return f"Decisions: {self.decides}, no model is asked. Its answers are {self.simulated}."
        return f"Decisions: {self.decides}."
