"""Everything that mesa-llm raises on purpose.

The tree, and what stands outside it for a reason:

    MesaLLMError
    ├── ConfigurationError (ValueError)     an argument, or a combination of them, that cannot work
    ├── TurnError (RuntimeError)            the turn of a parallel step used where it cannot be
    ├── DecisionError                       the model answered, and the answer cannot be used
    │   └── DecisionTimeoutError (TimeoutError)  an agent has taken longer to decide than it was given
    ├── ModelCallError                      a call to a model failed
    │   ├── MissingAPIKeyError              the provider wants a key and there is none
    │   ├── UnknownModelError               no provider, or no such model at the provider
    │   ├── EndpointUnreachableError        nobody answers at the address
    │   ├── RateLimitedError                the provider asks to be called less often (429)
    │   └── ModelTimeoutError (TimeoutError)
    ├── BudgetExhaustedError                a call would overrun the budget, so it was not made
    ├── JournalError                        the journal cannot be used
    │   └── JournalMissError                a replay was asked for what is not recorded
    ├── RecordingError (ValueError)         a file is not a recording that can be read
    ├── ToolError                           a tool refuses a call; its text goes back to the model
    │   └── ConflictError                   another agent was first
    └── ParallelStepError (ExceptionGroup)  in mesa_llm.parallel_stepping: decisions of a step that failed

    StepAborted (BaseException)             ends an agent that waits while its step is called off
    DistributionConflictError (ImportError) the distribution `mesa-llm` is installed beside this one
    NotParallelWarning (UserWarning)        a step that was to run in parallel does not
    ReproducibilityWarning (UserWarning)    the result depends on how fast the model answers
"""

from mesa_llm.errors import namespace
from mesa_llm.errors.exceptions import (
    BudgetExhaustedError,
    ConfigurationError,
    ConflictError,
    DecisionError,
    DecisionTimeoutError,
    EndpointUnreachableError,
    JournalError,
    JournalMissError,
    MesaLLMError,
    MissingAPIKeyError,
    ModelCallError,
    ModelTimeoutError,
    NotParallelWarning,
    RateLimitedError,
    RecordingError,
    ReproducibilityWarning,
    StepAborted,
    ToolError,
    TurnError,
    UnknownModelError,
)
from mesa_llm.errors.namespace import DistributionConflictError

__all__ = [
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
    "ReproducibilityWarning",
    "StepAborted",
    "ToolError",
    "TurnError",
    "UnknownModelError",
]

namespace.check()
