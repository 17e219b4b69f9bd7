"""`@record_model`, which records every model of a class."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from mesa_llm.errors import ConfigurationError
from mesa_llm.recording.simulation_recorder import SimulationRecorder

if TYPE_CHECKING:
    from mesa import Model

    from mesa_llm.recording.writer import Format

_RECORDED = "__mesa_llm_recorded__"


@overload
def record_model[M: Model[Any, Any]](cls: type[M]) -> type[M]: ...
@overload
def record_model[M: Model[Any, Any]](
    cls: None = None,
    *,
    output_dir: str | Path = "recordings",
    record_state_changes: bool = True,
    auto_save_interval: int | None = None,
) -> Callable[[type[M]], type[M]]: ...
def record_model(
    cls: type[Any] | None = None,
    *,
    output_dir: str | Path = "recordings",
    record_state_changes: bool = True,
    auto_save_interval: int | None = None,
) -> Any:
    """Record every model of a class and of its subclasses.

    Each model gets a `SimulationRecorder` as `recorder`, before its `__init__` runs, which records its steps and its
    agents. `model.save_recording(filename=None, format="json")` saves a copy of the recording so far. A model whose
    `recorder` is set to `None` is not recorded, for example a copy with which an agent looks ahead. A subclass may be
    decorated again, with other options.

    Args:
        cls: the model's class.
        output_dir: the folder for recordings; this and the other options as for `SimulationRecorder`.
        record_state_changes: whether to record what has changed about agents in each step.
        auto_save_interval: after how many events they are handed to the operating system at the latest.

    Returns:
        The class itself; the decorator if only options are given.
    """
    options = {
        "output_dir": output_dir,
        "record_state_changes": record_state_changes,
        "auto_save_interval": auto_save_interval,
    }
    if cls is None:
        return functools.partial(record_model, **options)
    cls.__init__ = _recorded_init(cls.__init__, options)
    cls.step = _recorded_step(cls.step)
    cls.save_recording = _save_recording
    cls.__init_subclass__ = _recorded_subclasses(cls)
    return cls


def _recorded_init(init: Callable[..., None], options: dict[str, Any]) -> Callable[..., None]:
    @functools.wraps(init)
    def recorded(self: Any, *args: Any, **kwargs: Any) -> None:
        outermost = not isinstance(vars(self).get("recorder"), SimulationRecorder)
        if outermost:
            self.recorder = recorder = SimulationRecorder(self, **options)
        init(self, *args, **kwargs)
        if outermost:
            if not isinstance(self.recorder, SimulationRecorder):
                self.recorder = recorder
            self.recorder.start()

    return recorded


def _recorded_step(step: Callable[..., Any]) -> Callable[..., Any]:
    if hasattr(step, _RECORDED):
        return step

    @functools.wraps(step)
    def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = vars(self).get("recorder")
        if not isinstance(recorder, SimulationRecorder):
            return step(self, *args, **kwargs)
        with recorder.recording_step():
            return step(self, *args, **kwargs)

    setattr(recorded, _RECORDED, True)
    return recorded


def _recorded_subclasses(cls: type[Any]) -> Any:
    own = vars(cls).get("__init_subclass__")

    def recorded(subclass: type[Any], /, **kwargs: Any) -> None:
        if own is None:
            super(cls, subclass).__init_subclass__(**kwargs)
        else:
            own.__get__(None, subclass)(**kwargs)
        if "step" in vars(subclass):
            subclass.step = _recorded_step(subclass.step)

    return classmethod(recorded)


def _save_recording(self: Any, filename: str | Path | None = None, format: Format = "json") -> Path:  # noqa: A002
    """Save what has been recorded so far; see `SimulationRecorder.save`."""
    if not isinstance(self.recorder, SimulationRecorder):
        raise ConfigurationError(f"{type(self).__name__} is not recorded: its recorder is {self.recorder!r}.")
    return self.recorder.save(filename, format)


_save_recording.__name__ = "save_recording"
