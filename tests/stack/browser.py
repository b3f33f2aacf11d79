"""A real browser, headless, driven through the W3C WebDriver protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.stack.part import end_session
from tests.stack.client import until
from tests.stack.running import with_the_tests

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which the protocol names an element."""
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--window-size=1400,1300",
         "--remote-debugging-pipe")  # fmt: skip
"""With a pipe, the browser ends when its driver does, however that ends."""


NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def programs() -> tuple[str, str] | None:
    """The browser and its driver, where the system has both."""
    chrome = next(filter(None, map(shutil.which, NAMES)), None)
    driver = shutil.which("chromedriver")
    return (chrome, driver) if chrome and driver else None


class Browser:
    """One window."""

    def __init__(self, session: str, pictures: Path) -> None:
        self._session = session
        self._pictures = pictures

    def open(self, address: str) -> None:
        _call(f"{self._session}/url", {"url": address})

    @property
    def text(self) -> str:
        """What a person reads."""
        script = {"script": "return document.body.innerText", "args": []}
        return str(_call(f"{self._session}/execute/sync", script))

    def find(self, css: str, seconds: float = 30) -> str:
        """The first element that the selector finds, waited for."""

        def look() -> str | None:
            found = _call(f"{self._session}/elements", {"using": "css selector", "value": css})
            return found[0][ELEMENT] if found else None

        return until(look, seconds, f"{css} is on the page")

    def press(self, name: str, which: int = 0) -> None:
        """Click a button of that text or label: the first, or the last, with -1."""
        script = (
            "const found = [...document.querySelectorAll('button')].filter(b =>"
            " [b.innerText.trim(), b.ariaLabel, b.title].includes(arguments[0])).at(arguments[1]);"
            " found?.click(); return Boolean(found)"
        )
        body = {"script": script, "args": [name, which]}
        until(lambda: _call(f"{self._session}/execute/sync", body), 30, f"a button {name!r}")

    def click(self, css: str) -> None:
        element = {ELEMENT: self.find(css)}
        script = {"script": "arguments[0].click()", "args": [element]}
        _call(f"{self._session}/execute/sync", script)

    def type(self, css: str, text: str) -> None:
        _call(f"{self._session}/element/{self.find(css)}/value", {"text": text})

    def wait_for(self, text: str, seconds: float = 60) -> None:
        try:
            until(lambda: text in self.text, seconds, f"the page says {text!r}")
        except AssertionError:
            self.picture("failed")
            raise

    def picture(self, name: str) -> Path:
        """Of the page when nothing moves on it any more, or after ten seconds."""
        seen, deadline = [b"", self._screen()], time.monotonic() + 10
        while seen[-1] != seen[-2] and time.monotonic() < deadline:
            time.sleep(0.5)
            seen.append(self._screen())
        path = self._pictures / f"{name}.png"
        path.write_bytes(seen[-1])
        return path

    def _screen(self) -> bytes:
        return base64.b64decode(_call(f"{self._session}/screenshot", None, "GET"))


@contextmanager
def browser(pictures: Path) -> Iterator[Browser]:
    """A window that closes at the end; its pictures are kept in the folder."""
    found = programs()
    assert found, "no browser"
    chrome, driver = found
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    profile = tempfile.mkdtemp(prefix="browser-")
    options = {"binary": chrome, "args": [*FLAGS, f"--user-data-dir={profile}"]}
    wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
    with subprocess.Popen(
        [driver, f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": profile, "HOME": profile},
        start_new_session=True,
        preexec_fn=with_the_tests(signal.SIGKILL),
    ) as process:
        try:
            session = until(lambda: _call(f"{address}/session", wanted), 60, "the browser starts")
            try:
                yield Browser(f"{address}/session/{session['sessionId']}", pictures)
            finally:  # the driver's end alone would leave the browser
                _call(f"{address}/session/{session['sessionId']}", None, "DELETE")
        finally:
            end_session(process.pid)
            shutil.rmtree(profile, ignore_errors=True)


def _call(address: str, body: Any, method: str = "POST") -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        address, data, {"Content-Type": "application/json"}, method=method
    )
    try:
        with _direct.open(request, timeout=90) as answer:
            return json.loads(answer.read())["value"]
    except urllib.error.HTTPError as error:
        raise OSError(error.read()[:500].decode(errors="replace")) from error
