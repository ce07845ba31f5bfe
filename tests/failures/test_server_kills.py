"""A server killed under load: its clients get an error that says so, or their answer from the one that follows it."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import numpy as np

from jina_clip_integrations import ApiConnectionError, JinaClipEncoder, RetryPolicy
from tests.failures.victims import BACKEND, run_command, start
from tests.fakes import text_vector, unit

KILLS = 10
CLIENTS = 4


class Client(threading.Thread):
    """Embeds text after text, each in a call of its own, until it is told to stop."""

    def __init__(self, number: int, port: int, *, patient: bool) -> None:
        super().__init__(daemon=True)
        self.number, self.stop, self.answered = number, threading.Event(), 0
        self.errors: Counter[str] = Counter()
        self.wrong: list[Any] = []
        self.encoder = JinaClipEncoder(
            "fake",
            backend="api",
            base_url=f"http://127.0.0.1:{port}/v1",
            max_retries=1000 if patient else 0,
            retry=RetryPolicy(first_wait_s=0.02, longest_wait_s=0.1),
            dimensions=8,
            timeout=20,
        )

    def run(self) -> None:
        with self.encoder:
            while not self.stop.is_set():
                self.ask([f"{self.number} {self.answered} {n}" for n in range(5)])

    def ask(self, texts: list[str]) -> None:
        try:
            rows = self.encoder.encode_text(texts)
        except ApiConnectionError as error:
            self.errors[type(error).__name__] += 1
            time.sleep(0.01)
        except BaseException as error:
            self.wrong.append(repr(error))
        else:
            expected = unit(np.stack([text_vector(text) for text in texts]))
            if not np.allclose(rows, expected, atol=1e-6):
                self.wrong.append(texts)
            self.answered += 1


def free_port(rng: random.Random) -> int:
    """A port that no client is given by the system: one that calls its own port while nobody listens gets itself."""
    while True:
        port = rng.randrange(20_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_for_answers(clients: list[Client]) -> None:
    """Until every client has been answered once more, by the server that runs now."""
    before = [client.answered for client in clients]
    deadline = time.monotonic() + 60
    while any(client.answered <= answered for client, answered in zip(clients, before, strict=True)):
        assert time.monotonic() < deadline, "a client is never answered"
        assert all(client.is_alive() and not client.wrong for client in clients), [c.wrong for c in clients]
        time.sleep(0.002)


def test_clients_of_a_server_that_is_killed(effort: int) -> None:
    rng = random.Random(0)
    port = free_port(random.Random())
    serve = ("serve", *BACKEND, "--quiet", "--port", str(port), "--served-model-name", "fake")
    patient = [Client(n, port, patient=True) for n in range(CLIENTS // 2)]
    hasty = [Client(n, port, patient=False) for n in range(CLIENTS // 2, CLIENTS)]
    clients = [*patient, *hasty]
    for client in clients:
        client.start()
    for _ in range(KILLS * effort):
        with start(run_command, *serve) as server:
            wait_for_answers(clients)
            assert server.kill_after(rng.uniform(0, 0.05))
    with start(run_command, *serve):
        wait_for_answers(clients)
        for client in clients:
            client.stop.set()
            client.join(30)
    assert not any(client.wrong for client in clients), [client.wrong for client in clients]
    # Who may try again never sees the kill; who may not sees one kind of error, and its next call succeeds.
    assert not any(client.errors for client in patient)
    assert all(client.errors.keys() == {"ApiConnectionError"} for client in hasty)
