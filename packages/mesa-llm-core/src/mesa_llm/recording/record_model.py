"""`@record_model`, which records every model of a class, and `record_run`, which records one."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from mesa_llm.activation.context import within
from mesa_llm.concurrency import fork_safe_lock
from mesa_llm.errors import ConfigurationError
from mesa_llm.journal import RunJournal
from mesa_llm.recording.simulation_recorder import SimulationRecorder

if TYPE_CHECKING:
    from mesa import Model

    from mesa_llm.recording.writer import Format

type _MakeRecorder = Callable[[Any, Mapping[str, Any]], SimulationRecorder]
"""Makes the recorder of a model, given its parameters."""

_RECORDED = "__mesa_llm_recorded__"
_preparing = fork_safe_lock()  # protects classes: several threads may record a model each
_next_recorder: ContextVar[_MakeRecorder | None] = ContextVar("mesa_llm_next_recorder", default=None)
"""Makes the recorder of the model that `record_run` is making."""


@overload
def record_model[M: Model[Any, Any]](cls: type[M]) -> type[M]: ...
@overload
def record_model[M: Model[Any, Any]](
    cls: None = None,
    *,
    output_dir: str | Path = "recordings",
    record_state_changes: bool = True,
    auto_save_interval: int | None = None,
    path: str | Path | None = None,
) -> Callable[[type[M]], type[M]]: ...
def record_model(
    cls: type[Any] | None = None,
    *,
    output_dir: str | Path = "recordings",
    record_state_changes: bool = True,
    auto_save_interval: int | None = None,
    path: str | Path | None = None,
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
        path: a journal, in which each model records a run of its own as `record_run` does, in the place of a file of
            events in `output_dir`.

    Returns:
        The class itself; the decorator if only options are given.
    """
    if cls is None:
        return functools.partial(
            record_model,
            output_dir=output_dir,
            record_state_changes=record_state_changes,
            auto_save_interval=auto_save_interval,
            path=path,
        )

    def make(model: Any, parameters: Mapping[str, Any]) -> SimulationRecorder:
        journal = None if path is None else RunJournal(path)
        options: Any = (output_dir, record_state_changes, auto_save_interval)
        return SimulationRecorder(model, *options, journal=journal, parameters=parameters)

    cls.__init__ = _recorded_init(cls.__init__, make)
    _record_steps(cls)
    cls.save_recording = _save_recording
    return cls


@contextlib.contextmanager
def record_run[M: Model[Any, Any]](
    model_class: type[M],
    parameters: Mapping[str, Any] | None = None,
    *,
    path: str | os.PathLike[str],
    mode: Literal["record", "replay", "resume"] = "record",
    run: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Iterator[M]:
    """Make a model and record its run, as a whole, in one file.

    The file is a journal. It holds what was run: the class of the model and the digest of its source, parameters, seed,
    activation, language models with address and sampling options, instructions, tools, versions, and the commit where
    the source is in a Git repository. It holds every step with its time, its reports and the `state_hash` of the model,
    every call of an agent to a language model with request and answer, every event of every agent, and how the run
    ended: with the block, or with the exception that leaves it. It is written as the run goes on, and can be read
    meanwhile, and after the process was killed. It holds no keys.

    The agents may ask any client: it needs no wrapper. Calls that the model makes itself, in its `__init__` or its
    `step`, are recorded too.

    ```python
    from pathlib import Path
    from tempfile import mkdtemp

    from mesa import Model

    from mesa_llm.journal import Journal
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.reasoning import CoTReasoning
    from mesa_llm.recording import record_run
    from mesa_llm.testing import ScriptedLLM

    class Town(Model):
        def __init__(self, people, client=None, rng=None):
            super().__init__(rng=rng)
            for _ in range(people):
                LLMAgent(self, CoTReasoning, client=client, step_prompt="Where do you go?")

        def step(self):
            self.agents.shuffle_do("step")

    path = Path(mkdtemp()) / "town.sqlite"
    llm = ScriptedLLM("Action: stay.")  # without a client, agents ask the model of their llm_model
    with record_run(Town, {"people": 3, "rng": 7, "client": llm}, path=path) as town:
        for _ in range(2):
            town.step()
    run = Journal(path).run()
    print(run.status, run.steps, run.calls, run.identity["model"]["parameters"])
    #> completed 2 12 {'people': 3, 'rng': 7}
    ```

    Args:
        model_class: the class of the model.
        parameters: its arguments, by name.
        path: the file, which may hold any number of runs; created in mode `record` if it does not exist.
        mode: `record` records a new run. `resume` goes on with one that was interrupted: what was recorded is not asked
            again. `replay` answers all calls from the file, and writes nothing. In both, the state after each recorded
            step is compared with the recorded one. The modes of `JournaledClient` say more.
        run: the name of the run. By default a new number in mode `record`; otherwise the newest run.
        metadata: kept with a new run, as JSON.

    Yields:
        The model.

    Raises:
        ConfigurationError: if an argument cannot work.
        JournalError: if the file cannot be used, see `JournaledClient`; in a step also `JournalMissError`, if a call is
            not recorded, and `ReplayDifferenceError`, if the state is another one.
    """
    if not isinstance(model_class, type):
        raise ConfigurationError(
            f"model_class must be a class of models, got {model_class!r}. Its arguments go into parameters, as a dict."
        )
    with recorded_in(RunJournal(path, mode=mode, run=run, metadata=metadata), model_class, parameters or {}) as model:
        yield model


@contextlib.contextmanager
def recorded_in[M: Model[Any, Any]](
    journal: RunJournal, model_class: type[M], parameters: Mapping[str, Any]
) -> Iterator[M]:
    """Make a model and record its run in a journal, which is closed at the end. See `record_run`."""

    def make(model: Any, bound: Mapping[str, Any]) -> SimulationRecorder:
        return SimulationRecorder(model, journal=journal, parameters=bound)

    with journal:
        with _preparing:
            if not hasattr(model_class.__init__, _RECORDED):
                model_class.__init__ = _recorded_init(model_class.__init__, None)
                _record_steps(model_class)
        token = _next_recorder.set(make)
        try:
            model = model_class(**parameters)
        finally:
            _next_recorder.reset(token)
        recorder: SimulationRecorder = model.recorder
        try:
            yield model
        except BaseException as error:
            recorder.ended(error)
            raise
        result = getattr(model, "result", None)
        recorder.ended(result=str(result()) if callable(result) else None)


def _record_steps(cls: type[Any]) -> None:
    """Have the steps of a class, and of its subclasses, recorded, of models that have a recorder."""
    cls.step = _recorded_step(cls.step)
    cls.__init_subclass__ = _recorded_subclasses(cls)


def _recorded_init(init: Callable[..., None], make: _MakeRecorder | None) -> Callable[..., None]:
    """An `__init__` that makes a recorder first: as `record_run` says, or else by `make`, if there is one."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def recorded(self: Any, *args: Any, **kwargs: Any) -> None:
        making = _next_recorder.get() or make
        if making is None or isinstance(vars(self).get("recorder"), SimulationRecorder):
            init(self, *args, **kwargs)
            return
        token = _next_recorder.set(None)  # models made within this one are not the one that is to be recorded
        try:
            self.recorder = recorder = making(self, _parameters(signature, self, args, kwargs))
            with _calls_in(recorder):
                init(self, *args, **kwargs)
            if not isinstance(self.recorder, SimulationRecorder):
                self.recorder = recorder
            self.recorder.made()
        finally:
            _next_recorder.reset(token)

    setattr(recorded, _RECORDED, True)
    return recorded


def _calls_in(recorder: SimulationRecorder) -> within:
    """Have calls that no agent makes recorded, in a `with` block."""
    return within(journal=None if recorder.journal is None else weakref.ref(recorder.journal))


def _parameters(signature: inspect.Signature, model: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments by name, with defaults; those that `**kwargs` takes under their own names."""
    try:
        bound = signature.bind(model, *args, **kwargs)
    except TypeError:  # `__init__` raises it itself
        return {}
    bound.apply_defaults()
    named: dict[str, Any] = {}
    for position, (name, parameter) in enumerate(signature.parameters.items()):
        if position == 0 or (parameter.kind is inspect.Parameter.VAR_POSITIONAL and not bound.arguments[name]):
            continue
        value = bound.arguments[name]
        named |= value if parameter.kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    return named


def _recorded_step(step: Callable[..., Any]) -> Callable[..., Any]:
    if hasattr(step, _RECORDED):
        return step

    @functools.wraps(step)
    def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = vars(self).get("recorder")
        if not isinstance(recorder, SimulationRecorder):
            return step(self, *args, **kwargs)
        with recorder.recording_step(), _calls_in(recorder):
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
