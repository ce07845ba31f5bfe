"""A headless Chromium and an app on loopback for it to look at.

The suite's block of the network does not reach another process, so Chromium gets one of its own: no name resolves but
those of this machine, and every page notes what it asked for.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jina_clip_integrations.app import AppSettings, create_app
from jina_clip_integrations.cli.app import make_app_server
from jina_clip_integrations.cli.serve import open_socket
from jina_clip_integrations.collections.folder import FolderCollection
from tests.serving import wait_until

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SWITCHES = [
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


def find_chromium() -> str:
    """The browser of this machine. Without one the test is skipped; on CI, where it has to be there, it fails."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        told = f"no browser: none of {', '.join(NAMES)} is installed (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    return found


@contextmanager
def open_browser() -> Iterator[Any]:
    """A headless Chromium; its driver talks to it through pipes."""
    path = find_chromium()
    from playwright.sync_api import sync_playwright

    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        switches = [*SWITCHES, "--no-sandbox"] if root else SWITCHES  # Chromium refuses its sandbox to root
        browser = playwright.chromium.launch(executable_path=path, args=switches)
        yield browser
        browser.close()


class Served:
    """An app on a port of loopback, in a thread of the test."""

    def __init__(self, collection: FolderCollection, **settings: Any) -> None:
        self.collection = collection
        self.settings = AppSettings(**{"index": False, **settings})
        self.port = 0

    def start(self) -> None:
        """Start, on the port it had before if there was one."""
        listening = open_socket("127.0.0.1", self.port)
        self.port = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.app = create_app(self.collection, self.settings)
        self.server = make_app_server(self.app)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]}, daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started, timeout_s=30)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()


class Watched:
    """A page, and whatever it said or asked for that it should not have."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))
        page.on("console", self._note)
        page.on("request", lambda request: self._check(request.url))

    def _note(self, message: Any) -> None:
        # A failed request is a line there too; those that are meant are looked at by the tests themselves.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def _check(self, url: str) -> None:
        if not url.startswith((f"{self.url}/", "blob:", "data:")):
            self.foreign.append(url)

    def go(self, address: str = "/") -> Any:
        """Open an address and wait until something is shown."""
        self.page.goto(self.url + address)
        self.page.wait_for_selector(".tile, .panel, .duplicates")
        return self.page

    def names(self) -> list[str]:
        """File names of the tiles on the screen, in their order."""
        return [str(name) for name in self.page.locator(".tile-name").all_inner_texts()]
