"""The exception classes; the tree is drawn in `mesa_llm.errors`."""


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

    Attributes:
        model: the model's name, as `provider/model`.
        endpoint: the base URL that was called, `None` for the provider's own.
        status: the HTTP status, `None` if there was no answer.
    """

    def __init__(
        self, message: str, *, model: str | None = None, endpoint: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.model = model
        self.endpoint = endpoint
        self.status = status


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
