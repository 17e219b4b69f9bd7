"""Keeps an app to its own page: refuses requests that other web pages make, or that ask for another host.

A browser lets any page open a WebSocket to an app on this machine, and a page whose name resolves to 127.0.0.1 may also
read the app (DNS rebinding). So each request is checked, as Jupyter does: its `Host` must be the app's own, and so must
its `Origin` if it has one. Browsers send an `Origin` with every WebSocket. A program that sends none is let through: on
a loopback address it runs on this machine, and elsewhere it needs the token, as a browser does.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Collection
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.websockets import WebSocketClose

from mesa_llm_examples.apps.serving import ALLOW_HOST, at_start

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """An ASGI app around another one.

    Args:
        app: the app that answers the other requests.
        hosts: names and addresses under which the page may be opened, besides the address of each connection.
        token: the token that a browser shows once as `?token=` in the URL, then in a cookie; `None` for none.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = (), token: str | None = None) -> None:
        self._app = app
        self._hosts = frozenset(host.strip("[]").lower() for host in hosts)
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with status 403."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if (problem := self._problem(connection)) is not None:
            refusal = PlainTextResponse(f"{problem}\n", 403) if scope["type"] == "http" else WebSocketClose(1008)
            await refusal(scope, receive, send)
        elif self._token is not None and scope["type"] == "http" and "token" in connection.query_params:
            # From here on only the cookie has the token: not the address bar, the history or a screenshot.
            redirect = RedirectResponse(connection.url.remove_query_params("token"), 303)
            redirect.set_cookie(_cookie(scope), self._token, httponly=True, samesite="lax")
            await redirect(scope, receive, send)
        else:
            await self._app(scope, receive, _without_frames(send))

    def _problem(self, connection: HTTPConnection) -> str | None:
        """The reason to refuse a request; `None` without one."""
        hosts, origins = connection.headers.getlist("host"), connection.headers.getlist("origin")
        if len(hosts) != 1 or _name(hosts[0]) not in self._hosts_of(connection.scope):
            return (
                f"This app is not served as {', '.join(hosts)!r}. Open it under the address that it listens on, or "
                f"start it with --allow-host NAME (under solara run: {ALLOW_HOST}=NAME in the environment)."
            )
        if any(urlsplit(origin).netloc.lower() != hosts[0].lower() for origin in origins):
            return f"This app answers only its own page, not one from {', '.join(origins)!r}."
        if self._token is not None:
            shown = connection.query_params.get("token") or connection.cookies.get(_cookie(connection.scope), "")
            if not secrets.compare_digest(shown.encode(), self._token.encode()):
                return "This app needs its token: open the address that it has printed, with ?token=... at its end."
        return None

    def _hosts_of(self, scope: Scope) -> frozenset[str]:
        """The names of the app, and of the address to which a connection came; a foreign domain is never among them."""
        own = (scope.get("server") or ("",))[0]
        return self._hosts | {own} | (_LOOPBACK if is_loopback(own) else frozenset())


def protect(app: Starlette, *, hosts: Collection[str] = (), token: str | None = None) -> None:
    """Put a guard around a server's app, once, even if the server has started.

    Args:
        app: Solara's Starlette app.
        hosts: see `Guard`.
        token: see `Guard`.
    """
    if not getattr(app.state, "mesa_llm_guard", False):
        app.state.mesa_llm_guard = True
        app.middleware_stack = Guard(app.middleware_stack or app.build_middleware_stack(), hosts=hosts, token=token)


def protect_solara() -> None:
    """Put a guard around the server of `solara run`, which loads the file of the app before it listens."""
    server = sys.modules.get("solara.server.starlette")
    if server is None or getattr(server.app.state, "mesa_llm_guard", False):
        return
    host, port, start = os.environ.get("SERVER_NAME", ""), os.environ.get("SERVER_PORT", ""), at_start()
    token = None if is_loopback(host) else start.token or new_token()
    protect(server.app, hosts=(host, *start.allowed_hosts), token=token)
    if token is not None:
        print(f"Open the app with its token: http://{host}:{port}/?token={token}", flush=True)  # noqa: T201 - solara run prints the address too


def new_token() -> str:
    """A new random token."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an IP address, or to the name `localhost`."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str | None:
    """The name or address in a `Host` header, without the port, which a proxy may have changed."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _cookie(scope: Scope) -> str:
    """The name of the cookie. It has the port in it: browsers send the cookies of a host to all its ports."""
    return f"mesa-llm-app-token-{(scope.get('server') or ('', ''))[1]}"


def _without_frames(send: Send) -> Send:
    """Forbid other pages to show the app in a frame, where they could trick a user into clicking its buttons."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append("Content-Security-Policy", "frame-ancestors 'self'")
        await send(message)

    return answer
