"""What dynamic batching brings: 32 clients that each ask for one text at a time, one after the other.

    python benchmarks/serve_batching.py [--model FOLDER] [--seconds 5] [--write]

`jina-clip serve` runs in a process of its own, once as it is and once with `--max-batch 1 --max-running 1`, which
answers request by request. The model is simulated: a call costs 20 ms and 0.2 ms per text, about what an accelerator
does with short texts, so that the figures are the server's own and not this processor's. With `--model` a checkpoint is
measured as well, on whatever device there is.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from reporting import Option, heading, run, table

from jina_clip_integrations.backends.base import Batch, BatchResult
from jina_clip_integrations.catalog import JINA_CLIP_V2

CALL_S = 0.020
INPUT_S = 0.0002
CLIENTS = 32
ONE_BY_ONE = ("--max-batch", "1", "--max-running", "1")
COLUMNS = ("model", ">clients", "server", ">requests/s", ">median", ">95 %", ">inputs per call")


class SimulatedModel:
    """A model with a fixed cost per call and a small one per input; one call at a time, as a device has it."""

    model = JINA_CLIP_V2.name
    dimensions = JINA_CLIP_V2.embed_dim
    spec = JINA_CLIP_V2
    batch_size = 1024

    def __init__(self) -> None:
        self._device = asyncio.Lock()
        self._rows = np.random.default_rng(0).standard_normal((self.batch_size, self.dimensions)).astype(np.float32)

    async def aembed(self, batch: Batch) -> BatchResult:
        async with self._device:
            await asyncio.sleep(CALL_S + INPUT_S * len(batch))
        return BatchResult(self._rows[: len(batch)])


@dataclass(frozen=True)
class Figures:
    """What the clients saw."""

    requests_per_s: float
    median_ms: float
    p95_ms: float
    inputs_per_call: float

    def shown(self) -> tuple[str, ...]:
        """As the report shows them."""
        latencies = (f"{self.median_ms:.0f} ms", f"{self.p95_ms:.0f} ms")
        return f"{self.requests_per_s:.0f}", *latencies, f"{self.inputs_per_call:.1f}"


@contextmanager
def server(*options: str) -> Iterator[str]:
    """`jina-clip serve` in a process; yields its address."""
    port = _free_port()
    command = [sys.executable, "-m", "jina_clip_integrations.cli", "serve", "--port", str(port), "--quiet", *options]
    here = str(Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(command, env=environment)
    try:
        _wait_until_ready(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("the server did not start")


def measure(address: str, *, model: str, clients: int, seconds: float) -> Figures:
    """Let `clients` ask for one text at a time for some seconds."""
    latencies: list[float] = []
    stop_at = time.perf_counter() + seconds
    before = _calls(address)
    threads = [
        threading.Thread(target=_ask, args=(address, model, number, stop_at, latencies)) for number in range(clients)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - began
    calls, inputs = (now - then for now, then in zip(_calls(address), before, strict=True))
    latencies.sort()
    return Figures(
        requests_per_s=len(latencies) / took_s,
        median_ms=1000 * statistics.median(latencies),
        p95_ms=1000 * latencies[int(0.95 * (len(latencies) - 1))],
        inputs_per_call=inputs / calls if calls else 0.0,
    )


def _ask(address: str, model: str, number: int, stop_at: float, latencies: list[float]) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)
    asked = 0
    while (began := time.perf_counter()) < stop_at:
        asked += 1
        text = {"text": f"client {number} asks for the {asked}th time about a lighthouse by the sea"}
        body = json.dumps({"model": model, "input": [text], "embedding_type": "base64"})
        connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise SystemExit(f"{response.status}: {response.read()[:200]!r}")
        response.read()
        latencies.append(time.perf_counter() - began)
    connection.close()


def _calls(address: str) -> tuple[float, float]:
    """Calls of the backend so far, and inputs in them, as the server's metrics say."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    found = {
        kind: float(value)
        for kind, value in re.findall(
            r'^jina_clip_batch_inputs_(count|sum){modality="text"} (\S+)$', text, re.MULTILINE
        )
    }
    return found.get("count", 0.0), found.get("sum", 0.0)


def report(model: str | None, seconds: float) -> str:
    """The table, with the machine on top, and what batching brings."""
    cases: list[tuple[str, str, tuple[str, ...]]] = [
        ("simulated", JINA_CLIP_V2.name, ("--backend", "serve_batching:SimulatedModel"))
    ]
    if model:
        cases.append((Path(model).name, Path(model).name, ("--model", model)))
    rows: list[tuple[object, ...]] = []
    ratios: list[str] = []
    for shown, name, options in cases:
        rates: dict[str, float] = {}
        for kind, extra in (("request by request", ONE_BY_ONE), ("batching", ())):
            with server(*options, *extra) as address:
                for clients in (1, CLIENTS):
                    measure(address, model=name, clients=clients, seconds=min(1.0, seconds))  # to warm up
                    figures = measure(address, model=name, clients=clients, seconds=seconds)
                    rates[kind] = figures.requests_per_s
                    rows.append((shown, clients, kind, *figures.shown()))
        ratio = rates["batching"] / rates["request by request"]
        ratios.append(f"{shown}: {CLIENTS} clients are served {ratio:.1f} times as fast with batching as without.")
    notes = (
        f"One text per request, base64 answers, {seconds:g} s each. The simulated model takes {1000 * CALL_S:g} ms\n"
        f"per call and {1000 * INPUT_S:g} ms per text. Clients and server share this machine's processors.\n"
    )
    title = heading("Dynamic batching of the server", __file__)
    return "\n".join([title, notes, table(COLUMNS, rows), *ratios])


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        model=Option(None, "measure this checkpoint folder too"),
        seconds=Option(5.0, "length of each measurement"),
    )
