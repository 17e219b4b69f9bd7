"""The app as it is in a browser: headless Chromium, on a server of its own."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from helpers.browser import CHROMIUM, chromium, look_at, picture, served
from helpers.loopback_proxy import LoopbackProxy
from helpers.rules import at_ease

pytest.importorskip("solara", reason="the extra `app` is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from mesa_llm.testing import FakeOpenAIServer, Fault  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]

AGENTS = 72
ASKED = AGENTS - 1  # in the first step, one agent has no free cell beside it, and is not asked where to go
CALLS = ASKED + AGENTS


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
    page.wait_for_selector(".states svg")
    yield page
    page.close()


def shows(page, name, text):
    sync_api.expect(page.locator(f".{name}")).to_have_text(text, timeout=30_000)


def step(page, number=1):
    page.click("button.step")
    shows(page, "steps", f"Step {number}")


def let_a_model_decide(page, api_base):
    page.locator(".v-select", has_text="Decided by").click()
    page.click(".v-list-item:has-text('an LLM')")
    for label, text in (("LLM, as provider/name", "openai/small"), ("Address of its server", api_base)):
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
    shows(
        page,
        "decided",
        re.compile(rf"All steps: {CALLS} decisions; \d+ of {CALLS} actions refused, 0 crashed"),
    )
    page.wait_for_function("was => document.querySelector('.states svg').innerHTML != was", arg=before[0])
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
    assert page.inner_text("pre.reasoning").startswith("I walk about.\n\nI see ")
    assert "Step 1: move_one_step(direction=" in page.inner_text("pre.acts")


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
        shows(page, "counter-calls-in-flight", str(ASKED))
        shows(page, "steps", "Step 0 …")
        look_at(page, "Citizen 12")
        assert page.inner_text("pre.observation") == "Nothing yet."
        page.click("button.reset")
        shows(page, "steps", "Step 0")


def test_a_model_decides_and_what_it_writes_is_never_taken_for_markup(page):
    reason = "<b class='markup'>I stay.</b>"
    with FakeOpenAIServer(lambda body: at_ease(body, reason)) as server:
        let_a_model_decide(page, server.url)
        step(page)
    sync_api.expect(page.locator(".counter-input-tokens")).not_to_have_text("0")
    look_at(page, "Citizen 12")
    assert page.inner_text("pre.reasoning") == f"{reason}\n\n{reason}"
    assert page.locator(".markup").count() == 0


def test_a_model_that_refuses_says_why(page):
    with FakeOpenAIServer(Fault(status=401, body="no such key")) as server:
        let_a_model_decide(page, server.url)
        page.click("button.step")
        sync_api.expect(page.locator(".failure")).to_contain_text(f"{ASKED} agents failed", timeout=30_000)
    shows(page, "counter-failed-calls", str(ASKED))
    shows(page, "steps", "Step 0")


@pytest.mark.parametrize("width", [390, 800])
def test_in_a_narrow_window_the_side_bar_begins_closed_and_closes_again(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.reload()
    step(page)
    page.click("button.side-bar-button")
    slider = page.locator(".v-input__slider", has_text="Citizens: 60")
    sync_api.expect(slider).to_be_in_viewport(ratio=1)
    slider.locator("[role=slider]").press("ArrowRight")
    page.wait_for_selector("text=Citizens: 61")
    page.mouse.click(width - 3, 400)  # beside it
    page.click("button.reset:has-text('Apply and reset')")
    step(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.set_viewport_size({"width": 1400, "height": 1000})


def test_in_a_wide_window_the_side_bar_is_beside_the_page_and_can_be_closed(page):
    slider = page.locator(".v-input__slider", has_text="Citizens: 60")
    sync_api.expect(slider).to_be_in_viewport()
    step(page)
    page.click("button.side-bar-button")
    sync_api.expect(slider).not_to_be_in_viewport()
    step(page, 2)


def connected_kernels(page, address):
    return json.loads(page.request.get(f"{address}/resourcez").text())["kernels"]["has_connected"]


@pytest.mark.parametrize("unloads", [False, True])
def test_play_stops_with_the_running_step_when_its_page_is_closed(browser, page, address, unloads):
    may_answer = asyncio.Event()

    async def answer(body):
        if len(server.requests) > CALLS:  # from the second step on
            await may_answer.wait()
        return at_ease(body)

    with FakeOpenAIServer(answer) as server:
        closed = browser.new_page()
        closed.goto(address)
        closed.wait_for_selector(".states svg")
        let_a_model_decide(closed, server.url)
        before = connected_kernels(page, address)
        closed.click("button.play")
        shows(closed, "steps", "Step 1 …")
        closed.wait_for_function(f"Number(document.querySelector('.counter-calls').innerText) > {CALLS}")
        closed.close(run_before_unload=unloads)
        while connected_kernels(page, address) == before:
            pass
        server._thread.loop.call_soon_threadsafe(may_answer.set)
        for number in range(1, 6):  # time enough for more steps there
            step(page, number)
        assert CALLS + AGENTS < len(server.requests) <= 4 * AGENTS


def test_a_page_that_was_disconnected_shows_its_model_again_and_is_paused(browser, page, address):
    sockets, is_down = [], False

    def connect(socket):
        if is_down:
            socket.close()
        else:
            sockets.append((socket, socket.connect_to_server()))

    lost = browser.new_page()
    lost.route_web_socket(re.compile("/channels"), connect)
    lost.goto(address)
    lost.wait_for_selector(".states svg")
    before = connected_kernels(page, address)
    lost.click("button.play")
    shows(lost, "steps", re.compile("Step [2-9]"))
    is_down = True
    for side in sockets[0]:
        side.close()
    while connected_kernels(page, address) == before:
        pass
    for number in range(1, 4):  # time enough for the step there to end
        step(page, number)
    is_down = False
    sync_api.expect(lost.locator("button.play")).to_be_enabled(timeout=120_000)
    step(lost, int(lost.inner_text(".steps").split()[1]) + 1)
    lost.close()


@pytest.mark.parametrize("ends_by", [signal.SIGINT, signal.SIGTERM])
def test_the_app_ends_with_a_page_open_and_calls_in_flight(browser, ends_by):
    with FakeOpenAIServer(Fault.hang()) as server:
        command = [sys.executable, "-m", "mesa_llm_examples", "app", "civil-violence", "--port", "0", "--no-open"]
        command += ["--model", "openai/small", "--api-base", server.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                started = [process.stdout.readline() for _ in range(2)][1]
                page = browser.new_page()
                page.goto(re.search(r"http://\S+", started)[0])
                page.wait_for_selector(".states svg")
                page.click("button.play")
                shows(page, "counter-calls-in-flight", str(ASKED))
                process.send_signal(ends_by)
                _, errors = process.communicate(timeout=60)
                page.close()
            finally:
                process.kill()
    assert (process.returncode, errors) in {
        (130, "mesa-llm-examples: Interrupted.\n"),
        (-signal.SIGTERM, ""),
    }


@pytest.mark.parametrize(("width", "is_open"), [(1400, True), (800, False), (390, False)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_used_on_every_screen(browser, address, width, is_open, scheme):
    errors = []
    page = browser.new_page()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(address)
    page.wait_for_selector(".states svg")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.inner_text("h1") == "Civil violence"
    assert page.locator("button:not([aria-label])").filter(has_not_text=re.compile(r"\S")).count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert (page.locator(".side-bar").bounding_box()["x"] >= 0) is is_open
    ink = page.evaluate("getComputedStyle(document.querySelector('.states svg')).color")
    assert (sum(map(int, re.findall(r"\d+", ink)[:3])) > 380) is (scheme == "dark")
    step(page)
    spot = page.locator(".space .spot").first
    name = spot.get_attribute("title").partition(" (")[0]
    spot.click()
    page.wait_for_selector("pre.observation")
    assert f"agent_unique_id: {name.split()[1]}" in page.inner_text("pre.observation")
    page.locator("details.system > summary").first.click()
    assert "You are an agent in a simulation." in page.locator("details.system").first.inner_text()
    assert errors == []
    page.close()
