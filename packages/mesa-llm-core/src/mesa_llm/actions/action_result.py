"""What comes of an action, and the error of one that was taken and could not be remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mesa_llm.errors import ConfigurationError, MesaLLMError

if TYPE_CHECKING:
    from mesa_llm.actions.action_manager import ActionChoice

_OBSERVERS = {"memory", "recorder"}


@dataclass(frozen=True)
class ActResult:
    """What an agent has done.

    Attributes:
        action: what it has chosen, with the arguments converted.
        result: what the action has returned; `"Error: …"` if it was refused.
    """

    action: ActionChoice
    result: Any


class ActionPostCommitError(MesaLLMError, RuntimeError):
    """An action was taken, and the agent's memory or its recorder could not keep it. Do not take it again.

    Args:
        action: what was chosen.
        result: what the action has returned.
        observer_errors: what `memory`, `recorder` or both have raised.

    Attributes:
        committed: true: the world has changed.
        action: what was chosen, with the arguments converted.
        result: what the action has returned, the object itself.
        observer_errors: what went wrong, by `memory` and `recorder`.

    Raises:
        ConfigurationError: if `observer_errors` is empty or names another observer.
        TypeError: if it holds something that is not an exception.
    """

    committed = True

    def __init__(self, action: ActionChoice, result: Any, observer_errors: Mapping[str, Exception]) -> None:
        if not observer_errors or not observer_errors.keys() <= _OBSERVERS:
            raise ConfigurationError(
                f"observer_errors must have 'memory', 'recorder' or both, got {list(observer_errors)}."
            )
        for name, error in observer_errors.items():
            if not isinstance(error, Exception):
                raise TypeError(f"observer_errors[{name!r}] must be an exception, got {error!r}.")
        said = "; ".join(f"{name}: {type(error).__name__}: {error}" for name, error in observer_errors.items())
        super().__init__(f"The action {action.name!r} was taken, and could not be kept ({said}). Do not take it again.")
        self.action = action
        self.result = result
        self.observer_errors = dict(observer_errors)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.action, self.result, self.observer_errors)
