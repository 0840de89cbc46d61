"""A real browser for tests: Chromium, told what to do over the WebDriver protocol (W3C) by the standard library."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
MISSING = "no browser: apt-get install chromium chromium-driver" if not (CHROMIUM and DRIVER) else ""


class Browser:
    """One window."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, page: Path) -> None:
        _post(f"{self._session}/url", {"url": page.as_uri()})

    def run(self, script: str) -> Any:
        """What a script returns, run as the body of a function in the page."""
        return _post(f"{self._session}/execute/sync", {"script": script, "args": []})

    def click(self, selector: str) -> None:
        found = _post(f"{self._session}/element", {"using": "css selector", "value": selector})
        _post(f"{self._session}/element/{next(iter(found.values()))}/click", {})

    def choose(self, select: str, value: str) -> None:
        self.click(f"select[name={select}] option[value='{value}']")

    def shot(self, path: Path) -> None:
        with urllib.request.urlopen(f"{self._session}/screenshot") as answer:
            path.write_bytes(base64.b64decode(json.load(answer)["value"]))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Chromium without a window; its profile goes into the folder."""
    port = folder / "port"
    with port.open("w+") as log:
        driver = subprocess.Popen([str(DRIVER), "--port=0"], stdout=log, stderr=subprocess.STDOUT)
    try:
        root = f"http://127.0.0.1:{_port(port)}/session"
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,1800",
        ]
        options = {"binary": CHROMIUM, "args": [*arguments, f"--user-data-dir={folder / 'profile'}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = f"{root}/{_post(root, {'capabilities': {'alwaysMatch': wanted}})['sessionId']}"
        try:
            yield Browser(session)
        finally:
            urllib.request.urlopen(urllib.request.Request(session, method="DELETE")).close()
    finally:
        driver.terminate()
        driver.wait()


def _port(log: Path) -> int:
    for _ in range(200):
        _, found, rest = log.read_text().partition("started successfully on port ")
        if found and "." in rest:
            return int(rest.partition(".")[0])
        time.sleep(0.05)
    raise RuntimeError(f"the browser's driver did not start: {log.read_text()}")


def _post(address: str, content: dict[str, Any]) -> Any:
    request = urllib.request.Request(address, json.dumps(content).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{address}: {error.read().decode()[:500]}") from error
