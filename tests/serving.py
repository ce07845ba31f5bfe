"""A real server on loopback, in a thread of the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from jina_clip_integrations.cli.serve import make_server, open_socket


class Serving:
    """A real server on a loopback port, in a thread."""

    def __init__(self, app: Any) -> None:
        self.service = app.state.service
        self._socket = open_socket("127.0.0.1", 0)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = make_server(app)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def start(self) -> None:
        self.thread.start()
        wait_until(lambda: self.server.started and self.service.state == "ready", timeout_s=60)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
