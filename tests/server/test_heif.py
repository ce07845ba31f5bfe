"""HEIC, raw files and documents as images of a request: read where they can be, named where they cannot."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.images.decode import load_formats
from tests.images.test_tiff import DNG
from tests.server.bodies import ask, b64, rows_of


async def test_heic_is_read(client_of, backend) -> None:
    load_formats()
    buffer = io.BytesIO()
    PIL.Image.linear_gradient("L").convert("RGB").save(buffer, "HEIF")
    async with client_of(backend) as client:
        response = await client.post("/v1/embeddings", json=ask([{"image": b64(buffer.getvalue())}]))
    assert response.status_code == 200, response.text
    expected = JinaClipEncoder(backend=backend).encode_image(buffer.getvalue())
    np.testing.assert_allclose(rows_of(response.json())[0], expected, atol=1e-5)


@pytest.mark.parametrize(("data", "said"), [(DNG, "develop it"), (b"%PDF-1.7", "render its pages")], ids=["DNG", "PDF"])
async def test_what_is_not_read_says_what_to_do(client_of, backend, data: bytes, said: str) -> None:
    async with client_of(backend) as client:
        response = await client.post("/v1/embeddings", json=ask([{"image": b64(data)}]))
    assert response.status_code == 400
    assert response.json()["detail"]["code"] == "INPUT_INVALID_IMAGE"
    assert said in response.text
