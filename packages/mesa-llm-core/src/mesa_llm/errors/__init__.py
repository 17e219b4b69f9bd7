"""The errors and warnings that mesa-llm raises.

The tree, and the classes outside of it:

    MesaLLMError
    ├── ConfigurationError (ValueError)     an argument, or a combination of them, that cannot work
    ├── TurnError (RuntimeError)            the turn of a parallel step was used at the wrong time
    ├── DecisionError                       the model answered, and the answer cannot be used
    │   ├── ActionChoiceError (ValueError)  it chooses no action that can be taken
    │   └── DecisionTimeoutError (TimeoutError)  an agent took longer to decide than allowed
    ├── ModelCallError                      a call to a model failed
    │   ├── MissingAPIKeyError              the provider requires an API key
    │   ├── UnknownModelError               unknown provider, or unknown to the provider
    │   ├── EndpointUnreachableError        no server answers at the address
    │   ├── RateLimitedError                the provider asks for fewer calls (429)
    │   └── ModelTimeoutError (TimeoutError)
    ├── BudgetExhaustedError                a call would exceed the budget, so it was not made
    ├── JournalError                        the journal cannot be used
    │   ├── JournalMissError                a replay needs a call that is not recorded
    │   └── ReplayDifferenceError           a replayed or resumed run comes to another state than the recorded one
    ├── RecordingError (ValueError)         a file is not a readable recording
    ├── ToolError                           a tool refuses a call; its text goes back to the model
    │   ├── ActionError (ValueError)        an action is refused
    │   └── ConflictError                   another agent acted first
    ├── ActionPostCommitError (RuntimeError)  in mesa_llm.actions: an action was taken, and could not be remembered
    ├── VerificationError                   in mesa_llm.parallel_stepping: a run differs from plain Mesa's
    └── ParallelStepError (ExceptionGroup)  in mesa_llm.parallel_stepping: failed decisions of a step

    StepAborted (BaseException)             ends an agent whose step is aborted
    DistributionConflictError (ImportError) the distribution `mesa-llm` is installed beside this one
    NotParallelWarning (UserWarning)        a step should run in parallel and does not
    ReproducibilityWarning (UserWarning)    the result depends on how fast the model answers
"""

from __future__ import annotations

import sys
from pathlib import Path

from mesa_llm.errors.shown_text import masked_address

__all__ = [
    "ActionChoiceError",
    "ActionError",
    "BudgetExhaustedError",
    "ConfigurationError",
    "ConflictError",
    "DecisionError",
    "DecisionTimeoutError",
    "DistributionConflictError",
    "EndpointUnreachableError",
    "JournalError",
    "JournalMissError",
    "MesaLLMError",
    "MissingAPIKeyError",
    "ModelCallError",
    "ModelTimeoutError",
    "NotParallelWarning",
    "RateLimitedError",
    "RecordingError",
    "ReplayDifferenceError",
    "ReproducibilityWarning",
    "ToolError",
    "TurnError",
    "UnknownModelError",
]


class MesaLLMError(Exception):
    """Root of all errors of mesa-llm."""


class ConfigurationError(MesaLLMError, ValueError):
    """An argument, or a combination of arguments, cannot work."""


class TurnError(MesaLLMError, RuntimeError):
    """A turn was used after its step, or in a way that would block every agent."""


class DecisionError(MesaLLMError):
    """The model answered, but its answer cannot be used as a decision."""


class DecisionTimeoutError(DecisionError, TimeoutError):
    """An agent took longer to decide than `decide_timeout` allows."""


class ModelCallError(MesaLLMError):
    """A call to a model failed.

    Args:
        message: the text of the error.

    Attributes:
        model: the model's name, as `provider/model`.
        endpoint: the base URL that was called, without password and keys; `None` where only litellm knows it.
        status: the HTTP status, or the one that an error in an answer with status 200 stands for; `None` if there was
            no answer, or it names none.
        retry_after: seconds after which the server asks for the next attempt; `None` if it names none.
        is_transient: whether the same request may succeed later, because the server was busy, slow or unreachable. A
            wrong request, key or model name is permanent.
        retries: how often the request was sent again before this failure.
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
    """The provider requires an API key, and none was found."""


class UnknownModelError(ModelCallError):
    """The name belongs to no known provider, or the provider has no such model."""


class EndpointUnreachableError(ModelCallError):
    """No server answers at the address."""


class RateLimitedError(ModelCallError):
    """The provider asks for fewer calls (HTTP 429)."""


class ModelTimeoutError(ModelCallError, TimeoutError):
    """The provider did not answer in time."""


class BudgetExhaustedError(MesaLLMError):
    """A call would exceed the budget, so it was not made. It ends a parallel step whatever `on_error` is.

    Args:
        message: the text of the error.

    Attributes:
        spent_tokens: tokens used so far, with an estimate for calls in flight.
        spent_cost: their price in US dollars, as far as it is known.
    """

    def __init__(self, message: str, *, spent_tokens: int = 0, spent_cost: float = 0.0) -> None:
        super().__init__(message)
        self.spent_tokens = spent_tokens
        self.spent_cost = spent_cost


class JournalError(MesaLLMError):
    """The journal cannot be used: the file is not a journal, is damaged or in use, or holds no such run."""


class JournalMissError(JournalError):
    """A replay needs a call that the journal does not hold."""


class ReplayDifferenceError(JournalError):
    """A step of a replayed or resumed run ended in another state than the recorded one; the message says where."""


class RecordingError(MesaLLMError, ValueError):
    """A file is not a recording of a simulation, or cannot be read."""


class ToolError(MesaLLMError):
    """A tool refuses a call. Raise it in a tool; its text goes back to the model and into the agent's memory."""


class ConflictError(ToolError):
    """A tool refuses a call because another agent acted first, after this agent had decided."""


class ActionError(ToolError, ValueError):
    """An action is refused: none of that name is on offer, its arguments do not fit, or the world does not allow it.

    Raise it in an action. As the result of an action that a model has chosen, its text goes into the agent's memory.
    """


class ActionChoiceError(DecisionError, ValueError):
    """The model was asked to choose an action, and neither of its two answers names one that can be taken."""


class StepAborted(BaseException):
    """Ends an agent whose step was aborted.

    Not an `Exception`, so that an agent's own `except Exception` cannot turn an aborted step into an act.
    """


class NotParallelWarning(UserWarning):
    """A model asks for parallel stepping, but its agents do not step in parallel."""


class ReproducibilityWarning(UserWarning):
    """The result of a step depends on how fast the model answers."""


class DistributionConflictError(ImportError):
    """The distribution `mesa-llm` is, or was, installed in the same environment."""


_PERMANENT = frozenset({401, 402, 403, 404})


def ends_run(error: BaseException) -> bool:
    """Whether a run must stop at this error, because it would recur or because the run would become another one.

    True for a wrong key, model name or account, an argument that cannot work, a spent budget, and a journal that cannot
    be read or lacks the call.
    """
    if isinstance(error, RateLimitedError):
        return error.status is not None and not error.is_transient  # the account's quota is spent
    if isinstance(error, ModelCallError):
        return isinstance(error, MissingAPIKeyError | UnknownModelError) or error.status in _PERMANENT
    return isinstance(error, ConfigurationError | TurnError | BudgetExhaustedError | JournalError)


def refuse_foreign_package() -> None:
    """Raise a `DistributionConflictError` if `mesa_llm/__init__.py` is not ours, or files of `mesa-llm` are beside it.

    The distribution installed last has overwritten files of the other, and uninstalling either removes them.
    """
    package = sys.modules["mesa_llm"]
    modules = [Path(folder) / "llm_agent.py" for folder in package.__path__]  # ours is a package
    theirs = [module for module in modules if module.exists()]
    if theirs:
        found = f"{theirs[0]} belongs to the distribution 'mesa-llm'"
    elif package.__file__ is None:
        found = f"{Path(__file__).parents[1]} has no __init__.py: uninstalling the distribution 'mesa-llm' removes it"
    elif not hasattr(package, "_DISTRIBUTION"):
        found = f"{package.__file__} does not belong to 'mesa-llm-core', but probably to the distribution 'mesa-llm'"
    else:
        return
    raise DistributionConflictError(
        f"{found}. 'mesa-llm' and 'mesa-llm-core' both provide the package mesa_llm, so only one of them can be "
        "installed: `pip uninstall mesa-llm`, then `pip install --force-reinstall mesa-llm-core mesa-llm-parallel`."
    )


refuse_foreign_package()
