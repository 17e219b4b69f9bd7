"""A run as a file of JSON Lines: what its lines hold, and how they are written and read. Imports Mesa.

The first line says what is run, then follows a line for each step, and the last line says how the run ended. A run that
still goes on, or was killed, has no last line, and the line before may be incomplete. No text in a line has control
codes or secrets in it, whether the line is written or read.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from mesa_llm.errors import RecordingError
from mesa_llm.errors.shown_text import for_people
from mesa_llm.parallel_stepping import StepReport
from mesa_llm_examples.simulation import DecisionCounts, RunInterruptedError
from mesa_llm_examples.words import in_one_line

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TextIO

    from mesa_llm.clients import MeteredClient
    from mesa_llm_examples.simulation import StepRecord


type _Report = Annotated[StepReport, PlainValidator(_report), PlainSerializer(lambda report: _clean(report.as_dict()))]


def _report(data: Any) -> StepReport:
    return data if isinstance(data, StepReport) else StepReport.from_dict(data)


def _clean(value: Any) -> Any:
    """A value without control codes and secrets in its texts."""
    if isinstance(value, str):
        return for_people(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return type(value)(map(_clean, value)) if isinstance(value, list | tuple) else value


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _clean_texts(cls, data: Any) -> Any:
        return _clean(data)


class RunLine(_Line):
    """What is run: the first line."""

    type: Literal["run"] = "run"
    schema_version: Literal[1] = 1
    example: str
    headline: str
    options: dict[str, Any]
    """The options that show in the results, by name."""
    decisions: str
    """What decides: a model and its address, or the rule."""
    started: str
    """When the run started, as ISO 8601."""
    versions: dict[str, str]


class _WithDecisions(_Line):
    """The fields of `DecisionCounts`; `None` in records of earlier versions, which did not count them."""

    type: str  # first in a line
    decisions: int | None = None
    failed_decisions: int | None = None
    without_call: int | None = None
    asked_again: int | None = None
    tool_calls: int | None = None
    refused_tool_calls: int | None = None
    crashed_tool_calls: int | None = None

    @property
    def decided(self) -> DecisionCounts | None:
        """What the decisions were worth; `None` if that was not counted."""
        counts = {part.name: getattr(self, part.name) for part in fields(DecisionCounts)}
        return None if None in counts.values() else DecisionCounts(**counts)


class StepLine(_WithDecisions):
    """One step: the fields of a `StepRecord`, with those of its `decided`."""

    type: Literal["step"] = "step"
    step: int
    states: dict[str, float | int | None]
    calls: int = 0
    seconds: float = 0.0
    reports: tuple[_Report, ...] = ()


class EndLine(_WithDecisions):
    """How the run ended, and what it took: the last line."""

    type: Literal["end"] = "end"
    status: Literal["completed", "failed", "interrupted"]
    steps: int
    seconds: float
    calls: int
    failures: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    retries: int
    waited_s: float
    """The sum of `LLMResponse.latency_s`. Without `measured_calls` it includes waiting in limits, and is not shown."""
    measured_calls: int | None = None
    """How many answers `waited_s` adds up; `None` in records of earlier versions."""
    peak_in_flight: int
    result: str
    error: str | None = None


class RecordedRun(_Line):
    """A recorded run; its steps include the model before the first step."""

    run: RunLine
    steps: tuple[StepLine, ...]
    end: EndLine | None
    """How the run ended; `None` if that is not recorded."""

    @property
    def status(self) -> str:
        """The status in the last line; `unfinished` without one."""
        return "unfinished" if self.end is None else self.end.status

    @property
    def decided(self) -> DecisionCounts | None:
        """What the decisions of all steps were worth; `None` if that was not counted."""
        if self.end is not None:
            return self.end.decided
        known = [line.decided for line in self.steps if line.decided is not None]
        return sum(known, DecisionCounts()) if known else None

    def reports(self) -> Iterator[StepReport]:
        """The reports of all steps."""
        for step in self.steps:
            yield from step.reports


type _AnyLine = Annotated[RunLine | StepLine | EndLine, Field(discriminator="type")]

_line: TypeAdapter[RunLine | StepLine | EndLine] = TypeAdapter(_AnyLine)


def read_run(path: str | Path) -> RecordedRun:
    """Read a run.

    Args:
        path: a file with the output of `mesa-llm-examples run --record` or `--json`.

    Raises:
        RecordingError: if it is no such file, or a line other than the last one cannot be read.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not data.strip():
        raise RecordingError(f"{path} is empty. {_WHAT_IT_TAKES}")
    *whole, last = data.split(b"\n")
    lines = [_read(path, number, line) for number, line in enumerate(whole, start=1) if line.strip()]
    with suppress(ValidationError):  # empty, or cut off, even within a character
        lines.append(_line.validate_json(last))
    if not lines or not isinstance(lines[0], RunLine):
        raise RecordingError(f"{path} does not begin as a run does. {_WHAT_IT_TAKES}")
    end = lines[-1] if isinstance(lines[-1], EndLine) else None
    return RecordedRun(run=lines[0], steps=tuple(line for line in lines if isinstance(line, StepLine)), end=end)


_WHAT_IT_TAKES = "A report takes what `mesa-llm-examples run NAME --record FILE` has written."


def _read(path: Path, number: int, line: bytes) -> RunLine | StepLine | EndLine:
    try:
        return _line.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if number == 1 and first["loc"][:1] != ("run",):
            what = "a recording of what agents did" if b'"simulation_id"' in line else "no run"
            raise RecordingError(f"{path} is {what}. {_WHAT_IT_TAKES}") from None
        where = ".".join(map(str, first["loc"]))
        raise RecordingError(f"{path}, line {number}, cannot be read: {where}: {first['msg']}.") from None


_COUNTS = ("calls", "failures", "prompt_tokens", "completion_tokens", "cost", "measured_calls", "peak_in_flight")
_DISTRIBUTIONS = ("mesa", "mesa-llm-core", "mesa-llm-parallel", "mesa-llm-examples")


class RunWriter:
    """Writes the lines of a run during its `with` block: one before the first step, one for each step, one at the end.

    Each line is flushed to the operating system at once, so that it can be read while the run goes on and after a
    crash. If a line cannot be written, the run goes on without further lines, and `error` says why.

    Args:
        stream: where to write.
        model: the Mesa model.
        client: the client of the agents, which counts their calls.
        run: the fields of `RunLine` that say what is run: example, headline, options, decisions.
    """

    def __init__(self, stream: TextIO, model: Any, client: MeteredClient, **run: Any) -> None:
        self._stream = stream
        self._model = model
        self._client = client
        self._run = run
        self._steps = 0
        self._seconds = 0.0
        self._retries = 0
        self._decided = DecisionCounts()
        self.error: OSError | None = None

    def __enter__(self) -> Self:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        versions = {name: version(name) for name in _DISTRIBUTIONS} | {"python": platform.python_version()}
        self._write(RunLine(**self._run, started=started, versions=versions))
        return self

    def ended(self, record: StepRecord) -> None:
        """Write a step."""
        self._steps += bool(record.step and record.states)
        self._seconds += record.seconds
        self._retries += sum(report.retries for report in record.reports)
        self._decided += record.decided
        given = {name: getattr(record, name) for name in ("step", "calls", "seconds", "reports")}
        self._write(StepLine(states=dict(record.states), **given, **asdict(record.decided)))

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        counts = self._client.counts()
        status: Any = "interrupted" if isinstance(error, RunInterruptedError) else "failed"
        self._write(
            EndLine(
                status="completed" if error is None else status,
                steps=self._steps,
                seconds=self._seconds,
                retries=self._retries,
                waited_s=counts.waited_seconds,
                result=self._model.result(),
                error=None if error is None else in_one_line(error),
                **{name: getattr(counts, name) for name in _COUNTS},
                **asdict(self._decided),
            )
        )

    def _write(self, line: RunLine | StepLine | EndLine) -> None:
        if self.error is not None:
            return
        try:
            self._stream.write(line.model_dump_json() + "\n")
            self._stream.flush()
        except BrokenPipeError:  # the reader of standard output has stopped reading: end the run
            raise
        except OSError as error:
            self.error = error
