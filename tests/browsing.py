"""A headless Chromium for pages on loopback.

The suite's block of the network does not reach another process, so Chromium gets one of its own: no name resolves but
those of this machine, and every page notes what it asked for.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

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
        missing(f"no browser: none of {', '.join(NAMES)} is installed (Debian: apt-get install chromium)")
    return found


def missing(told: str) -> NoReturn:
    """Skip the test for what a machine may lack; on CI, where it has to be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(told)
    pytest.skip(told)


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
