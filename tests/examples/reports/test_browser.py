"""The page of a run as it is in a browser: headless Chromium, from the disk."""

import shutil

import pytest

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from mesa_llm_examples.reports import measures  # noqa: E402
from mesa_llm_examples.reports.report import page as page_of  # noqa: E402
from mesa_llm_examples.reports.run_file import read_run  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="module")
def address(crowded, tmp_path_factory):
    run = read_run(crowded)
    path = tmp_path_factory.mktemp("report") / "run.html"
    path.write_text(page_of(run, measures.slowest_step(run)), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.parametrize(("scheme", "darker"), [("light", "text"), ("dark", "paper")])
@pytest.mark.parametrize(("width", "screen"), [(1200, "broad"), (420, "narrow")])
def test_the_page_is_whole_on_every_screen(browser, address, scheme, darker, width, screen):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    assert asked == [address]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    shown = page.eval_on_selector_all("svg", "all => all.filter(svg => svg.clientWidth).map(svg => svg.classList[0])")
    assert shown == [screen] * 6
    colors = {
        "paper": page.evaluate("getComputedStyle(document.body).backgroundColor"),
        "text": page.evaluate("getComputedStyle(document.querySelector('svg text')).fill"),
    }
    assert min(colors, key=lambda name: colors[name].strip("rgb()").split(", ")[0].zfill(3)) == darker
    page.close()
