"""What holds for every test: nothing leaves the machine, and Mesa is given back unpatched."""

import ipaddress
import os
import signal
import socket

import hypothesis
import pytest

from mesa_llm.parallel_stepping import disable_automatic_parallel_stepping

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

# Where tests are run in the background, a shell has Ctrl-C ignored: tests that interrupt would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The suite tries the same examples in every run; `--hypothesis-profile=explore` tries others. No clock decides in either:
# the first example may import litellm, or make hypothesis's table of characters.
_no_clock = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("same", _no_clock, derandomize=True, database=None)
hypothesis.settings.register_profile("explore", _no_clock, max_examples=2_000, print_blob=True)
hypothesis.settings.load_profile("same")

_connect, _connect_ex = socket.socket.connect, socket.socket.connect_ex


def _refuse_off_loopback(address: object) -> None:
    if not isinstance(address, tuple):
        return  # a Unix socket
    host = str(address[0])
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise AssertionError(f"A test tried to connect to {host}: tests stay on the loopback.")


@pytest.fixture(autouse=True)
def _stay_on_the_loopback(monkeypatch):
    def connect(self, address):
        _refuse_off_loopback(address)
        return _connect(self, address)

    def connect_ex(self, address):
        _refuse_off_loopback(address)
        return _connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect_ex)


@pytest.fixture
def closed_port():
    """A port on which nobody listens, and which nobody else is given meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(autouse=True)
def _mesa_unpatched():
    yield
    disable_automatic_parallel_stepping()
