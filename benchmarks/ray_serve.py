"""What replicas bring, and whose batching is better behind Ray Serve: ours, or Serve's own.

    python benchmarks/ray_serve.py [--seconds 5] [--write]

Clients that each ask for one text at a time, one after the other, go through one proxy of Ray Serve to the application
of `jina-clip serve --ray`. The cost of the model is sleep, so that replicas do not compete for processors.

Replicas: a model that answers one text at a time in 50 ms, behind 1, 2 and 4 replicas. Batching: one replica of a model
whose call costs 20 ms and 0.2 ms per text, one call at a time; first request by request, then with `@serve.batch` of
Ray Serve around the model, then with the server's own batcher. Both batch up to 64 texts, wait 5 ms for them, and have
two batches at a time under way.
"""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ray import serve
from reporting import Option, heading, run, table
from serve_batching import CALL_S, CLIENTS, INPUT_S, Figures, SimulatedModel, measure

from jina_clip_integrations.backends.base import Batch, BatchResult
from jina_clip_integrations.cli.serve_on_ray import free_port
from jina_clip_integrations.ray.cluster import attached
from jina_clip_integrations.ray.serving import Place, ServeArguments, serving
from jina_clip_integrations.server import ServerSettings

HOST = "127.0.0.1"
REQUEST_S = 0.050
REPLICAS = (1, 2, 4)
SHARE = 0.2
"""Of a processor, per replica: one that sleeps needs no more, and four have to fit."""

COLUMNS = (">replicas", "batching", ">requests/s", ">median", ">95 %")
DEFAULTS = ServerSettings()
UNBATCHED = {"max_batch": 1, "max_running": 1}
PASSED_ON = {"max_batch": 1, "max_running": 1024, "batch_wait_s": 0.0}
"""Every text is handed to the model as soon as it is there."""


class OneByOne(SimulatedModel):
    """A model that takes the same time for every text."""

    async def aembed(self, batch: Batch) -> BatchResult:
        """Rows, one after the other."""
        async with self._device:
            await asyncio.sleep(REQUEST_S * len(batch))
        return BatchResult(self._rows[: len(batch)])


class BatchedByServe(SimulatedModel):
    """The simulated model behind Ray Serve's own batching."""

    async def aembed(self, batch: Batch) -> BatchResult:
        """Rows of a batch of one text."""
        return BatchResult(await self._embed_text(batch.texts[0]))

    @serve.batch(
        max_batch_size=DEFAULTS.max_batch,
        batch_wait_timeout_s=DEFAULTS.batch_wait_s,
        max_concurrent_batches=DEFAULTS.max_running,
    )
    async def _embed_text(self, texts: list[str]) -> list[np.ndarray]:
        result = await super().aembed(Batch(modality="text", texts=texts))
        return [result.vectors[n : n + 1] for n in range(len(texts))]


CASES = (
    *((replicas, "none", "OneByOne", UNBATCHED) for replicas in REPLICAS),
    (1, "none", "SimulatedModel", UNBATCHED),
    (1, "Serve's", "BatchedByServe", PASSED_ON),
    (1, "ours", "SimulatedModel", {}),
)


def measure_case(replicas: int, model: str, settings: dict[str, float], *, seconds: float) -> Figures:
    """What the clients see of a deployment."""
    arguments = ServeArguments(backend=f"ray_serve:{model}", replicas=replicas, num_cpus=SHARE, server=settings)
    place = Place(host=HOST, port=free_port(HOST))
    with serving(arguments, place):
        address = f"http://{HOST}:{place.port}"
        measure(address, model=SimulatedModel.model, clients=CLIENTS, seconds=1.0)  # to warm up
        return measure(address, model=SimulatedModel.model, clients=CLIENTS, seconds=seconds)


def report(seconds: float) -> str:
    """Rates with replicas and with either batching."""
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])  # replicas find the models
    title = heading("Replicas behind Ray Serve", __file__)
    with attached():
        measured = [measure_case(case[0], *case[2:], seconds=seconds) for case in CASES]
    shown = [(case[0], case[1], *one.shown()[:3]) for case, one in zip(CASES, measured, strict=True)]
    rates = [one.requests_per_s for one in measured]
    count = len(REPLICAS)
    return "\n".join(
        [
            title,
            f"Ray {version('ray')}, one proxy, {CLIENTS} clients, one text per request, {seconds:g} s each. Clients,\n"
            "proxy and replicas share this machine's processors.\n",
            f"A model that takes {1000 * REQUEST_S:g} ms for every text, one after the other:\n",
            table(COLUMNS, shown[:count]),
            f"A model that takes {1000 * CALL_S:g} ms per call and {1000 * INPUT_S:g} ms per text:\n",
            table(COLUMNS, shown[count:]),
            f"{REPLICAS[-1]} replicas answer {rates[count - 1] / rates[0]:.1f} times as many requests as one. "
            f"Our batching answers {rates[-1] / rates[-2]:.2f} times as many as Serve's.",
        ]
    )


if __name__ == "__main__":
    run(report, doc=__doc__, seconds=Option(5.0, "length of each measurement"))
