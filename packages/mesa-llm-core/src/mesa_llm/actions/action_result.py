"""What an agent chooses to do, what comes of it, and the error of an action that could not be remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

from mesa_llm.errors import ConfigurationError, MesaLLMError

_OBSERVERS = {"memory", "recorder"}


class ActionChoice(BaseModel):
    """An action, and what to call it with.

    Attributes:
        name: the name of the action.
        arguments: its arguments, by name.
        rationale: why it was chosen; `None` if nobody said.
    """

    model_config = ConfigDict(defer_build=True)

    name: str
    arguments: dict[str, Any]
    rationale: str | None = None
    _by_model: bool = PrivateAttr(default=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActionChoice):
            return NotImplemented
        return self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]


def chosen_by_model(choice: ActionChoice) -> ActionChoice:
    """Mark a choice as made by a model: if it is refused, the refusal is its result, not an exception."""
    choice._by_model = True
    return choice


def is_by_model(choice: Any) -> bool:
    """Whether a model made the choice, rather than the user's code."""
    return isinstance(choice, ActionChoice) and choice._by_model


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
