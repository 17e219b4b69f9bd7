"""A run as a report reads it: from the file that recorded it, or from lines of JSON. Imports Mesa.

The lines are those of `mesa-llm-examples run --json`, also as earlier versions wrote them into files: the first says
what is run, then follows a line for each step, and the last line says how the run ended. A run that still goes on, or
was killed, has no last line, and the line before may be incomplete. No text has control codes or secrets in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

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
from mesa_llm.recording.identity import versions
from mesa_llm.runs import describe
from mesa_llm.runs.description import decisions_of
from mesa_llm.runs.runs_in import BEGINNING, reports_in, run_of, split_name
from mesa_llm_examples.simulation import DecisionCounts
from mesa_llm_examples.words import counted, in_one_line

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TextIO

    from mesa_llm.clients import MeteredClient
    from mesa_llm.journal import RecordedStep
    from mesa_llm_examples.setting import Setting
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
    facts: dict[str, str] = {}
    """What else is known of a run that was recorded as a whole, by headings."""


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
        path: a file that `mesa-llm-examples run --record` or `record_run` has recorded, or as `FILE:RUN` one of its
            runs; or one with the output of `--json`.

    Raises:
        RecordingError: if it is no such file, or a line other than the last one cannot be read.
        JournalError: if the run is not in the file, or the file is damaged.
    """
    path, name = split_name(path)
    try:
        with path.open("rb") as file:
            beginning = file.read(len(BEGINNING))
        if beginning == BEGINNING:
            return _from_journal(path, name)
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


_ENDED = ("completed", "failed", "interrupted")
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


def _from_journal(path: Path, name: str | None) -> RecordedRun:
    """A run in a journal: as `run --record` has recorded it, or as `record_run` records that of any model."""
    described = describe(path, run=name)
    journal, recorded = run_of(path, name)
    if not recorded.identity:
        raise RecordingError(f"{path} holds model calls alone. {_WHAT_IT_TAKES}")
    data, metadata = described.data, recorded.metadata
    calls = Counter(call.model_step for call in journal.calls(recorded.name))
    steps = tuple(
        StepLine(
            step=step.step,
            states={name: value for name, value in step.measures.items() if isinstance(value, int | float | None)},
            calls=calls[step.step],
            seconds=step.seconds,
            reports=tuple(reports_in(step)),
            **asdict(_decided(step)),
        )
        for step in journal.steps(recorded.name)
    )
    model, llms = data["model"], data["llms"]
    line = RunLine(
        example=metadata.get("example", model["class"]),
        headline=metadata.get("headline", f"{model['class']}, seed {data['seed']}"),
        options=metadata.get("options", model["parameters"]),
        decisions=metadata.get("decisions", ", ".join(llm["model"] for llm in llms)),
        started=data["started"],
        versions=data["versions"],
        facts=_facts(data),
    )
    reports = [report for step in steps for report in step.reports]
    end = recorded.end and EndLine(
        status=cast("Any", recorded.status if recorded.status in _ENDED else "completed"),
        steps=sum(bool(step.step and step.states) for step in steps),
        seconds=data["seconds"],
        calls=data["calls"]["calls"],
        failures=data["calls"]["failed"],
        **{name: data["calls"][name] for name in ("prompt_tokens", "completion_tokens", "retries")},
        cost=data["calls"]["cost"] or 0.0,
        waited_s=sum(report.latency_s for report in reports),
        measured_calls=sum(report.measured_calls for report in reports),
        peak_in_flight=max((report.peak_concurrency for report in reports), default=1),
        result=data["result"] or "",
        error=data["error"],
        **asdict(sum((step.decided or DecisionCounts() for step in steps), DecisionCounts())),
    )
    return RecordedRun(run=line, steps=steps, end=end or None)


def _facts(data: Mapping[str, Any]) -> dict[str, str]:
    """What was run, beside what the first line of JSON says."""
    model, git, activation = data["model"], data["git"], dict(data["activation"])
    kind = activation.pop("activation")
    settings = ", ".join(f"{name} {value}" for name, value in activation.items() if value is not None)
    agents = ", ".join(counted(kind["agents"], name) for name, kind in data["agents"].items())
    options = [f"{llm['model']}: {llm['options']}" for llm in data["llms"] if llm["options"]]
    return {
        "Model": f"{model['module']}.{model['class']}, {agents}, seed {data['seed']}",
        "Activation": f"{kind}{f' ({settings})' if settings else ''}",
        "Sampling": "; ".join(options) or "no options set",
        "Code": "" if git is None else f"commit {git['commit']}{', with changes' if git['changed'] else ''}",
        "State at the end": f"SHA-256 {data['state_hash']}" if data["state_hash"] else "",
    }


def _decided(step: RecordedStep) -> DecisionCounts:
    """What the decisions of a step were worth."""
    counts = decisions_of([step])
    return DecisionCounts(**{part.name: counts[part.name] for part in fields(DecisionCounts)})


class LineWriter:
    """Writes the lines of a run during its `with` block: one before the first step, one for each step, one at the end.

    Each line is flushed at once, so that it can be read while the run goes on.

    Args:
        stream: where to write.
        model: the Mesa model.
        client: the client of the agents, which counts their calls.
        setting: what is run.
    """

    def __init__(self, stream: TextIO, model: Any, client: MeteredClient, setting: Setting) -> None:
        self._stream = stream
        self._model = model
        self._client = client
        self._setting = setting
        self._steps = 0
        self._seconds = 0.0
        self._retries = 0
        self._decided = DecisionCounts()

    def __enter__(self) -> Self:
        setting = self._setting
        self._write(
            RunLine(
                example=setting.example.name,
                headline=setting.headline,
                options=dict(setting.options),
                decisions=setting.connection.decides,
                started=datetime.now(UTC).isoformat(timespec="seconds"),
                versions=versions(),
            )
        )
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
        status: Any = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
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
        self._stream.write(line.model_dump_json() + "\n")
        self._stream.flush()
