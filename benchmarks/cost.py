"""What a photo costs at the hosted service, sent as it is and as the API backend sends it. Nothing leaves this machine.

    python benchmarks/cost.py [--width 4000] [--height 3000] [--write]

The image goes through `ApiBackend` into a stand-in for the service, which measures what arrives. Tiles and prices are
the documented ones: a tile is the square that the model sees, partial tiles count whole.
"""

from __future__ import annotations

import base64
import io
import json

import httpx
import numpy as np
from PIL import Image
from reporting import Option, run, table

from jina_clip_integrations import ApiBackend, JinaClipEncoder, estimate_tokens
from jina_clip_integrations.catalog import JINA_CLIP_V1, JINA_CLIP_V2, ModelSpec
from jina_clip_integrations.tokens import PRICE_USD_PER_MILLION, image_tokens

KEY = "jina_" + "k" * 60
PRICE_SINCE = "6 May 2025"
MODELS = (JINA_CLIP_V1, JINA_CLIP_V2)


def photo(width: int, height: int) -> bytes:
    """A JPEG with about the detail of a photo: blurred noise of several sizes over a gradient."""
    chance = np.random.default_rng(5)
    layers = [np.linspace(60, 180, height)[:, None, None] + np.zeros((height, width, 3))]
    for cell in (8, 32, 128, 512):
        small = chance.integers(0, 256, (height // cell + 1, width // cell + 1, 3), np.uint8)
        layer = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        layers.append((np.asarray(layer, np.float32) - 128) / 3)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(sum(layers), 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class Service:
    """Takes images in as the hosted service would, and keeps what arrived."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.arrived: list[bytes] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        """One row for every image, and its tiles as usage."""
        self.arrived += [base64.b64decode(item["image"]) for item in json.loads(request.content)["input"]]
        tokens = sum(image_tokens(size_of(data), self.spec) for data in self.arrived)
        rows = [{"index": at, "embedding": [1.0] * self.spec.embed_dim} for at in range(len(self.arrived))]
        return httpx.Response(200, json={"data": rows, "usage": {"total_tokens": tokens}})


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height of an encoded image."""
    with Image.open(io.BytesIO(data)) as image:
        return image.size


def sent(spec: ModelSpec, data: bytes, *, resize_images: bool) -> tuple[bytes, int]:
    """What the backend sends for an image, and what the service counts for it."""
    service = Service(spec)
    with httpx.Client(transport=httpx.MockTransport(service.answer)) as client:
        backend = ApiBackend(spec.name, api_key=KEY, http_client=client, resize_images=resize_images)
        with JinaClipEncoder(backend=backend) as encoder:
            encoder.encode_image(data)
            return service.arrived[0], encoder.usage.total_tokens


def bill(spec: ModelSpec, data: bytes, *, resize_images: bool) -> str:
    """One cell of the table. What was estimated beforehand and what the service counts have to agree."""
    file, counted = sent(spec, data, resize_images=resize_images)
    estimate = estimate_tokens({"image": data}, model=spec.name, resize_images=resize_images)
    if estimate.total_tokens != counted:
        raise AssertionError(f"estimated {estimate.total_tokens}, counted {counted}")
    tiles = counted // spec.tokens_per_tile
    price = f"${estimate.price_usd:.5f}".rstrip("0")
    pixels = " × ".join(map(str, size_of(file)))
    return f"{pixels}: {tiles} tile{'s' * (tiles != 1)}, {counted:,} tokens, {price}"


def report(width: int, height: int) -> str:
    """The table."""
    data = photo(width, height)
    columns = ("model", "sent as it is", "sent as one tile (default)")
    rows = [(s.name, *(bill(s, data, resize_images=resize) for resize in (False, True))) for s in MODELS]
    tiles = (f"{s.tokens_per_tile:,} tokens for a tile of {s.image_size} pixels with {s.name}" for s in MODELS)
    return (
        f"# What a photo of {width} × {height} pixels costs\n\n"
        f"`python benchmarks/cost.py`, at the documented ${PRICE_USD_PER_MILLION:g} per million tokens (since "
        f"{PRICE_SINCE}).\n{'; '.join(tiles)}.\n\n{table(columns, rows)}"
    )


if __name__ == "__main__":
    run(report, doc=__doc__, width=Option(4000, "pixels"), height=Option(3000, "pixels"))
