"""Apps as they are in a browser: headless Chromium, and a server on the loopback."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def served(name, proxy):
    """The address of an app, on a server of its own whose requests to the internet would come by a proxy."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), f"http://{proxy.address}")
    direct = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "mesa_llm_examples", "app", name, "--port", "0", "--no-open"]
    environment = os.environ | proxies | direct | {"OPENAI_API_KEY": "none"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            started = [server.stdout.readline() for _ in range(2)][1]
            yield re.search(r"http://\S+", started)[0]
        finally:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=60)


@contextmanager
def chromium(folder):
    """A browser whose profile is in a folder."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder, executable_path=CHROMIUM, headless=True, args=FLAGS, viewport={"width": 1400, "height": 1000}
        )
        yield context
        context.close()


def look_at(page, agent):
    """Open an agent."""
    page.fill(".agent input", agent)
    page.click(f".v-list-item:has-text('{agent}') >> nth=0")
    page.wait_for_selector("pre.observation")


def picture(page, name):
    """What is drawn."""
    return page.locator(f".{name} svg").first.inner_html()
