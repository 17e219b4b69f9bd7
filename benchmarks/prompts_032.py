"""What the prompts of mesa-llm 0.3.2's own example take, there and here.

    git clone --branch v0.3.2 https://github.com/mesa/mesa-llm FOLDER
    uv run python -m benchmarks.prompts_032 FOLDER [steps]

Its civil violence runs unchanged, with 16 citizens and 4 cops, the memory that it chooses (short-term and long-term)
and ReAct, as in its app: once in an environment of its own that has mesa-llm 0.3.2, once in ours. A server on the
loopback answers both by the same rule: all walk North until they stand still, or they walk about and change their
states. The table has the calls, and of them those that consolidate memory; the characters of messages and tools; their
tokens (o200k); the share that a server can have cached, as in `benchmarks.prompts`; how many entries were cut; and the
ratio of the characters to those of mesa-llm 0.3.2.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.prompts import CUT, cacheable, tokens_of
from benchmarks.step import CONTESTANTS, THEIR_ENVIRONMENT
from mesa_llm.clients import ToolCall, tool_call
from mesa_llm.testing import FakeOpenAIServer

type Body = dict[str, Any]

DIRECTIONS = ("North", "South", "East", "West", "NorthEast", "NorthWest", "SouthEast", "SouthWest")
EXAMPLE = Path("examples", "epstein_civil_violence", "model.py")


def rule(*, moves: bool) -> Callable[[Body], list[ToolCall] | str]:
    """A new rule that answers by the number of the call."""
    calls = 0

    def answer(body: Body) -> list[ToolCall] | str:
        nonlocal calls
        calls += 1
        drawn = int.from_bytes(hashlib.sha256(str(calls).encode()).digest()[:4]) if moves else 0
        direction = DIRECTIONS[drawn % 8]
        if body.get("response_format"):
            thought = (
                f"I look around and see my neighbours; {drawn % 97} reasons speak for it and {drawn % 53} against. The "
                "cops are near, so I take care. I have been here before and nothing came of it, so somewhere else may "
                "be better."
            )
            return json.dumps({"reasoning": thought, "action": f"move to the {direction}"})
        if not body.get("tools"):
            return (
                f"Since the start I have moved about a lot, lately to the {direction}. I saw between {drawn % 7} and "
                f"{drawn % 7 + 5} cops and some citizens, most of them quiet. Cells at the edge have few free "
                "directions. Nothing was promised to me."
            )
        walk = tool_call("move_one_step", direction=direction)
        if moves and drawn % 3 == 0 and "change_state" in {tool["function"]["name"] for tool in body["tools"]}:
            return [tool_call("change_state", state=("QUIET", "ACTIVE")[drawn // 8 % 2]), walk]
        return [walk]

    return answer


def bodies_of(command: list[str], folder: Path, steps: int, *, moves: bool) -> list[Body]:
    """What the example asks a model for, run by a command."""
    contestant = str(CONTESTANTS / "civil_violence_032.py")
    environment = os.environ | {"PYTHONPATH": str(folder.resolve())}
    with FakeOpenAIServer(rule(moves=moves)) as server, tempfile.TemporaryDirectory() as recordings:
        subprocess.run([*command, contestant, server.url, str(steps), recordings], env=environment, check=True)
    return [request.body for request in server.requests]


def text_of(body: Body) -> str:
    """Tools and messages, in the order in which a server reads them."""
    tools = json.dumps(body["tools"]) if body.get("tools") else ""
    return tools + "\n".join(f"{message['role']}: {message.get('content') or ''}" for message in body["messages"])


def main(folder: str, steps: int = 12) -> None:
    """Measure and print."""
    if not (Path(folder) / EXAMPLE).is_file():
        sys.exit(f"{folder!r} has no {EXAMPLE}: give the folder of a checkout of mesa-llm 0.3.2.")
    print(f"{steps} steps of 20 agents; characters and tokens of all calls")
    heading = ("calls", "memory", "characters", "tokens", "cacheable", "cut", "ratio")
    print(f"{'':<30}" + "".join(f"{name:>12}" for name in heading))
    for moves in (False, True):
        theirs = 0
        for name, command in (("mesa-llm 0.3.2", [*THEIR_ENVIRONMENT, "python"]), ("ours", [sys.executable])):
            bodies = bodies_of(command, Path(folder), steps, moves=moves)
            texts = [text_of(body) for body in bodies]
            characters = sum(map(len, texts))
            theirs = theirs or characters
            consolidating = sum(not body.get("tools") and not body.get("response_format") for body in bodies)
            row = f"{name}, agents {'walk about' if moves else 'stand still'}"
            print(
                f"{row:<30}{len(bodies):>12,}{consolidating:>12,}"
                f"{characters:>12,}{tokens_of(texts):>12,}{cacheable(texts):>12.0%}"
                f"{sum(text.count(CUT) for text in texts):>12}{characters / theirs:>12.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
