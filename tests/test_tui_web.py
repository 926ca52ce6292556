"""The terminal UI in a browser: nobody comes in without an invitation, and with one the app is there."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pilots import awaited

pytest.importorskip("textual_serve")

import aiohttp
from aiohttp import web
from cli import THALWEG, Place

from protocol.errors import InputError
from tui.web import HOST, Door, Web, free, parsed

PATIENCE_S = 60.0
ECHO = "exit"  # in place of the app
BROWSER = next((b for name in ("chromium", "chromium-browser", "google-chrome") if (b := shutil.which(name))), None)


@asynccontextmanager
async def served(command: str = ECHO) -> AsyncIterator[tuple[Web, str]]:
    """The server on a port of its own; it and its base address."""
    port = free(None)
    server = Web(command, port, lambda _: None)
    runner = web.AppRunner(await server._make_app())
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    try:
        yield server, f"http://{HOST}:{port}"
    finally:
        await runner.cleanup()


PATHS = ("/", "/ws", "/static/js/textual.js", "/static/", "/download/x", "/nothing", "/?token=", "/?token=%00%ff")


@awaited
async def test_without_an_invitation_every_address_is_refused() -> None:
    async with served() as (_, base), aiohttp.ClientSession() as browser:
        for path in (*PATHS, "/?token=wrong"):
            async with browser.get(base + path, allow_redirects=False) as reply:
                assert reply.status == 403, path
                assert "Set-Cookie" not in reply.headers
                assert "textual" not in await reply.text()
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await browser.ws_connect(base + "/ws")
        async with browser.get(base + "/", cookies={f"thalweg-{base[-5:]}": "guess"}) as reply:
            assert reply.status == 403


@awaited
async def test_an_invitation_is_good_once_and_its_cookie_opens_the_page_and_the_websocket() -> None:
    async with served() as (server, base), aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        address = server.door.address
        async with browser.get(address) as reply:
            assert reply.status == 200
            assert "token" not in str(reply.url)
            assert "textual.js" in await reply.text()
            assert reply.headers["X-Frame-Options"] == "DENY"
        (given,) = list(browser.cookie_jar)
        assert given["httponly"]
        assert given["samesite"] == "Strict"
        ws = await browser.ws_connect(base + "/ws", origin=base)
        await ws.close()
        async with aiohttp.ClientSession() as other:
            async with other.get(address, allow_redirects=False) as reply:
                assert reply.status == 403
            async with other.get(server.door.address, allow_redirects=False) as reply:
                assert reply.status == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "localhost:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
@awaited
async def test_another_page_of_the_same_browser_is_refused_even_with_the_cookie(headers: dict[str, str]) -> None:
    async with served() as (server, base), aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.get(server.door.address) as reply:
            assert reply.status == 200
        cookie = "; ".join(f"{c.key}={c.value}" for c in browser.cookie_jar)
        async with browser.get(base + "/", headers={"Cookie": cookie, **headers}) as reply:
            assert reply.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await browser.ws_connect(base + "/ws", headers={"Cookie": cookie, **headers})


def test_invitations_are_told_and_never_the_same() -> None:
    told: list[str] = []
    door = Door(8000, told.append)
    assert door.admit("") is None
    assert door.admit("\u2026") is None
    secret = door.admit(door.invitation)
    assert door.known(secret)
    assert not door.known("")
    assert len(set(told)) == 2


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["--web", "--port", "0"], "from 1 to 65535, got '0'"),
        (["--web", "--port=x"], "got 'x'"),
        (["--web", "--port"], "expected a value after it"),
        (["--web", "--grid"], "got '--grid'"),
        (["--web", "extra"], "got 'extra'"),
    ],
)
def test_wrong_flags_are_one_sentence(typed: list[str], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        parsed(typed)


def test_a_port_that_is_taken_is_said() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot be listened on"):
            free(taken.getsockname()[1])


# ---------------------------------------------------------------- in a browser


class Page:
    """A page of headless Chromium, through its debugging protocol."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws, self.last = ws, 0
        self.seen = b""  # what came through the page's websockets

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; events that come meanwhile are noted."""
        self.last += 1
        number = self.last
        await self.ws.send_json({"id": number, "method": method, "params": params})
        while True:
            got = await self._next()
            if got.get("id") == number:
                return dict(got.get("result", {}))

    async def _next(self) -> dict[str, Any]:
        got: dict[str, Any] = json.loads((await self.ws.receive(PATIENCE_S)).data)
        if got.get("method") == "Network.webSocketFrameReceived":
            frame = got["params"]["response"]
            data = frame["payloadData"]
            self.seen += base64.b64decode(data) if frame["opcode"] == 2 else data.encode()
        return got

    async def text(self) -> str:
        """What the document says."""
        found = await self.call("Runtime.evaluate", expression="document.body ? document.body.innerText : ''")
        return str(found["result"].get("value", ""))

    async def until(self, text: bytes) -> None:
        """Until the app has drawn this."""
        async with asyncio.timeout(PATIENCE_S):
            while text not in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", self.seen):
                await self._next()


@asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Page]:
    """A page of a browser of its own."""
    assert BROWSER is not None
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
    child = subprocess.Popen(
        [BROWSER, *flags, f"--user-data-dir={profile}", "--remote-debugging-port=0", "--window-size=1200,800"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert child.stderr is not None
    try:
        port = ""
        while not port:
            line = await asyncio.to_thread(child.stderr.readline)
            assert line, "the browser has ended"
            found = re.search(r"DevTools listening on ws://127.0.0.1:(\d+)/", line)
            port = found[1] if found else ""
        async with aiohttp.ClientSession() as session:
            async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as reply:
                address = (await reply.json(content_type=None))["webSocketDebuggerUrl"]
            async with session.ws_connect(address, max_msg_size=2**26) as ws:
                page = Page(ws)
                await page.call("Network.enable")
                await page.call("Page.enable")
                yield page
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stderr.close()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
@awaited
async def test_a_browser_shows_the_first_screen_and_hears_a_key_and_a_wrong_token_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.run("daemon", "start")
    server = subprocess.Popen(
        [THALWEG, "--web", "--workspace", str(place.workspace)],
        env=place.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert server.stdout is not None
    try:
        address = ""
        while not address:
            line = await asyncio.to_thread(server.stdout.readline)
            assert line, "the server has ended"
            address = line.partition("open ")[2].strip() if "http" in line else ""
        async with chromium(tmp_path / "profile") as page:
            await page.call("Page.navigate", url=address.partition("=")[0] + "=wrong")
            async with asyncio.timeout(PATIENCE_S):
                while "403" not in await page.text():
                    await asyncio.sleep(0.05)
            assert not page.seen
            await page.call("Page.navigate", url=address)
            await page.until(b"demo")  # the welcome of an empty workspace
            page.seen = b""
            for kind in ("keyDown", "keyUp"):
                key = {"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27}
                await page.call("Input.dispatchKeyEvent", type=kind, **key)
            await page.until(b"Runs")  # the main screen, which the welcome had covered
            if picture := os.environ.get("THALWEG_TEST_PICTURE"):
                shot = await page.call("Page.captureScreenshot")
                Path(picture).write_bytes(base64.b64decode(shot["data"]))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(PATIENCE_S)
        server.stdout.close()
        place.run("daemon", "stop", code=None)
