"""The exception classes; the tree is drawn in `mesa_llm.errors`."""

from __future__ import annotations

from mesa_llm.errors.shown_text import masked_address


class MesaLLMError(Exception):
    """Root of all errors of mesa-llm."""


class ConfigurationError(MesaLLMError, ValueError):
    """An argument, or a combination of arguments, cannot work."""


class TurnError(MesaLLMError, RuntimeError):
    """A turn was used where it cannot be: after its step, or in a way that would block every agent."""


class DecisionError(MesaLLMError):
    """The model answered, but its answer is not a decision."""


class DecisionTimeoutError(DecisionError, TimeoutError):
    """An agent has taken longer to decide than it was given."""


class ModelCallError(MesaLLMError):
    """A call to a model failed.

    Args:
        message: what the error says.

    Attributes:
        model: the model's name, as `provider/model`.
        endpoint: the base URL that was called, without password and keys; `None` where only litellm knows it.
        status: the HTTP status, or the one that an error in an answer with status 200 stands for; `None` if there was
            no answer, or it does not say.
        retry_after: seconds after which the server wants to be asked again; `None` if it does not say.
        is_transient: whether the same request may well succeed later: the server was busy, slow or not there. A wrong
            request, key or name is not.
        retries: how often the request had been sent again before this failure.
        bad_answer: whether the server has refused what the model itself wrote, such as a tool call that it cannot read
            (Groq's `tool_use_failed`). Asking again may give a better answer; waiting does not help, so it is not
            transient.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str | None = None,
        endpoint: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        is_transient: bool = False,
        retries: int = 0,
        bad_answer: bool = False,
    ) -> None:
        super().__init__(message)
        self.model = model
        self.endpoint = None if endpoint is None else masked_address(endpoint)
        self.status = status
        self.retry_after = retry_after
        self.is_transient = is_transient
        self.retries = retries
        self.bad_answer = bad_answer


class MissingAPIKeyError(ModelCallError):
    """The provider wants an API key and none was found."""


class UnknownModelError(ModelCallError):
    """The name leads to no provider, or the provider has no such model."""


class EndpointUnreachableError(ModelCallError):
    """Nobody answers at the address."""


class RateLimitedError(ModelCallError):
    """The provider asks to be called less often (HTTP 429)."""


class ModelTimeoutError(ModelCallError, TimeoutError):
    """The provider did not answer in time."""


class BudgetExhaustedError(MesaLLMError):
    """A call would overrun the budget, so it was not made. A parallel step raises it whatever its `on_error` says.

    Args:
        message: what the error says.

    Attributes:
        spent_tokens: tokens taken so far, those of calls in flight as estimated.
        spent_cost: their price in US dollars, as far as it is known.
    """

    def __init__(self, message: str, *, spent_tokens: int = 0, spent_cost: float = 0.0) -> None:
        super().__init__(message)
        self.spent_tokens = spent_tokens
        self.spent_cost = spent_cost


class JournalError(MesaLLMError):
    """The journal cannot be used: it is no journal, is in use, or holds no such run."""


class JournalMissError(JournalError):
    """A replay was asked for what the journal does not hold."""


class RecordingError(MesaLLMError, ValueError):
    """A file is not a recording of a simulation, or not one that can be read."""


class ToolError(MesaLLMError):
    """A tool refuses a call. Raise it in a tool: the text goes back to the model and into the agent's memory."""


class ConflictError(ToolError):
    """A tool refuses a call because another agent was first, since the decision was made."""


class StepAborted(BaseException):
    """Ends an agent whose step has been called off.

    Not an `Exception`, so that an agent's own `except Exception` cannot turn a step that was called off into an act.
    """


class NotParallelWarning(UserWarning):
    """A model asks for parallel stepping, and its agents do not step in parallel."""


class ReproducibilityWarning(UserWarning):
    """Agents do something whose result depends on how fast the model answers."""


_REFUSED_FOR_GOOD = frozenset({401, 402, 403, 404})


def ends_run(error: BaseException) -> bool:
    """Whether it makes no sense to go on after an error: it would come again, or the run would be another one.

    The key, the name of the model or the account is wrong; an argument cannot work; a budget is spent; a journal cannot
    be read, or does not hold what is asked for.

    Args:
        error: what a decision, a tool or the upkeep of a memory has failed with.
    """
    if isinstance(error, RateLimitedError):
        return error.status is not None and not error.is_transient  # the account's quota is spent
    if isinstance(error, ModelCallError):
        return isinstance(error, MissingAPIKeyError | UnknownModelError) or error.status in _REFUSED_FOR_GOOD
    return isinstance(error, ConfigurationError | TurnError | BudgetExhaustedError | JournalError)
