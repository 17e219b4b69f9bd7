"""The command `mesa-llm`: runs that were recorded, and what is installed."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mesa_llm.errors import ConfigurationError, MesaLLMError
from mesa_llm.errors.shown_text import for_people
from mesa_llm.journal import Journal, RecordedCall, RecordedRun
from mesa_llm.journal.replay import request_lines
from mesa_llm.recording import load_recording
from mesa_llm.runs.description import describe
from mesa_llm.runs.difference import diff
from mesa_llm.runs.doctor import report_lines
from mesa_llm.runs.export import FORMATS, export_run
from mesa_llm.runs.replaying import replay
from mesa_llm.runs.runs_in import journals_in, label_of, run_of

DIFFERENT = 1
"""The exit status of `runs diff` and `runs replay` if the runs differ."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the arguments; by default those of the process.

    Returns:
        The exit status: 0 if all went well; 1 if runs differ; 2 after one line on standard error that says what did not
        work.
    """
    options = _parser().parse_args(arguments)
    try:
        for line in options.lines(options):
            print(for_people(line))  # noqa: T201 - this is a command
    except _DifferentError as error:
        print(for_people(str(error)))  # noqa: T201
        return DIFFERENT
    except (MesaLLMError, OSError) as error:
        print(f"mesa-llm: {for_people(str(error))}", file=sys.stderr)  # noqa: T201
        return 2
    except BrokenPipeError:  # the reader has stopped reading
        return 1
    return 0


class _DifferentError(Exception):
    """Runs differ; the text says where."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mesa-llm", description="Recorded runs of models whose agents ask LLMs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser("doctor", help="what is installed, and which keys are set")
    doctor.set_defaults(lines=lambda options: report_lines())
    runs = commands.add_parser("runs", help="recorded runs").add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, lines: Any, help: str, *, run: bool = True) -> argparse.ArgumentParser:  # noqa: A002
        made = runs.add_parser(name, help=help, description=f"{help[:1].upper()}{help[1:]}.")
        made.set_defaults(lines=lines)
        if run:
            made.add_argument("run", help="a journal, or FILE:RUN for a run that is not the newest")
        return made

    command("list", _list, "list the runs in a folder", run=False).add_argument(
        "folder", type=Path, nargs="?", default="."
    )
    show = command("show", _show, "show a run, or what agents were asked, answered and did")
    show.add_argument("--agent", type=int, help="the id of an agent")
    show.add_argument("--step", type=int, help="a step of the model")
    show.add_argument("--whole", action="store_true", help="whole prompts, not only their last message")
    command("prompts", _prompts, "show one prompt of each kind, for an appendix")
    describing = command("describe", _describe, "describe a run for a methods section")
    describing.add_argument("--format", choices=("text", "json", "odd"), default="text", help="odd: Grimm et al. 2020")
    command("diff", _diff, "show where two runs part").add_argument("other", help="the other run")
    replaying = command("replay", _replay, "make a run again without a network, and compare the states")
    replaying.add_argument("model", metavar="MODULE:CLASS", help="the class of the model")
    replaying.add_argument("--mode", choices=("asyncio", "threading"), help="if not the recorded one")
    exporting = command("export", _export, "write a run in another form")
    exporting.add_argument("--format", choices=FORMATS, default="jsonl")
    exporting.add_argument("--output", type=Path, help="the file, or the folder for tables")
    return parser


def _list(options: argparse.Namespace) -> Iterator[str]:
    rows: list[Sequence[str]] = [("run", "model", "seed", "steps", "calls", "activation", "started", "status")]
    rows += [_row(journal, run) for journal in journals_in(options.folder) for run in journal.runs()]
    if len(rows) == 1:
        raise ConfigurationError(f"There are no recorded runs in {options.folder}. Record one with record_run.")
    yield from _table(rows)


def _row(journal: Journal, run: RecordedRun) -> tuple[str, ...]:
    return (
        label_of(journal, run),
        run.identity.get("model", {}).get("class", "-"),
        str(run.identity.get("seed", "-")),
        f"{run.steps:,}",
        f"{run.calls:,}",
        run.identity.get("activation", {}).get("activation", "-"),
        f"{datetime.fromtimestamp(run.started):%Y-%m-%d %H:%M}",
        run.status,
    )


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _show(options: argparse.Namespace) -> Iterator[str]:
    journal, run = run_of(options.run)
    if options.agent is None and options.step is None:
        yield from _overview(journal, run)
        return
    found = False
    events: dict[tuple[int, int | None], list[str]] = {}
    for event in load_recording(journal.path, run=run.name):
        if event.event_type not in {"observation", "plan", "step_start", "step_end"} and _is_chosen(
            options, event.agent_id, event.step
        ):
            shown = f"{event.event_type}: {json.dumps(event.content, ensure_ascii=False)}"
            events.setdefault((event.step, event.agent_id), []).append(shown)
    for call in journal.calls(run.name):
        if _is_chosen(options, call.agent_id, call.model_step):
            found = True
            yield from _call(call, whole=options.whole)
            for shown in events.pop((call.model_step, call.agent_id), ()) if call.call == 1 else ():
                yield f"    {shown}"
            yield ""
    for (step, agent_id), left in events.items():
        found = True
        yield f"step {step}, {'the model' if agent_id is None else f'agent {agent_id}'}"
        yield from (f"    {shown}" for shown in left)
    if not found:
        raise ConfigurationError(
            f"{label_of(journal, run)} has nothing of this agent in this step: it has {run.steps} steps."
        )


def _is_chosen(options: argparse.Namespace, agent_id: int | None, step: int) -> bool:
    return options.agent in {None, agent_id} and options.step in {None, step}


def _overview(journal: Journal, run: RecordedRun) -> Iterator[str]:
    yield str(describe(journal.path, run=run.name))
    yield ""
    rows = [("step", "seconds", "state", "measures")]
    for step in journal.steps(run.name):
        measures = ", ".join(f"{name} {value}" for name, value in step.measures.items())
        rows.append((str(step.step), f"{step.seconds:.2f}", (step.state_hash or step.error or "")[:12], measures))
    yield from _table(rows)


def _call(call: RecordedCall, *, whole: bool) -> Iterator[str]:
    who = "no agent" if call.agent_id is None else f"{call.agent_class} {call.agent_id}"
    took = "" if call.duration is None else f", {call.duration:.2f} s"
    yield f"step {call.model_step}, {who}, call {call.call}: {call.request['model']}, {call.state}{took}"
    yield from (f"  > {line}" for line in _asked(call, whole=whole))
    if call.response is not None:
        message = call.response.message
        yield from (f"  < {line}" for line in message.content.splitlines())
        yield from (f"  < {called.name}({called.arguments})" for called in message.tool_calls)
        usage = call.response.usage
        cost = "" if call.response.cost is None else f", US$ {call.response.cost:.6f}"
        yield f"    {usage.prompt_tokens} tokens read, {usage.completion_tokens} written{cost}"
    if call.error is not None:
        yield f"  < {call.error.kind}: {call.error.message}"


def _asked(call: RecordedCall, *, whole: bool) -> Iterable[str]:
    if whole:
        return request_lines(call.request)
    messages = call.request["messages"]
    return str(messages[-1].get("content") or "").splitlines() if messages else []


def _prompts(options: argparse.Namespace) -> Iterator[str]:
    journal, run = run_of(options.run)
    seen = set()
    for call in journal.calls(run.name):
        tools = tuple(sorted(str(tool.get("function", tool).get("name")) for tool in call.request.get("tools") or ()))
        system = next((str(m.get("content")) for m in call.request["messages"] if m["role"] == "system"), "")
        kind = (call.agent_class, tools, "response_format" in call.request, system.partition("\n")[0])
        if kind in seen:
            continue
        seen.add(kind)
        yield from (f"# {call.agent_class or 'no agent'}: {', '.join(tools) or 'no tools'}", "")
        yield from (*request_lines(call.request), "")
        if call.response is not None:
            yield "[answer]"
            yield from call.response.message.content.splitlines()
            yield from (f"calls {called.name}({called.arguments})" for called in call.response.message.tool_calls)
            yield ""


def _describe(options: argparse.Namespace) -> Iterator[str]:
    description = describe(options.run)
    if options.format == "json":
        yield json.dumps(description.as_dict(), ensure_ascii=False, indent=2)
    else:
        yield description.odd() if options.format == "odd" else str(description)


def _diff(options: argparse.Namespace) -> Iterator[str]:
    found = diff(options.run, options.other)
    if found is not None:
        raise _DifferentError(str(found))
    yield "Both runs went the same way, step by step and call by call."


def _replay(options: argparse.Namespace) -> Iterator[str]:
    module, colon, name = options.model.partition(":")
    if not colon:
        raise ConfigurationError(f"The model must be MODULE:CLASS, got {options.model!r}.")
    sys.path.insert(0, "")
    try:
        model_class = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{options.model} cannot be imported: {error}.") from error
    journal, run = run_of(options.run)
    replayed = replay(journal.path, model_class, run=run.name, mode=options.mode)
    yield (
        f"{replayed.steps} steps and {replayed.calls:,} calls again, without a model; the state was equal "
        f"{replayed.compared} times."
    )


def _export(options: argparse.Namespace) -> Iterator[str]:
    journal, run = run_of(options.run)
    yield str(export_run(journal.path, options.format, to=options.output, run=run.name))
