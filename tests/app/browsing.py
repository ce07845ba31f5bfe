"""An app on loopback for a browser to look at, and its pages."""

from __future__ import annotations

import threading
from typing import Any

from jina_clip_integrations.app import AppSettings, create_app
from jina_clip_integrations.cli.serve import open_socket
from jina_clip_integrations.cli.served_folder import make_http_server
from jina_clip_integrations.collections.folder import FolderCollection
from tests.browsing import Watched
from tests.serving import wait_until


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
        self.server = make_http_server(self.app)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]}, daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started, timeout_s=30)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()


class AppPage(Watched):
    """A page of the app."""

    def go(self, address: str = "/") -> Any:
        """Open an address and wait until something is shown."""
        self.page.goto(self.url + address)
        self.page.wait_for_selector(".tile, .panel, .duplicates")
        return self.page

    def names(self) -> list[str]:
        """File names of the tiles on the screen, in their order."""
        return [str(name) for name in self.page.locator(".tile-name").all_inner_texts()]
