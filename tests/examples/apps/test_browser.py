"""The app as it is in a browser: headless Chromium, on a server of its own."""

import re
from urllib.parse import urlsplit

import pytest
from helpers.browser import CHROMIUM, chromium, look_at, picture, served
from helpers.loopback_proxy import LoopbackProxy

pytest.importorskip("solara", reason="the extra `app` is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from mesa_llm.clients import tool_call  # noqa: E402
from mesa_llm.testing import FakeOpenAIServer, Fault  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]

AGENTS = 72
CALLS = 2 * AGENTS


@pytest.fixture(scope="module")
def proxy():
    """Where the server's requests to the internet would come by."""
    with LoopbackProxy("http://127.0.0.1:9", refusal="403 Forbidden") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def address(proxy):
    with served("civil-violence", proxy) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def asked():
    """Answers to requests of the page: address and status."""
    return []


@pytest.fixture
def page(browser, address, asked):
    page = browser.new_page()
    page.on("response", lambda response: asked.append((response.url, response.status)))
    page.on("requestfailed", lambda request: asked.append((request.url, request.failure)))
    page.goto(address)
    page.wait_for_selector(".states img")
    yield page
    page.close()


def shows(page, name, text):
    sync_api.expect(page.locator(f".{name}")).to_have_text(text, timeout=30_000)


def step(page, number=1):
    page.click("button.step")
    shows(page, "steps", f"Step {number}")


def let_a_model_decide(page, api_base):
    page.locator(".v-select", has_text="Decided by").click()
    page.click(".v-list-item:has-text('a language model')")
    for label, text in (("Model, as provider/name", "openai/small"), ("Base URL", api_base)):
        page.get_by_label(label).fill(text)
        page.get_by_label(label).press("Enter")
    page.click("button.reset:has-text('Apply and reset')")
    sync_api.expect(page.locator("button.reset")).to_have_text("Reset")


def test_a_step_moves_the_plot_and_the_grid(page):
    before = picture(page, "states"), picture(page, "space")
    step(page)
    shows(page, "counter-calls", str(CALLS))
    shows(page, "counter-calls-in-flight", "0")
    shows(page, "last-step", re.compile(f"Step 1: {AGENTS} agents in "))
    page.wait_for_function("src => document.querySelector('.states img').src != src", arg=before[0])
    assert picture(page, "space") != before[1]


def test_nothing_is_loaded_from_elsewhere_or_told_to_anybody(page, asked, proxy):
    step(page)
    assert {urlsplit(url).hostname for url, _ in asked if not url.startswith(("blob:", "data:"))} == {"127.0.0.1"}
    assert [answer for answer in asked if answer[1] not in {101, 200, 204, 304}] == []
    assert proxy.heads == []


def test_an_agent_is_looked_into(page):
    step(page)
    look_at(page, "Citizen 12")
    assert "agent_unique_id: 12" in page.inner_text("pre.observation")
    assert page.inner_text("pre.reasoning").startswith("Thought 1: I see ")
    assert "Step 1: move_one_step(direction=" in page.inner_text("pre.tool-calls")


def test_play_goes_on_until_it_is_paused(page):
    page.click("button.play")
    shows(page, "steps", re.compile(r"Step [3-9]"))
    page.click("button.pause")
    sync_api.expect(page.locator("button.step")).to_be_enabled(timeout=30_000)
    steps = page.inner_text(".steps")
    step(page, int(steps.split()[1]) + 1)


def test_a_slider_counts_from_the_next_reset_on(page):
    page.locator(".v-input__slider", has_text="Citizens: 60").locator("[role=slider]").press("ArrowRight")
    page.wait_for_selector("text=Citizens: 61")
    page.click("button.reset:has-text('Apply and reset')")
    sync_api.expect(page.locator("button.reset")).to_have_text("Reset")
    step(page)
    shows(page, "last-step", re.compile(f"Step 1: {AGENTS + 1} agents in "))


def test_the_page_answers_while_a_step_waits_for_a_model(page):
    with FakeOpenAIServer(Fault.hang()) as server:
        let_a_model_decide(page, server.url)
        page.click("button.step")
        shows(page, "counter-calls-in-flight", str(AGENTS))
        shows(page, "steps", "Step 0 …")
        look_at(page, "Citizen 12")
        assert page.inner_text("pre.observation") == "Nothing yet."
        page.click("button.reset")
        shows(page, "steps", "Step 0")


def test_a_model_decides_and_what_it_writes_is_never_taken_for_markup(page):
    def answer(body):
        text = "Action: <b class='markup'>I stay.</b>"
        return text if body.get("tool_choice") == "none" else tool_call("move_one_step", direction="North")

    with FakeOpenAIServer(answer) as server:
        let_a_model_decide(page, server.url)
        step(page)
    sync_api.expect(page.locator(".counter-tokens-read")).not_to_have_text("0")
    look_at(page, "Citizen 12")
    assert page.inner_text("pre.reasoning") == "Action: <b class='markup'>I stay.</b>"
    assert page.locator(".markup").count() == 0


def test_a_model_that_refuses_says_why(page):
    with FakeOpenAIServer(Fault(status=401, body="no such key")) as server:
        let_a_model_decide(page, server.url)
        page.click("button.step")
        sync_api.expect(page.locator(".failure")).to_contain_text("72 agents failed", timeout=30_000)
    shows(page, "counter-failed-calls", str(AGENTS))
    shows(page, "steps", "Step 0")
