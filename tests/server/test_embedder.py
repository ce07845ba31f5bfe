"""The encoder behind a server: which of its settings count."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.vectors import truncate_and_normalize
from tests.server.bodies import ask, b64, rows_of


async def test_an_encoders_cache_is_used(client_of, backend, png, tmp_path: Path) -> None:
    encoder = JinaClipEncoder(backend=backend, cache=tmp_path / "cache", dimensions=256)
    items = ["a", {"image": b64(png())}, "b"]
    async with client_of(encoder) as client:
        first = (await client.post("/v1/embeddings", json=ask(items))).json()
        calls = len(backend.calls)
        second = (await client.post("/v1/embeddings", json=ask(items) | {"dimensions": 64})).json()
    assert len(backend.calls) == calls
    raw = [backend.text_row("a"), backend.image_row(PIL.Image.open(io.BytesIO(png()))), backend.text_row("b")]
    np.testing.assert_array_equal(
        rows_of(first), truncate_and_normalize(np.stack(raw), dimensions=None, normalized=True)
    )
    np.testing.assert_array_equal(
        rows_of(second), truncate_and_normalize(np.stack(raw), dimensions=64, normalized=True)
    )


class TestOrientation:
    @pytest.mark.parametrize("upright", [True, False])
    async def test_the_encoders_setting_decides(self, client_of, backend, png, upright) -> None:
        image = PIL.Image.open(io.BytesIO(png(30, 20)))
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", exif=exif)
        turned = image.transpose(PIL.Image.Transpose.ROTATE_270) if upright else image
        encoder = JinaClipEncoder(backend=backend, exif_orientation=upright, dimensions=64)
        async with client_of(encoder) as client:
            answer = (await client.post("/v1/embeddings", json=ask([{"image": b64(buffer.getvalue())}]))).json()
        np.testing.assert_array_equal(
            rows_of(answer), truncate_and_normalize(backend.image_row(turned)[None], dimensions=None, normalized=True)
        )
