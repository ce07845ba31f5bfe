"""What `ApiBackend` sends, and what it makes of good answers, both faces alike."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations import ApiBackend, errors
from jina_clip_integrations.images.geometry import resize_and_crop
from tests.backends.remote.faces import (
    FACES,
    embed,
    images,
    numbered,
    photo,
    png_of,
    positions,
    stream,
    texts,
)
from tests.faulty_server import (
    KEY,
    FaultyServer,
    vector_of,
    vectors_of,
)

pytestmark = pytest.mark.parametrize("face", FACES)


# What is sent


@pytest.mark.obligation("1", "31", "37")
def test_the_request_of_a_text(face: str, server: FaultyServer, make: Any) -> None:
    result = embed(face, make(), texts("hello"))
    assert server.requests == [
        {"model": "jina-clip-v2", "embedding_type": "base64", "truncate": True, "input": [{"text": "hello"}]}
    ]
    np.testing.assert_array_equal(result.vectors, [vector_of("hello")])
    assert result.vectors.dtype == np.float32
    assert result.model == "jina-clip-v2"
    headers = server.received[0]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("jina-clip-integrations/")


@pytest.mark.obligation("3")
@pytest.mark.parametrize("modality", ["text", "image"])
def test_every_option_shows_in_every_request(face: str, server: FaultyServer, make: Any, modality: str) -> None:
    if modality == "text":
        batch = texts("a", "b", task="retrieval.query", dimensions=128, normalize=False)
    else:
        batch = images(photo(20, 20), photo(21, 20), dimensions=128, normalize=False)
    result = embed(face, make(batch_size=1, embedding_type="float"), batch)
    assert result.vectors.shape == (2, 128)
    for body in server.requests:
        assert body["dimensions"] == 128
        assert body["normalized"] is False
        assert body["embedding_type"] == "float"
        assert body.get("task") == ("retrieval.query" if modality == "text" else None)
    if modality == "text":
        wanted = vectors_of(["a", "b"], task="retrieval.query", dimensions=128) * 7
        np.testing.assert_allclose(result.vectors, wanted, rtol=1e-6)


@pytest.mark.obligation("3")
def test_v1_gets_no_field_that_it_does_not_declare(face: str, server: FaultyServer, make: Any) -> None:
    embed(face, make("jina-clip-v1"), texts("a", dimensions=768))
    assert set(server.requests[0]) == {"model", "input", "embedding_type", "truncate"}


@pytest.mark.parametrize("name", ["jinaai/jina-clip-v2", "jina-ai/jina-clip-v2", "jina-clip-v2"])
def test_names_of_the_model_at_the_hosted_service(face: str, name: str) -> None:
    assert ApiBackend(name, api_key=KEY).model == "jina-clip-v2"


@pytest.mark.obligation("1", "4", "20")
@pytest.mark.parametrize("text", ["", "  ", "https://example.org/x.png", "data:image/png;base64,A", "/etc/hosts", "狐"])
def test_text_is_always_text(face: str, server: FaultyServer, make: Any, text: str) -> None:
    result = embed(face, make(), texts(text))
    assert server.requests[0]["input"] == [{"text": text}]
    np.testing.assert_array_equal(result.vectors, [vector_of(text)])


@pytest.mark.obligation("7")
@pytest.mark.parametrize("kind", ["base64", "float"])
def test_ways_of_travelling_give_the_same_rows(face: str, make: Any, kind: str) -> None:
    result = embed(face, make(embedding_type=kind), numbered(9))
    np.testing.assert_array_equal(result.vectors, vectors_of(numbered(9).texts))


@pytest.mark.obligation("8")
@pytest.mark.parametrize("kind", ["binary", "ubinary"])
@pytest.mark.parametrize("dimensions", [None, 64, 100])
def test_packed_bits(face: str, make: Any, kind: str, dimensions: int | None) -> None:
    result = embed(face, make(embedding_type=kind), numbered(5, dimensions=dimensions))
    assert result.vectors.dtype == np.uint8
    bits = vectors_of(numbered(5).texts)[:, :dimensions] > 0
    np.testing.assert_array_equal(result.vectors, np.packbits(bits, axis=1))


def test_nothing_is_sent_for_nothing(face: str, server: FaultyServer, make: Any) -> None:
    assert embed(face, make(), texts()).vectors.shape == (0, 1024)
    assert embed(face, make(embedding_type="binary"), texts(dimensions=64)).vectors.shape == (0, 8)
    assert server.received == []


@pytest.mark.obligation("17", "23")
def test_many_batches_keep_their_order(face: str, server: FaultyServer, make: Any) -> None:
    batch = numbered(50)
    result = embed(face, make(batch_size=3), batch)
    np.testing.assert_array_equal(result.vectors, vectors_of(batch.texts))
    assert len(server.requests) == 17
    assert result.usage.requests == 17
    assert result.usage.items == 50
    assert result.usage.total_tokens == 250


@pytest.mark.obligation("17")
def test_requests_are_cut_by_bytes(face: str, server: FaultyServer, make: Any) -> None:
    batch = texts(*("x" * size for size in (300, 300, 300, 5000, 10, 10)))
    embed(face, make(batch_size=64, max_request_bytes=800), batch)
    assert sorted(len(body["input"]) for body in server.requests) == [1, 1, 2, 2]


@pytest.mark.obligation("17")
def test_requests_are_cut_by_tokens(face: str, server: FaultyServer, make: Any) -> None:
    embed(face, make(batch_size=64, max_request_tokens=9000), images(*(photo(9, 9, seed) for seed in range(5))))
    assert sorted(len(body["input"]) for body in server.requests) == [1, 2, 2]


# Images


@pytest.mark.obligation("25")
@pytest.mark.parametrize("size", [(400, 300), (300, 401), (224, 350)])
def test_an_image_costs_one_tile_in_the_models_own_geometry(
    face: str, server: FaultyServer, make: Any, size: tuple[int, int]
) -> None:
    image = photo(*size)
    embed(face, make("jina-clip-v1"), images(image))
    sent = png_of(server.requests[0]["input"][0])
    assert (sent.format, sent.size) == ("PNG", (224, 224))
    np.testing.assert_array_equal(np.asarray(sent), resize_and_crop(image.image, 224))


@pytest.mark.obligation("25")
@pytest.mark.parametrize("mode", [True, "crop", "squash", "pad", False])
@pytest.mark.parametrize("size", [(40, 30), (224, 224), (224, 20)])
def test_an_image_is_never_enlarged(
    face: str, server: FaultyServer, make: Any, size: tuple[int, int], mode: Any
) -> None:
    embed(face, make("jina-clip-v1", resize_images=mode), images(photo(*size)))
    sent = png_of(server.requests[0]["input"][0])
    assert max(sent.size) <= max(size)


@pytest.mark.obligation("25")
def test_a_small_image_travels_pixel_for_pixel(face: str, server: FaultyServer, make: Any) -> None:
    image = photo(40, 30)
    embed(face, make(), images(image))
    np.testing.assert_array_equal(np.asarray(png_of(server.requests[0]["input"][0])), np.asarray(image.image))


@pytest.mark.obligation("25")
@pytest.mark.parametrize(("mode", "geometry"), [("crop", "shortest"), ("squash", "squash"), ("pad", "longest")])
def test_other_recipes(face: str, server: FaultyServer, make: Any, mode: str, geometry: str) -> None:
    image = photo(300, 260)
    embed(face, make("jina-clip-v1", resize_images=mode), images(image))
    sent = np.asarray(png_of(server.requests[0]["input"][0]))
    np.testing.assert_array_equal(sent, resize_and_crop(image.image, 224, mode=geometry))


@pytest.mark.obligation("2")
def test_as_it_is(face: str, server: FaultyServer, make: Any) -> None:
    backend = make(resize_images=False)
    image, linked = photo(30, 20), photo(30, 20, url="https://example.org/a.jpg?token=1")
    result = embed(face, backend, images(image, linked))
    first, second = server.requests[0]["input"]
    assert base64.b64decode(first["image"]) == image.read()
    assert second == {"image": "https://example.org/a.jpg?token=1"}
    assert backend.sends_urls
    np.testing.assert_array_equal(result.vectors[1], vector_of(second["image"].encode()))


def test_a_url_is_fetched_here_when_it_is_to_be_resized(face: str, server: FaultyServer, make: Any) -> None:
    backend = make()
    embed(face, backend, images(photo(30, 20, url="https://example.org/a.jpg")))
    assert png_of(server.requests[0]["input"][0]).size == (30, 20)
    assert not backend.sends_urls


@pytest.mark.obligation("4")
def test_too_large_an_image_is_refused_here(face: str, server: FaultyServer, make: Any) -> None:
    backend = make(resize_images=False, max_image_bytes=4000)
    _, error = stream(face, backend, images(photo(5, 5), photo(200, 200)))
    assert isinstance(error, errors.ImageError)
    assert error.index == 1
    assert "max_image_bytes" in str(error)
    assert server.received == []


@pytest.mark.obligation("30")
@pytest.mark.parametrize("isolate", [False, True])
def test_a_broken_image(face: str, server: FaultyServer, make: Any, isolate: bool) -> None:
    photos = [photo(9, 9, seed) for seed in range(6)]
    photos[4] = photo(9, 9, data=b"broken")
    results, error = stream(face, make(batch_size=2), images(*photos, isolate_errors=isolate))
    if isolate:
        assert error is None
        found = {place: each for result in results for place, each in result.errors.items()}
        assert list(found) == [4]
        assert found[4].index == 4
        assert sorted(positions(results)) == [0, 1, 2, 3, 5]
    else:
        assert isinstance(error, errors.ImageError)
        assert error.index == 4


@pytest.mark.obligation("4")
def test_empty_bytes_are_refused_here(face: str, server: FaultyServer, make: Any) -> None:
    _, error = stream(face, make(resize_images=False), images(photo(9, 9, data=b"")))
    assert isinstance(error, errors.ImageError)
    assert server.received == []
