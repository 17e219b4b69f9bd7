"""What prompts take: characters, tokens, and how much of them a server can have cached.

    uv run python -m benchmarks.prompts [steps]

Each example makes some steps, decided by its rule. The table has, for each call: the characters of its messages and
those of its tools; their tokens (o200k, by tiktoken, which litellm brings); and the share of them that a server need
not read again if it keeps the beginnings of all earlier prompts, in blocks of 64 characters, tools first, as vLLM and
llama.cpp do. The last columns are how many entries were cut in prompts, and the processor's time of a whole step. The
last line is the processor's time of one prompt.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mesa_llm.clients import LLMRequest, LLMResponse, RuleBasedClient
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm_examples import civil_violence, negotiation, opinion, sugarscape

EXAMPLES: dict[str, tuple[Any, Any]] = {
    "civil violence": (civil_violence.CivilViolence, civil_violence.policy),
    "negotiation": (negotiation.Negotiation, negotiation.policy),
    "opinion": (opinion.Opinion, opinion.policy),
    "sugarscape": (sugarscape.Sugarscape, sugarscape.policy),
}
BLOCK = 64
"""Characters; about 16 tokens, the block of vLLM and llama.cpp."""
SEED = 1
CUT = "characters, shortened)"


def cacheable(texts: Sequence[str]) -> float:
    """The share of the characters that stand at the beginning of an earlier text, counted in whole blocks."""
    seen: set[int] = set()
    cached = 0
    for text in texts:
        for end in range(BLOCK, len(text) + 1, BLOCK):
            beginning = hash(text[:end])
            cached += BLOCK if beginning in seen else 0
            seen.add(beginning)
    return cached / max(1, sum(map(len, texts)))


def tokens_of(texts: Sequence[str]) -> int:
    """How many tokens the texts take."""
    import tiktoken  # noqa: PLC0415 - comes with litellm

    package = find_spec("litellm")
    assert package is not None
    assert package.origin is not None
    # Beside litellm's code lies the encoding that tiktoken would download.
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(Path(package.origin).parent / "litellm_core_utils" / "tokenizers"))
    encoding = tiktoken.get_encoding("o200k_base")
    return sum(len(encoding.encode(text, disallowed_special=())) for text in texts)


def seconds_of_a_prompt(steps: int) -> float:
    """CPU time of looking around and writing the first request of a decision, with all it remembers: the median."""
    model = civil_violence.CivilViolence(
        seed=SEED, citizen_vision=1, cop_vision=1, client=RuleBasedClient(civil_violence.policy)
    )
    seconds = []
    for _ in range(steps):
        model.step()
        for agent in model.agents:
            started = time.thread_time()
            agent.preview_prompt("What do you do?")
            seconds.append(time.thread_time() - started)
    return statistics.median(seconds)


def main(steps: int = 20) -> None:
    """Measure and print."""
    enable_automatic_parallel_stepping()
    print(f"{steps} steps, seed {SEED}; characters and tokens a call")
    heading = ("calls", "messages", "tools", "tokens", "cacheable", "cut", "ms a step")
    print(f"{'':<15}" + "".join(f"{name:>11}" for name in heading))
    for name, (model_class, policy) in EXAMPLES.items():
        asked: list[LLMRequest] = []

        def answer(request: LLMRequest, asked: list[LLMRequest] = asked, policy: Any = policy) -> LLMResponse | str:
            asked.append(request)
            answered: LLMResponse | str = policy(request)
            return answered

        model = model_class(seed=SEED, client=RuleBasedClient(answer))
        started = time.process_time()
        for _ in range(steps):
            model.step()
        seconds = time.process_time() - started
        messages = ["\n".join(f"{part.role}: {part.content}" for part in request.messages) for request in asked]
        tools = [json.dumps([tool.as_dict() for tool in request.tools] or "") for request in asked]
        whole = [tool + message for tool, message in zip(tools, messages, strict=True)]
        n = len(asked)
        print(
            f"{name:<15}{n:>11,}{sum(map(len, messages)) // n:>11,}{sum(map(len, tools)) // n:>11,}"
            f"{tokens_of(whole) // n:>11,}{cacheable(whole):>11.0%}{sum(text.count(CUT) for text in messages):>11}"
            f"{seconds / steps * 1e3:>11.0f}",
            flush=True,
        )
    microseconds = seconds_of_a_prompt(steps) * 1e6
    print(f"CPU time of a prompt in civil violence, where agents see one cell far: {microseconds:.0f} µs")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
