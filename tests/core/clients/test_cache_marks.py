"""Marks in prompts for Anthropic's models: where a prompt may be cached, and that they change no text."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mesa import Model

from mesa_llm.clients import LiteLLMClient, LLMRequest, Message
from mesa_llm.clients.cache_marks import takes_marks, with_marks
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import ShortTermMemory
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.testing import ScriptedLLM

MARK = {"type": "ephemeral"}


@pytest.fixture
def anthropic():
    """A server that speaks Anthropic's messages API, and the bodies that it was sent."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            answer = {
                "id": "m",
                "type": "message",
                "role": "assistant",
                "model": "claude-x",
                "content": [{"type": "text", "text": "I stay."}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 5, "output_tokens": 2},
            }
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()
    thread.join()


def prompt(steps):
    """The messages of an agent that has made some steps, as JSON."""
    model = Model()
    agent = LLMAgent(
        model,
        OneCallReasoning,
        client=ScriptedLLM("I rest."),
        memory=ShortTermMemory,
        system_prompt="You are Ada.",
        step_prompt="What?",
    )
    for _ in range(steps):
        model.step()
        agent.step()
    model.step()
    return [message.as_dict() for message in agent.preview_prompt().messages]


def text_of(content):
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def test_marks_stand_behind_the_system_message_and_behind_the_memory():
    messages = prompt(3)
    (system,), blocks = (message["content"] for message in with_marks(messages))
    assert (system["text"], system["cache_control"]) == (messages[0]["content"], MARK)
    assert [block["text"][:11] for block in blocks] == [
        "# Memory",
        "\n## Step 1\n",
        "\n## Step 2\n",
        "\n## Step 3\n",
        "\n\n# Observa",
    ]
    assert [block.get("cache_control") for block in blocks] == [None, None, None, MARK, None]
    assert [text_of(message["content"]) for message in with_marks(messages)] == [part["content"] for part in messages]


def test_the_next_prompt_begins_with_the_blocks_of_the_one_before():
    before, after = (with_marks(prompt(steps))[1]["content"] for steps in (3, 4))
    assert [block["text"] for block in after[: len(before) - 1]] == [block["text"] for block in before[:-1]]


def test_other_messages_stay_as_they_are():
    messages = [{"role": "user", "content": "I rest."}, {"role": "assistant", "content": "", "tool_calls": []}]
    assert with_marks(messages) == messages
    assert with_marks([{"role": "system", "content": ""}]) == [{"role": "system", "content": ""}]


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        ("anthropic/claude-x", True),
        ("bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0", True),
        ("openai/gpt-4o-mini", False),
        ("gemini/gemini-2.0-flash", False),
    ],
)
def test_which_models_take_them(model, takes):
    assert takes_marks(model) is takes


def test_marks_reach_anthropic(anthropic):
    url, bodies = anthropic
    messages = tuple(Message(part["role"], part["content"]) for part in prompt(2))
    client = LiteLLMClient(api_base=url, api_key="sk-none-12345")
    assert client.generate(LLMRequest(model="anthropic/claude-x", messages=messages)).message.content == "I stay."
    assert bodies[0]["system"][0] == {"type": "text", "text": messages[0].content, "cache_control": MARK}
    content = bodies[0]["messages"][0]["content"]
    assert text_of(content) == messages[1].content
    assert [block.get("cache_control") for block in content] == [None, None, MARK, None]
