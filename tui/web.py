"""`thalweg --web`: the terminal UI in a browser of this machine, through textual-serve behind a door of its own.

textual-serve has no authentication: whoever reaches its port has the app, and other pages in the same browser can reach
a port of 127.0.0.1. So every request, the websocket's too, has to come

- for this very host and port (`Host`), and from this page where it says from which (`Origin`): no other name that
  resolves to 127.0.0.1 (DNS rebinding), no other page;
- with the cookie that was given for the invitation in the address that is printed. An invitation is good once.

Everything else gets 403 and learns nothing.
"""

from __future__ import annotations

import hmac
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from textual_serve.server import Server

from protocol.errors import InputError

HOST = "127.0.0.1"
PORTS = (1, 65535)
HEADERS = {
    # The page of textual-serve has scripts and styles in it; it asks for a font elsewhere, which is not fetched.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws:; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
APP = "import sys; from tui.app import open_app; sys.exit(open_app())"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """Who may come in. `say` is told of each invitation, the first at once."""

    def __init__(self, port: int, say: Callable[[str], object] = lambda _: None) -> None:
        self.port = port
        self.host = f"{HOST}:{port}"
        self.cookie = f"thalweg-{port}"
        self._say = say
        self._secrets: set[str] = set()
        self.invitation = ""
        self.invite()

    def invite(self) -> str:
        """A new address to open; the one before is no longer good."""
        self.invitation = secrets.token_urlsafe(32)
        self._say(self.address)
        return self.address

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{self.port}/?token={self.invitation}"

    def from_here(self, headers: Mapping[str, str]) -> bool:
        """Whether a request is for this host and, where it says so, from this page."""
        if headers.get("Host", "") != self.host:
            return False
        if headers.get("Origin", f"http://{self.host}") != f"http://{self.host}":
            return False
        return headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")

    def known(self, cookie: str | None) -> bool:
        """Whether this cookie was given here."""
        return cookie is not None and any(hmac.compare_digest(cookie.encode(), s.encode()) for s in self._secrets)

    def admit(self, token: str) -> str | None:
        """A cookie for an invitation, which is used up by it; None for a wrong one."""
        if not hmac.compare_digest(token.encode(), self.invitation.encode()):
            return None
        secret = secrets.token_urlsafe(32)
        self._secrets.add(secret)
        self.invite()
        return secret

    def middleware(self) -> Any:
        """For an aiohttp application: before every handler."""

        @web.middleware
        async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self.from_here(request.headers):
                raise web.HTTPForbidden(text="403: not for this page")
            token = request.query.get("token")
            if token is not None and request.path == "/":
                secret = self.admit(token)
                if secret is not None:
                    welcome = web.HTTPSeeOther("/")
                    welcome.set_cookie(self.cookie, secret, httponly=True, samesite="Strict", path="/")
                    welcome.headers.update(HEADERS)
                    raise welcome
            if not self.known(request.cookies.get(self.cookie)):
                raise web.HTTPForbidden(text="403: open the address that thalweg --web printed last; each is good once")
            if request.path.rstrip("/").startswith("/static") and request.path.endswith("/"):
                raise web.HTTPForbidden(text="403: no listing")
            return await handler(request)

        return door


class Web(Server):
    """textual-serve's server with the door before it."""

    def __init__(self, command: str, port: int, say: Callable[[str], object] = print) -> None:
        super().__init__(command, host=HOST, port=port, title="thalweg")
        self.door = Door(port, say)

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self.door.middleware())
        app.on_response_prepare.append(_headers)
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Nothing more is printed than the invitation."""

    def initialize_logging(self) -> None:
        """No log on the terminal that shows the invitation."""


async def _headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def command() -> str:
    """The command line of the app of one browser tab."""
    return shlex.join([sys.executable, "-P", "-c", APP])


def parsed(typed: Sequence[str]) -> tuple[int | None, Path | None]:
    """Port and workspace of what was typed after `thalweg`. Raises InputError."""
    port: int | None = None
    workspace: Path | None = None
    words = [w for w in typed if w != "--web"]
    while words:
        flag, equals, value = words.pop(0).partition("=")
        if flag not in ("--port", "--workspace"):
            raise InputError(f"--web: expected --port or --workspace beside it, got '{flag}'")
        if not equals:
            if not words:
                raise InputError(f"{flag}: expected a value after it")
            value = words.pop(0)
        if flag == "--workspace":
            workspace = Path(value).expanduser().absolute()
        elif not (value.isascii() and value.isdigit() and len(value) < 6 and PORTS[0] <= int(value) <= PORTS[1]):
            raise InputError(f"--port: expected a number from {PORTS[0]} to {PORTS[1]}, got '{value[:40]}'")
        else:
            port = int(value)
    return port, workspace


def free(port: int | None) -> int:
    """A port that can be listened on: this one, or any. Raises InputError where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port or 0))
        except OSError as e:
            raise InputError(f"--port: {port} cannot be listened on ({e.strerror}): choose another") from e
        return int(probe.getsockname()[1])


def serve(typed: Sequence[str]) -> int:
    """Serve until Ctrl-C; the exit code. Raises InputError."""
    port, workspace = parsed(typed)
    if workspace is not None:
        os.environ["THALWEG_WORKSPACE"] = str(workspace)  # of the apps that are started
    port = free(port)

    def say(address: str) -> None:
        print(f"thalweg: open {address}", flush=True)

    print("thalweg in the browser of this machine; Ctrl-C ends it, jobs go on. Each address is good once.", flush=True)
    Web(command(), port, say).serve()
    return 0
