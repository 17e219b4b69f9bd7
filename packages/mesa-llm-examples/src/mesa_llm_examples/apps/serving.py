"""Serves an app: `mesa-llm-examples app NAME`."""

from __future__ import annotations

import os
import socket
import warnings
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mesa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

PORT = 8765
INSTALL = 'pip install "mesa-llm-examples[app]"'
# To look for a module inside a package would import it, and Solara reads its settings then.
_NEEDED = ("solara", "uvicorn", "starlette", "matplotlib", "altair")


def app_files() -> dict[str, Path]:
    """The file of each app, by the name of its example."""
    examples = Path(__file__).parents[1]
    return {file.parent.name.replace("_", "-"): file for file in sorted(examples.glob("*/app.py"))}


def app_command(
    name: Annotated[str, typer.Argument(help="Which example.", metavar="NAME", show_default=False)],
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free one.")] = PORT,
    host: Annotated[str, typer.Option(help="Address to listen on; by default only this machine can connect.")] = (
        "127.0.0.1"
    ),
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Whether a browser is opened.")] = True,
) -> None:
    """Watch an example in the browser, until Ctrl-C. Needs the extra `app`."""
    file = app_files().get(name)
    if file is None:
        raise ConfigurationError(f"There is no app {name!r}. There are: {', '.join(app_files())}.")
    if missing := [module for module in _NEEDED if find_spec(module) is None]:
        raise ConfigurationError(f"An app needs {missing[0]}, which is not installed. Install it: {INSTALL}")
    with _listen(host, port) as listener:
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{listener.getsockname()[1]}"
        print(f"Loading {name} ...", flush=True)  # noqa: T201 - this is a command
        _serve(file, listener, lambda: _started(name, url, opens=open_))


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


def _serve(file: Path, listener: socket.socket, on_started: Callable[[], None]) -> None:
    """Serve an app until Ctrl-C.

    Raises:
        KeyboardInterrupt: after Ctrl-C, when the server has ended.
    """
    # Read as Solara is imported. What a user has set holds; otherwise nothing is loaded from or told to the internet.
    os.environ.setdefault("SOLARA_MODE", "production")
    os.environ.setdefault("SOLARA_TELEMETRY_MIXPANEL_ENABLE", "False")
    os.environ.setdefault("SOLARA_ASSETS_PROXY", "True")
    os.environ.setdefault("SOLARA_THEME_SHOW_BANNER", "False")
    os.environ.setdefault("SOLARA_KERNEL_CULL_TIMEOUT", "5m")  # a model that plays on a page that was lost ends then
    os.environ["SOLARA_APP"] = str(file)

    import uvicorn  # noqa: PLC0415 - of the extra

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_started()

    warnings.filterwarnings("ignore", "Cookies with samesite=none", UserWarning)  # nobody embeds the page
    # An open page is a connection that never ends by itself: a second for those, then they are closed.
    config = uvicorn.Config("solara.server.starlette:app", log_level="error", timeout_graceful_shutdown=1)
    Server(config).run(sockets=[listener])
