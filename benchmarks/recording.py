"""What the record of a run costs, step by step.

    uv run python -m benchmarks.recording [agents] [steps] [rounds]

The four examples are run with answers after 20 ms, in turn unrecorded, with a journal of their calls, and recorded as a
whole by `record_run`; then once more with a digest of the state after each step. Times are medians over all steps of
all rounds, and ratios are to the unrecorded steps. `digest` is the time that the digest takes, beside
that of a step; `in full` is what a digest of the whole state takes after the last step, past entries included. The
processor's time is that of all threads, so it has what is written in the background.
"""

from __future__ import annotations

import gc
import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mesa_llm.clients import RuleBasedClient
from mesa_llm.journal import JournaledClient
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.recording import record_run, state_hash
from mesa_llm.recording.state import model_state

LATENCY = 0.02
MODELS = {
    "CivilViolence": lambda agents: {"citizens": agents * 5 // 6, "cops": agents - agents * 5 // 6},
    "Negotiation": lambda agents: {"buyers": agents // 2, "sellers": agents - agents // 2},
    "Sugarscape": lambda agents: {"traders": agents},
    "Opinion": lambda agents: {"people": agents},
}
PACKAGES = {"CivilViolence": "civil_violence"}


@contextmanager
def made(name: str, agents: int, how: str, folder: Path) -> Iterator[Any]:
    """A model, recorded in one of the ways."""
    package = importlib.import_module(f"mesa_llm_examples.{PACKAGES.get(name, name.lower())}")
    parameters = {**MODELS[name](agents), "seed": 1}
    client: Any = RuleBasedClient(package.policy, latency=LATENCY)
    if how == "whole":
        with record_run(getattr(package, name), {**parameters, "client": client}, path=folder / "run.sqlite") as model:
            yield model
    elif how == "calls":
        with JournaledClient(client, folder / "calls.sqlite") as journaled:
            yield getattr(package, name)(**parameters, client=journaled)
    else:
        yield getattr(package, name)(**parameters, client=client)


def measure(name: str, agents: int, steps: int, rounds: int) -> str:
    """One line of the table."""
    seconds: dict[str, list[float]] = {how: [] for how in ("bare", "calls", "whole", "digested")}
    cpu: dict[str, list[float]] = {how: [] for how in seconds}
    digests: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for how in list(seconds) * rounds:
            with made(name, agents, how, Path(folder)) as model:
                for _ in range(steps):
                    started, used = time.perf_counter(), time.process_time()
                    model.step()
                    seconds[how].append(time.perf_counter() - started)
                    cpu[how].append(time.process_time() - used)
                    if how == "digested":
                        started = time.perf_counter()
                        state_hash(model)
                        digests.append(time.perf_counter() - started)
                started = time.perf_counter()
                model_state(model)
                in_full = time.perf_counter() - started
        size = (Path(folder) / "run.sqlite").stat().st_size / rounds / steps
    bare, calls, whole, digested = (statistics.median(of) for of in seconds.values())
    digest = statistics.median(digests)
    more = statistics.median(cpu["whole"]) - statistics.median(cpu["bare"])
    return (
        f"{name:<14}{bare * 1e3:5.0f} ms{calls / bare:11.3f}{whole / bare:11.3f}{more * 1e3:8.1f} ms"
        f"{digest * 1e3:8.1f} ms = {digest / digested:5.1%}{in_full * 1e3:7.0f} ms{size / 1024:10.0f} kB"
    )


def main(agents: int = 72, steps: int = 8, rounds: int = 5) -> None:
    """Measure and print."""
    gc.freeze()
    enable_automatic_parallel_stepping()
    print(f"{agents} agents, answers after {LATENCY * 1e3:.0f} ms, {steps} steps, {rounds} rounds")
    print("                a step  its calls  the whole     more CPU       digest / step  in full  in the file, a step")
    for name in MODELS:
        print(measure(name, agents, steps, rounds), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
