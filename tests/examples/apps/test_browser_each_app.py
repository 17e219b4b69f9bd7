"""The app of every example in a browser."""

from urllib.parse import urlsplit

import pytest
from helpers.browser import CHROMIUM, chromium, look_at, picture, served
from helpers.loopback_proxy import LoopbackProxy

pytest.importorskip("solara", reason="the extra `app` is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.mark.parametrize(
    ("name", "agent", "thought"),
    [
        ("negotiation", "Buyer 3", "I would make a deal at "),
        ("sugarscape", "Trader 4", "my welfare would be "),
        ("opinion", "Person 3", "and mine is "),
    ],
)
def test_a_step_is_seen_and_an_agent_looked_into(browser, name, agent, thought):
    asked, errors = [], []
    with LoopbackProxy("http://127.0.0.1:9", refusal="403 Forbidden") as proxy, served(name, proxy) as address:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(address)
        page.wait_for_selector(".states svg")
        before = picture(page, "states")
        page.click("button.step")
        sync_api.expect(page.locator(".steps")).to_have_text("Step 1", timeout=30_000)
        page.wait_for_function("was => document.querySelector('.states svg').innerHTML != was", arg=before)
        unmarked = picture(page, "space")
        look_at(page, agent)
        page.wait_for_function("was => document.querySelector('.space svg').innerHTML != was", arg=unmarked)
        assert f"agent_unique_id: {agent.split()[1]}" in page.inner_text("pre.observation")
        assert thought in page.inner_text("pre.reasoning")
        assert "Step 1: " in page.inner_text("pre.acts")
        page.close()
        assert proxy.heads == []
    assert {urlsplit(url).hostname for url in asked if not url.startswith(("blob:", "data:"))} == {"127.0.0.1"}
    assert errors == []
