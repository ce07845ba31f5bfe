"""The encoder in front of a service that misbehaves: whole calls, as people make them, in both faces."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image
import pytest

from jina_clip_integrations import JinaClipEncoder, errors
from tests.backends.remote.faces import FAST, png_of
from tests.faces import both_faces
from tests.faulty_server import KEY, FaultyServer, Refuse, flat, vector_of, vectors_of

pytestmark = both_faces

TEXTS = [f"text number {at}" for at in range(20)]


@pytest.fixture
def encoder(server: FaultyServer) -> Iterator[Any]:
    """Encoders of `server`, closed afterwards."""
    made: list[JinaClipEncoder] = []

    def make(model: str = "jina-clip-v2", **options: Any) -> JinaClipEncoder:
        defaults = {"api_key": KEY, "base_url": server.url, "retry": FAST, "batch_size": 4}
        made.append(JinaClipEncoder(model, **(defaults | options)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def noise(width: int, height: int, seed: int = 0) -> PIL.Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return PIL.Image.fromarray(pixels)


def file_of(image: PIL.Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind)
    return buffer.getvalue()


# Order and number


@pytest.mark.obligation("23")
def test_mixed_items_keep_their_order_through_faults(face: Any, server: FaultyServer, encoder: Any) -> None:
    items: list[dict[str, Any]] = [{"text": text} for text in TEXTS[:9]]
    items += [{"image": noise(8 + at, 9, at)} for at in range(6)] + items[:3]  # some of them twice
    items = [items[at] for at in np.random.default_rng(1).permutation(len(items))]
    server.faults.extend(["shuffled", Refuse(503), "reset", "gap", Refuse(429), None, "other encoding", "truncated"])
    asked = encoder()
    rows = face(asked).encode(items)
    expected = [vector_of(item.get("text") or file_as_sent(item["image"])) for item in items]
    np.testing.assert_array_equal(rows, expected)
    billed = [tuple(sorted(item.items())) for body in server.requests[-100:] for item in body["input"]]
    assert len(set(billed)) == 15


def file_as_sent(image: PIL.Image.Image) -> bytes:
    from jina_clip_integrations.backends.remote.prepare import as_png

    return as_png(image)


@pytest.mark.obligation("38")
def test_the_same_content_is_paid_for_once(face: Any, server: FaultyServer, encoder: Any) -> None:
    asked, image = encoder(), file_of(noise(9, 8))
    rows = face(asked).encode([{"text": "a"}, {"image": image}, {"text": "a"}, {"image": io.BytesIO(image)}])
    assert sum(len(body["input"]) for body in server.requests) == 2
    np.testing.assert_array_equal(rows[:2], rows[2:])
    assert (asked.usage.total_tokens, asked.usage.requests, asked.usage.items) == (4003, 2, 4)


@pytest.mark.obligation("23")
def test_nothing_is_asked_for_nothing(face: Any, server: FaultyServer, encoder: Any) -> None:
    asked = face(encoder(dimensions=64))
    for rows in (asked.encode_text([]), asked.encode_image([]), asked.encode([])):
        assert rows.shape == (0, 64)
    assert server.received == []


@pytest.mark.obligation("26")
def test_usage_runs_on(face: Any, server: FaultyServer, encoder: Any) -> None:
    asked = encoder()
    for done in (1, 2, 3):
        face(asked).encode_text([f"{text} {done}" for text in TEXTS])
        assert asked.usage.total_tokens == 6 * 20 * done == server.tokens_counted
        assert asked.usage.requests == 5 * done == len(server.requests)
        assert asked.usage.items == 20 * done


# Bad items


@pytest.mark.obligation("30")
@pytest.mark.parametrize("shape", ["nested", "flat", "legacy"])
def test_an_item_that_the_service_refuses_can_be_skipped(
    face: Any, server: FaultyServer, encoder: Any, shape: str
) -> None:
    server.poison = lambda item: item.get("text") in (TEXTS[3], TEXTS[17])
    server.errors = shape
    asked = encoder(batch_size=8)
    rows = face(asked).encode_text(TEXTS, on_error="skip")
    assert sorted(asked.last_errors) == [3, 17]
    assert {type(error) for error in asked.last_errors.values()} == {errors.InputError}
    assert np.isnan(rows[[3, 17]]).all()
    good = [at for at in range(20) if at not in (3, 17)]
    np.testing.assert_array_equal(rows[good], vectors_of(TEXTS)[good])
    assert asked.usage.items == 18


def test_an_item_that_the_service_names_is_named(face: Any, server: FaultyServer, encoder: Any) -> None:
    listed = [{"field": "body -> jina-clip-v2 -> input -> 1 -> image", "message": "no image", "input": "AAAA"}]
    server.faults.extend([None, Refuse(422, {"detail": "Validation error", "errors": listed})])
    images = [noise(9, 9, at) for at in range(4)]
    with pytest.raises(errors.ImageError) as caught:
        face(encoder(batch_size=2, max_concurrency=1)).encode_image(images)
    assert caught.value.index == 3
    assert str(caught.value) == "input 3: refused by 127.0.0.1: image: no image"
    np.testing.assert_array_equal(caught.value.partial[:2], vectors_of(map(file_as_sent, images[:2])))


@pytest.mark.obligation("4")
@pytest.mark.parametrize(
    ("item", "cls"),
    [
        ({}, errors.InputError),
        ({"text": None}, errors.InputError),
        ({"image": b""}, errors.ImageError),
        ({"image": b"no image"}, errors.ImageError),
        ({"image": "missing.png"}, errors.ImageError),
        ({"image": "data:image/png;base64,"}, errors.ImageError),
    ],
    ids=str,
)
def test_items_that_cannot_work_are_refused_here(
    face: Any, server: FaultyServer, encoder: Any, item: dict[str, Any], cls: type[Exception]
) -> None:
    for resize_images in (True, False):
        with pytest.raises(cls) as caught:
            face(encoder(resize_images=resize_images)).encode([item])
        assert caught.value.index == 0
    assert server.received == []


# The end of a job


@pytest.mark.obligation("15")
@pytest.mark.parametrize(
    ("error_response", "cls"),
    [
        (flat(403, "AUTHZ_INSUFFICIENT_BALANCE", "Insufficient account balance"), errors.InsufficientBalanceError),
        (Refuse(402, {"detail": "out of balance"}), errors.InsufficientBalanceError),
        (flat(401, "AUTH_INVALID_API_KEY", "Invalid API key"), errors.AuthenticationError),
        (flat(403, "AUTHZ_RESOURCE_LIMIT_EXCEEDED", "Resource limit exceeded for your plan"), errors.ApiError),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Refuse) else "",
)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_an_account_that_cannot_go_on_ends_the_whole_job(
    face: Any, server: FaultyServer, encoder: Any, error_response: Refuse, cls: type[errors.ApiError], on_error: str
) -> None:
    """What is finished is kept, nothing more is asked, and what is missing shows as such: no zeros, no silence."""
    server.faults.extend([None, None, *[error_response] * 99])
    with pytest.raises(errors.ApiError) as caught:
        face(encoder(max_concurrency=1)).encode([*({"text": text} for text in TEXTS), {"image": noise(9, 9)}],
                                                on_error=on_error)  # fmt: skip
    assert type(caught.value) is cls
    assert len(server.received) == 3
    partial = caught.value.partial
    assert partial is not None
    np.testing.assert_array_equal(partial[:8], vectors_of(TEXTS[:8]))
    assert partial.shape == (21, 1024)
    assert np.isnan(partial[8:]).all()


@pytest.mark.obligation("15", "38")
def test_a_cache_carries_on_where_the_account_ended(
    face: Any, server: FaultyServer, encoder: Any, tmp_path: Any
) -> None:
    server.balance = 40
    with pytest.raises(errors.InsufficientBalanceError):
        face(encoder(max_concurrency=1, cache=tmp_path)).encode_text(TEXTS)
    server.balance = 10**6
    asked = encoder(cache=tmp_path)
    np.testing.assert_array_equal(face(asked).encode_text(TEXTS), vectors_of(TEXTS))
    assert (asked.usage.cache_hits, asked.usage.total_tokens) == (8, 60)


# Images


@pytest.mark.obligation("2")
@pytest.mark.parametrize("resize_images", [True, False])
def test_a_data_uri_travels_as_bare_base64(face: Any, server: FaultyServer, encoder: Any, resize_images: bool) -> None:
    data = file_of(noise(30, 20), "PNG")
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    face(encoder(resize_images=resize_images)).encode_image(uri)
    [item] = server.requests[0]["input"]
    sent = base64.b64decode(item["image"], validate=True)
    assert set(item) == {"image"}
    assert sent == data if not resize_images else PIL.Image.open(io.BytesIO(sent)).size == (30, 20)


@pytest.mark.obligation("25")
def test_a_photo_is_turned_upright_before_it_is_shrunk(face: Any, server: FaultyServer, encoder: Any) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    buffer = io.BytesIO()
    lying = PIL.Image.linear_gradient("L").resize((640, 640)).convert("RGB")  # dark at the top
    lying.save(buffer, format="PNG", exif=exif)
    face(encoder()).encode_image(buffer.getvalue())
    sent = png_of(server.requests[0]["input"][0])
    assert (sent.mode, sent.size, sent.getexif().get(0x0112)) == ("RGB", (512, 512), None)
    columns = np.asarray(sent.convert("L"), np.float32).mean(axis=0)
    assert columns[0] - columns[-1] > 200  # dark at the right


@pytest.mark.obligation("25")
@pytest.mark.filterwarnings("ignore:.*high_bit_depth:UserWarning")
@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "I;16", "1"])
def test_images_of_every_mode_are_sent_in_rgb(face: Any, server: FaultyServer, encoder: Any, mode: str) -> None:
    image = noise(600, 300).convert("L" if mode == "I;16" else mode)
    image = image.convert("I").point(lambda level: level * 257).convert("I;16") if mode == "I;16" else image
    face(encoder()).encode_image(image)
    sent = png_of(server.requests[0]["input"][0])
    assert (sent.mode, sent.size) == ("RGB", (512, 512))
