"""What one event of a step says, a prompt does not say again for another."""

import pytest
from helpers.memories import Someone

from mesa_llm.memory import ShortTermMemory
from mesa_llm.memory.entries import receipt, text_of

ALL_GOT_IT = "Agents [2, 3] got the message."


def speaks(result=ALL_GOT_IT, *, ids=(2, 3), tool="speak_to", **more):
    arguments = {"listener_agents_unique_ids": list(ids), "message": "Hi.", **more}
    return ("action", {"tool": tool, "arguments": arguments, "result": result})


def sent(*ids):
    return ("message", {"message": "Hi.", "sender": 1, "recipients": list(ids)})


MANY = tuple(range(2, 40))
IN_WORDS = "You to [2, 3]: Hi."
CALL = "speak_to(listener_agents_unique_ids: [2, 3], message: Hi.) -> "


def lines_of(*events):
    memory = ShortTermMemory(Someone())
    for type_, content in events:
        memory.add_to_memory(type_, content)
    return memory.get_prompt_ready().split("\n")[1:]


@pytest.mark.parametrize(
    ("events", "lines"),
    [
        ([sent(2, 3), speaks()], [IN_WORDS]),
        ([sent(2, 3), speaks(), sent(2, 3), speaks()], [IN_WORDS, IN_WORDS]),
        ([sent(2, 3), speaks(), speaks(tool="shout")], [IN_WORDS, CALL.replace("speak_to", "shout") + ALL_GOT_IT]),
        ([("plan", {"content": "speak_to(…)"}), sent(2, 3), speaks()], [IN_WORDS]),
        ([("plan", {"content": "I greet."}), sent(2, 3), speaks()], ["I greet.", IN_WORDS]),
        ([speaks()], [CALL + ALL_GOT_IT]),
        ([("message", {"message": "Hi.", "sender": 2}), speaks()], ["Agent 2: Hi.", CALL + ALL_GOT_IT]),
    ],
)
def test_a_message_and_the_call_that_sent_it_are_said_once(events, lines):
    assert lines_of(*events) == lines


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (sent(2), speaks("Agents [2] got the message. There are no agents [3].")),
        (sent(2), speaks("Agents [2] got the message.")),
        (sent(2, 3), speaks("sent")),
        (sent(2, 3), speaks(loudly=True)),
        (sent(2, 3), speaks(tool="whisper")),
        (sent(*MANY), speaks(receipt(MANY), ids=MANY)),
    ],
)
def test_a_call_that_says_more_than_its_message_stands_in_its_place(message, call):
    assert lines_of(message, call) == [text_of(1, *call)]
