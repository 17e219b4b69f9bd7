"""The command `mesa-llm-examples app`."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from mesa_llm_examples.apps import serving
from mesa_llm_examples.cli import main

COMMAND = shutil.which("mesa-llm-examples", path=Path(sys.executable).parent)


@pytest.fixture
def one_line(capsys):
    """Run the command, which is to fail: gives the one line that it writes."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        output, errors = capsys.readouterr()
        assert exit_.value.code == 2
        assert output == ""
        assert errors.count("\n") == 1
        return errors

    return run


def test_an_unknown_example(one_line):
    assert one_line("app", "no-such") == (
        f"mesa-llm-examples: There is no app 'no-such'. There are: {', '.join(serving.app_files())}.\n"
    )


def test_every_example_with_an_app_is_known():
    assert "civil-violence" in serving.app_files()
    assert all(file.is_file() for file in serving.app_files().values())


@pytest.mark.parametrize("missing", ["solara", "matplotlib"])
def test_without_the_extra_it_says_how_to_install_it(one_line, monkeypatch, missing):
    monkeypatch.setattr(serving, "find_spec", lambda name: None if name == missing else sys)
    assert one_line("app", "civil-violence") == (
        f"mesa-llm-examples: An app needs {missing}, which is not installed. "
        'Install it: pip install "mesa-llm-examples[app]"\n'
    )


def test_a_port_that_is_taken(one_line):
    pytest.importorskip("solara", reason="the extra `app` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = one_line("app", "civil-violence", "--port", str(port), "--no-open")
    assert line.startswith(f"mesa-llm-examples: Cannot listen on 127.0.0.1, port {port}: ")
    assert "Use --port 0 for a free port." in line


@pytest.mark.parametrize("opens", [True, False])
def test_a_browser_is_opened_unless_one_says_no(monkeypatch, capsys, opens):
    opened = []
    monkeypatch.setattr(serving.webbrowser, "open", opened.append)
    serving._started("civil-violence", "http://127.0.0.1:1", opens=opens)
    assert opened == ["http://127.0.0.1:1"] * opens
    assert capsys.readouterr().out == "civil-violence is at http://127.0.0.1:1 (Ctrl-C ends it)\n"


def test_it_serves_on_the_loopback_until_ctrl_c():
    pytest.importorskip("solara", reason="the extra `app` is not installed")
    command = [COMMAND, "app", "civil-violence", "--port", "0", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "Loading civil-violence ...\n"
            line = process.stdout.readline()
            assert line.startswith("civil-violence is at http://127.0.0.1:"), process.stderr.read()
            with urllib.request.urlopen(line.split()[3]) as response:
                assert response.status == 200
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == "mesa-llm-examples: Interrupted.\n"


STUCK = """
import socket, threading
from mesa_llm_examples.apps import serving
import solara.server.starlette

never = threading.Event()
solara.server.starlette.on_shutdown = never.wait  # as if a page was busy making a model
threading.Thread(target=never.wait).start()  # as if an agent's code was waiting
file = serving.app_files()["opinion"]
listener = socket.create_server(("127.0.0.1", 0))
serving._serve(file, listener, lambda: print("started", flush=True), hosts=(), token=None)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ends_by", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_whatever_is_still_running(ends_by):
    pytest.importorskip("solara", reason="the extra `app` is not installed")
    environment = os.environ | {"SOLARA_APP": str(serving.app_files()["opinion"]), "SOLARA_ASSETS_PROXY": "True"}
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "started\n"
            process.send_signal(ends_by)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + ends_by
    assert errors == "mesa-llm-examples: Interrupted.\n"


@pytest.mark.parametrize(
    ("host", "opened_at"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")],
)
def test_the_address_that_is_printed_can_be_opened(monkeypatch, capsys, host, opened_at):
    pytest.importorskip("solara", reason="the extra `app` is not installed")
    served = []

    def serve(file, listener, on_started, *, hosts, token):
        served.append((hosts, token))
        on_started()

    for variable in (serving.MODEL, serving.API_BASE, serving.ALLOW_HOST, serving.TOKEN):
        monkeypatch.setenv(variable, "")
    monkeypatch.setattr(serving, "_serve", serve)
    with pytest.raises(SystemExit):
        main(["app", "opinion", "--no-open", "--port", "0", "--host", host, "--allow-host", "lab.example"])
    ((hosts, token),) = served
    assert hosts == (host, "lab.example")
    shown = capsys.readouterr().out.splitlines()[-1].split()[3]
    assert re.fullmatch(rf"http://{re.escape(opened_at)}:\d+" + (rf"/\?token={token}" if token else ""), shown)
    assert bool(token) is (host == "0.0.0.0")


@pytest.mark.parametrize(("option", "needs"), [("--token", True), ("--no-token", False)])
def test_a_token_is_needed_as_an_option_says(option, needs):
    pytest.importorskip("solara", reason="the extra `app` is not installed")
    assert bool(serving._token("127.0.0.1" if needs else "0.0.0.0", option == "--token")) is needs
