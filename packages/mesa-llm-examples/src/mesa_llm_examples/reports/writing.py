"""Writes down what happens in a run, as lines of JSON; `run_file` says what stands in them. Imports Mesa."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, Self

from mesa_llm_examples.failures import RunInterruptedError, in_one_line
from mesa_llm_examples.reports.run_file import EndLine, RunLine, StepLine

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TextIO

    from mesa_llm.clients import MeteredClient
    from mesa_llm_examples.running import Setting
    from mesa_llm_examples.simulation import StepRecord

_DISTRIBUTIONS = ("mesa", "mesa-llm-core", "mesa-llm-parallel", "mesa-llm-examples")


class RunWriter:
    """Writes the lines of a run while its `with` block runs: one before the first step, one a step, one at the end.

    A line is with the operating system as soon as it is written, so that it can be read while the run goes on and
    after it has crashed. If one cannot be written, the run goes on without further lines, and `error` says why.

    Args:
        stream: where.
        setting: how the example is run.
        model: the Mesa model.
        client: its agents' client, which counts the calls.
    """

    def __init__(self, stream: TextIO, setting: Setting, model: Any, client: MeteredClient) -> None:
        self._stream = stream
        self._setting = setting
        self._model = model
        self._client = client
        self._steps = 0
        self._seconds = 0.0
        self._retries = 0
        self.error: OSError | None = None

    def __enter__(self) -> Self:
        setting = self._setting
        self._write(
            RunLine(
                example=setting.example,
                headline=setting.headline,
                options=dict(setting.options),
                decisions=setting.way.decides,
                started=datetime.now(UTC).isoformat(timespec="seconds"),
                versions={name: version(name) for name in _DISTRIBUTIONS} | {"python": platform.python_version()},
            )
        )
        return self

    def ended(self, record: StepRecord) -> None:
        """Write what a step was like."""
        self._steps += bool(record.step and record.states)
        self._seconds += record.seconds
        self._retries += sum(report.retries for report in record.reports)
        self._write(
            StepLine(
                step=record.step,
                states=dict(record.states),
                calls=record.calls,
                seconds=record.seconds,
                reports=record.reports,
            )
        )

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        counts = self._client.counts()
        self._write(
            EndLine(
                status=_status(error),
                steps=self._steps,
                seconds=self._seconds,
                calls=counts.calls,
                failures=counts.failures,
                prompt_tokens=counts.prompt_tokens,
                completion_tokens=counts.completion_tokens,
                cost=counts.cost,
                retries=self._retries,
                waited_s=counts.waited_seconds,
                measured_calls=counts.measured_calls,
                peak_in_flight=counts.peak_in_flight,
                result=self._model.result(),
                error=None if error is None else in_one_line(error),
            )
        )

    def _write(self, line: RunLine | StepLine | EndLine) -> None:
        if self.error is not None:
            return
        try:
            self._stream.write(line.model_dump_json() + "\n")
            self._stream.flush()
        except BrokenPipeError:  # nobody reads any more
            raise
        except OSError as error:
            self.error = error


def _status(error: BaseException | None) -> Literal["completed", "failed", "interrupted"]:
    if error is None:
        return "completed"
    return "interrupted" if isinstance(error, RunInterruptedError) else "failed"
