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
    │   └── JournalMissError                a replay needs a call that is not recorded
    ├── RecordingError (ValueError)         a file is not a readable recording
    ├── ToolError                           a tool refuses a call; its text goes back to the model
    │   ├── ActionError (ValueError)        an action is refused
    │   └── ConflictError                   another agent acted first
    ├── ActionPostCommitError (RuntimeError)  in mesa_llm.actions: an action was taken, and could not be remembered
    └── ParallelStepError (ExceptionGroup)  in mesa_llm.parallel_stepping: failed decisions of a step

    StepAborted (BaseException)             ends an agent whose step is aborted
    DistributionConflictError (ImportError) the distribution `mesa-llm` is installed beside this one
    NotParallelWarning (UserWarning)        a step should run in parallel and does not
    ReproducibilityWarning (UserWarning)    the result depends on how fast the model answers
"""

from mesa_llm.errors.exceptions import (
    ActionChoiceError,
    ActionError,
    BudgetExhaustedError,
    ConfigurationError,
    ConflictError,
    DecisionError,
    DecisionTimeoutError,
    DistributionConflictError,
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
    ToolError,
    TurnError,
    UnknownModelError,
    refuse_foreign_package,
)
from mesa_llm.errors.exceptions import StepAborted as StepAborted

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
    "ReproducibilityWarning",
    "ToolError",
    "TurnError",
    "UnknownModelError",
]

refuse_foreign_package()
