"""Draws the slide of a run of civil violence whose simulated answers take their time.

uv run python docs/figures/report.py
"""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from pictures import ASSETS, SEED

from mesa_llm.clients import RuleBasedClient
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.recording import record_run
from mesa_llm_examples.civil_violence import CivilViolence, policy
from mesa_llm_examples.reports import measures, report
from mesa_llm_examples.reports.run_file import read_run

if TYPE_CHECKING:
    from mesa_llm.clients import LLMRequest

STEPS = 8


def seconds_until(request: LLMRequest) -> float:
    """Most answers are quick, a few take long; the same request always as long."""
    return min(2.2, 0.1 + random.Random(f"{SEED} {request.messages}").expovariate(2.0))


def main() -> None:
    """Run, record, draw."""
    enable_automatic_parallel_stepping()
    path = Path(mkdtemp()) / "run.sqlite"
    client = RuleBasedClient(policy, latency=seconds_until)
    with record_run(CivilViolence, {"citizens": 60, "cops": 12, "seed": SEED, "client": client}, path=path) as model:
        for _ in range(STEPS):
            model.step()
    run = read_run(path)
    report.save_png(run, measures.slowest_step(run), ASSETS / "report.png")


if __name__ == "__main__":
    main()
