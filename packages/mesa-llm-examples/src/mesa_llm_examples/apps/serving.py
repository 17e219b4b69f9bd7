"""`mesa-llm-examples app NAME`: the server of an app, and the settings with which the app is started."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import warnings
import webbrowser
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mesa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType


MODEL = "MESA_LLM_APP_MODEL"
API_BASE = "MESA_LLM_APP_API_BASE"
ALLOW_HOST = "MESA_LLM_APP_ALLOW_HOST"
TOKEN = "MESA_LLM_APP_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Start:
    """The settings with which an app was started.

    Attributes:
        llm_model: the LLM at first, as `provider/model`; `None` for the example's rule.
        api_base: the base URL at first; besides the provider's own, the only one that gets its key.
        allowed_hosts: further names under which the page may be opened.
        token: the token of browsers, where other machines can connect; `None` for a random one.
    """

    llm_model: str | None = None
    api_base: str = ""
    allowed_hosts: tuple[str, ...] = ()
    token: str | None = None


def at_start() -> Start:
    """The settings with which this process was started."""
    return Start(
        llm_model=os.environ.get(MODEL) or None,
        api_base=os.environ.get(API_BASE, ""),
        allowed_hosts=tuple(os.environ.get(ALLOW_HOST, "").split()),
        token=os.environ.get(TOKEN) or None,
    )


PORT = 8765
GRACE = 1.5  # seconds from Ctrl-C until the process ends in any case
INSTALL = 'pip install "mesa-llm-examples[app]"'
# Top-level modules only: looking for a submodule would import its package, and Solara reads its settings on import.
_NEEDED = ("solara", "uvicorn", "starlette", "matplotlib", "altair")


def app_files() -> dict[str, Path]:
    """The files of the apps, by the names of the examples."""
    examples = Path(__file__).parents[1]
    return {file.parent.name.replace("_", "-"): file for file in sorted(examples.glob("*/app.py"))}


def app_command(
    name: Annotated[str, typer.Argument(help="Which example.", metavar="NAME", show_default=False)],
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free one.")] = PORT,
    host: Annotated[str, typer.Option(help="Address to listen on; by default only this machine can connect.")] = (
        "127.0.0.1"
    ),
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            envvar=ALLOW_HOST,
            metavar="NAME",
            help="A name of this machine under which the page is opened, besides the address that it listens on.",
        ),
    ] = None,
    token: Annotated[
        bool | None,
        typer.Option(
            "--token/--no-token",
            help="Whether a browser has to show a token, which is in the address that is printed.",
            show_default="if other machines can connect",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--llm",
            "--model",
            envvar=MODEL,
            metavar="PROVIDER/NAME",
            help="The LLM that decides at first. Without it, a Python rule decides.",
        ),
    ] = None,
    api_base: Annotated[
        str | None,
        typer.Option(
            envvar=API_BASE,
            metavar="URL",
            help="Address of the LLM's server: besides the provider's own, the only one that is sent its key.",
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Whether a browser is opened.")] = True,
) -> None:
    """Watch an example in the browser, until Ctrl-C. Needs the extra `app`."""
    file = app_files().get(name)
    if file is None:
        raise ConfigurationError(f"There is no app {name!r}. There are: {', '.join(app_files())}.")
    if missing := [module for module in _NEEDED if find_spec(module) is None]:
        raise ConfigurationError(f"An app needs {missing[0]}, which is not installed. Install it: {INSTALL}")
    with _listen(host, port) as listener:
        print(f"Loading {name} ...", flush=True)  # noqa: T201 - this is a command
        for variable, value in ((MODEL, model), (API_BASE, api_base)):
            os.environ[variable] = value or ""  # the page reads them
        address, port = listener.getsockname()[:2]
        token_ = _token(address, token)
        opened_at = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, host)
        shown = f"[{opened_at}]" if ":" in opened_at else opened_at
        url = f"http://{shown}:{port}" + (f"/?token={token_}" if token_ else "")
        _serve(
            file, listener, lambda: _started(name, url, opens=open_), hosts=(host, *(allow_host or ())), token=token_
        )


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. Use --port 0 for a free port."
        ) from error


def _started(name: str, url: str, *, opens: bool) -> None:
    print(f"{name} is at {url} (Ctrl-C ends it)", flush=True)  # noqa: T201 - this is a command
    if opens:
        webbrowser.open(url)


def _token(address: str, wanted: bool | None) -> str | None:
    """The token that browsers must show; `None` if they need none."""
    from mesa_llm_examples.apps.guard import is_loopback, new_token  # noqa: PLC0415 - of the extra

    needed = not is_loopback(address) if wanted is None else wanted
    return (at_start().token or new_token()) if needed else None


def _serve(
    file: Path,
    listener: socket.socket,
    on_started: Callable[[], None],
    *,
    hosts: Sequence[str],
    token: str | None,
) -> None:
    """Serve an app until Ctrl-C, which ends the process, even if steps still wait for answers on other threads."""
    # Solara reads these on import. Unless a user has set them, the page loads nothing from and sends nothing to the
    # internet.
    os.environ.setdefault("SOLARA_MODE", "production")
    os.environ.setdefault("SOLARA_TELEMETRY_MIXPANEL_ENABLE", "False")
    os.environ.setdefault("SOLARA_ASSETS_PROXY", "True")
    os.environ.setdefault("SOLARA_THEME_SHOW_BANNER", "False")
    os.environ.setdefault("SOLARA_KERNEL_CULL_TIMEOUT", "5m")  # how long a lost page keeps its model
    os.environ["SOLARA_APP"] = str(file)

    import uvicorn  # noqa: PLC0415 - of the extra
    from solara.server.starlette import app  # noqa: PLC0415

    from mesa_llm_examples.apps.guard import protect  # noqa: PLC0415

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_started()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            super().handle_exit(sig, frame)
            # The server waits for what pages have begun, such as making a large model.
            timer = threading.Timer(GRACE, _end, [sig])
            timer.daemon = True
            timer.start()

    warnings.filterwarnings("ignore", "Cookies with samesite=none", UserWarning)  # the page is never embedded
    # An open page is a connection that does not end by itself: it is closed after a second.
    protect(app, hosts=hosts, token=token)
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    try:
        Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        _end(signal.SIGINT)


def _end(sig: int) -> NoReturn:
    """End the process at once. The interpreter would wait for the threads of steps, which wait for models."""
    print("mesa-llm-examples: Interrupted.", file=sys.stderr, flush=True)  # noqa: T201 - this is a command
    os._exit(128 + sig)
