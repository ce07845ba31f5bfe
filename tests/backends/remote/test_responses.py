"""Reading answers: every encoding, and everything that must be refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.backends.remote.encodings import Expected, truncate_bits
from jina_clip_integrations.backends.remote.responses import Response, read_rows, read_tokens
from jina_clip_integrations.errors import InvalidResponseError
from jina_clip_integrations.vectors import pack_bits
from tests.faulty_server import encode, vectors_of

VECTORS = vectors_of(["red", "green", "blue"], width=64)
EXPECTED = Expected(items=3, full=64)


def answer_with(embeddings: Any, *, indices: Any = None, **more: Any) -> Response:
    places = range(len(embeddings)) if indices is None else indices
    data = [{"object": "embedding", "index": at, "embedding": row} for at, row in zip(places, embeddings, strict=True)]
    return Response(200, {}, json.dumps({"object": "list", "data": data, **more}).encode())


@pytest.mark.obligation("7")
@pytest.mark.parametrize("kind", ["base64", "float"])
@pytest.mark.parametrize("asked", ["base64", "float"])
def test_floats_are_read_whatever_encoding_was_asked_for(kind: str, asked: str) -> None:
    rows = read_rows(
        answer_with([encode(row, kind) for row in VECTORS]), Expected(items=3, full=64, embedding_type=asked)
    )
    assert rows.vectors.dtype == np.float32
    np.testing.assert_array_equal(rows.vectors, VECTORS)


@pytest.mark.obligation("5")
def test_rows_are_placed_by_index_even_as_floats() -> None:
    shuffled = answer_with([encode(VECTORS[at], "base64") for at in (2, 0, 1)], indices=[2.0, 0.0, 1.0])
    np.testing.assert_array_equal(read_rows(shuffled, EXPECTED).vectors, VECTORS)


def test_integers_among_the_floats_are_fine() -> None:
    row = read_rows(answer_with([[0, 1, 0, 0]]), Expected(items=1, full=4)).vectors
    assert row.dtype == np.float32
    assert row.tolist() == [[0, 1, 0, 0]]


@pytest.mark.obligation("8")
@pytest.mark.parametrize("kind", ["binary", "ubinary"])
@pytest.mark.parametrize("as_float", [False, True])
def test_packed_bits_are_the_same_for_either_name(kind: str, as_float: bool) -> None:
    packed = [[number if as_float else int(number) for number in encode(row, kind)] for row in VECTORS]
    rows = read_rows(answer_with(packed), Expected(items=3, full=64, embedding_type=kind))
    assert rows.vectors.dtype == np.uint8
    np.testing.assert_array_equal(rows.vectors, pack_bits(VECTORS))


@pytest.mark.obligation("8")
def test_binary_is_offset_and_no_twos_complement() -> None:
    expected = Expected(items=1, full=32, embedding_type="binary")
    assert read_rows(answer_with([[-78, 65, 0, 127]]), expected).vectors.tolist() == [[50, 193, 128, 255]]


@pytest.mark.parametrize("kind", ["base64", "float"])
def test_floats_in_place_of_bits_are_packed_here(kind: str) -> None:
    rows = read_rows(
        answer_with([encode(row, kind) for row in VECTORS]), Expected(items=3, full=64, embedding_type="binary")
    )
    np.testing.assert_array_equal(rows.vectors, pack_bits(VECTORS))


def test_bits_are_cut_within_a_byte() -> None:
    assert truncate_bits(np.array([[0b11111111, 0b10101010]], np.uint8), 11).tolist() == [[0b11111111, 0b10100000]]


@pytest.mark.obligation("6")
@pytest.mark.parametrize(
    ("width", "expected", "fine"),
    [
        (64, Expected(items=1, full=64), True),
        (32, Expected(items=1, full=64), False),
        (32, Expected(items=1, full=64, dimensions=32), True),
        (64, Expected(items=1, full=64, dimensions=32), True),  # the server did not cut: we do
        (48, Expected(items=1, full=64, dimensions=32), False),
        (65, Expected(items=1, full=64, dimensions=32), False),
        (7, Expected(items=1), True),
        (7, Expected(items=1, dimensions=8), False),
        (0, Expected(items=1), False),
    ],
)
def test_widths(width: int, expected: Expected, fine: bool) -> None:
    answer = answer_with([[0.5] * width])
    if fine:
        assert read_rows(answer, expected).vectors.shape == (1, width)
    else:
        with pytest.raises(InvalidResponseError, match="dimensions instead of"):
            read_rows(answer, expected)


GOOD = encode(VECTORS[0], "base64")


@pytest.mark.obligation("5", "6", "7")
@pytest.mark.parametrize(
    ("embeddings", "indices", "message", "places"),
    [
        ([GOOD, GOOD], None, "2 rows for 3 items", ()),
        ([GOOD] * 4, None, "4 rows for 3 items", ()),
        ([GOOD] * 3, [0, 1, 1], "two rows for the same item", (1,)),
        ([GOOD] * 3, [0, 1, 3], "not an item", ()),
        ([GOOD] * 3, [0, 1, -1], "not an item", ()),
        ([GOOD] * 3, [0, 1, None], "missing", ()),
        ([GOOD] * 3, [0, 1, True], "missing", ()),
        ([GOOD] * 3, [0, 1, "2"], "missing", ()),
        ([GOOD] * 3, [0, 1, 1.5], "missing", ()),
        ([GOOD, None, GOOD], None, "no embedding", (1,)),
        ([GOOD, {}, GOOD], None, "no embedding", (1,)),
        ([GOOD, "?" * 8, GOOD], None, "not standard base64", (1,)),
        ([GOOD, "ümlaut", GOOD], None, "not standard base64", (1,)),
        ([GOOD, base64.b64encode(b"12345").decode(), GOOD], None, "no row of float32", (1,)),
        ([GOOD, GOOD[:-8], GOOD], None, "not standard base64|dimensions instead|no row", (1,)),
        ([GOOD, GOOD, [1.0] * 63 + [float("nan")]], None, "NaN or infinity", (2,)),
        ([GOOD, GOOD, [1.0] * 63 + [1e300]], None, "NaN or infinity", (2,)),
        ([GOOD, GOOD, [0.0] * 64], None, "zeros", (2,)),
        ([GOOD, GOOD, ["1.0"] * 64], None, "not a flat list of numbers", (2,)),
        ([GOOD, GOOD, [True] * 64], None, "not a flat list of numbers", (2,)),
        ([GOOD, GOOD, [[1.0]] * 64], None, "not a flat list of numbers", (2,)),
        ([GOOD, GOOD, [1.0, [2.0]]], None, "not a flat list of numbers", (2,)),
        ([GOOD, GOOD, [None] * 64], None, "not a flat list of numbers", (2,)),
        ([GOOD, GOOD, [10**400] * 64], None, "not a flat list of numbers", (2,)),
    ],
)
def test_refused(embeddings: Any, indices: Any, message: str, places: tuple[int, ...]) -> None:
    with pytest.raises(InvalidResponseError, match=message) as caught:
        read_rows(answer_with(embeddings, indices=indices), EXPECTED)
    assert caught.value.positions == places


@pytest.mark.obligation("8")
@pytest.mark.parametrize("numbers", [[128] * 8, [-129] * 8, [0.5] * 8])
def test_bits_that_are_none(numbers: list[float]) -> None:
    with pytest.raises(InvalidResponseError, match="packed bits"):
        read_rows(answer_with([numbers]), Expected(items=1, full=64, embedding_type="binary"))


@pytest.mark.obligation("24")
@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'{"data": 3}', b"\xff", b"[" * 100_000, b'{"data": [3]}'])
def test_anything_else_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(InvalidResponseError):
        read_rows(Response(200, {}, body), Expected(items=1))


def test_without_indices_only_where_the_dialect_says_so() -> None:
    rows = [{"id": "x", "embedding": encode(row, "float")} for row in VECTORS]
    answer = Response(200, {}, json.dumps({"data": rows}).encode())
    np.testing.assert_array_equal(read_rows(answer, Expected(items=3, full=64, indexed=False)).vectors, VECTORS)
    with pytest.raises(InvalidResponseError, match="index"):
        read_rows(answer, EXPECTED)


NONSENSE = [1e30, 10**30, 10**400, 1001, -1, -1e30, 1.5, True, False, "8", float("inf"), float("nan"), [8], {}, None]
"""Figures that no request of at most a thousand tokens costs."""


@pytest.mark.parametrize(
    ("document", "tokens"),
    [
        ({"usage": {"total_tokens": 8, "prompt_tokens": 9}}, 8),
        ({"usage": {"prompt_tokens": 9}}, 9),
        ({"usage": None}, 0),
        ({"usage": {"total_tokens": "8"}}, 0),
        ({"usage": {"total_tokens": float("nan")}}, 0),
        ({"data": [{"usage": {"total_tokens": 8}}, {"usage": {"total_tokens": 3.0}}, {}]}, 11),
        ([], 0),
        *(({"usage": {"total_tokens": nonsense}}, 0) for nonsense in NONSENSE),
        *(({"usage": {"total_tokens": nonsense, "prompt_tokens": 9}}, 9) for nonsense in NONSENSE),
        *(
            ({"data": [{"usage": {"total_tokens": nonsense}}, {"usage": {"total_tokens": 3}}]}, 3)
            for nonsense in NONSENSE
        ),
        ({"data": [{"usage": {"total_tokens": 999}}] * 2}, 0),
    ],
)
def test_tokens(document: Any, tokens: int) -> None:
    assert read_tokens(Response(200, {}, json.dumps(document).encode()), most=1000) == tokens


@pytest.mark.obligation("36")
def test_model_and_unknown_keys() -> None:
    answer = answer_with([GOOD], model="jina-clip-v2", usage={"total_tokens": 5}, x={"y": 1})
    rows = read_rows(answer, Expected(items=1))
    assert (rows.model, rows.total_tokens) == ("jina-clip-v2", 5)
    assert read_rows(answer_with([GOOD], model=7), Expected(items=1)).model is None


@pytest.mark.parametrize(
    "index", [10**400, 1e300, float("inf"), float("nan"), -1, 1, 0.5, True, "0", None, [0]], ids=repr
)
def test_an_index_that_is_none_of_the_request(index: Any) -> None:
    with pytest.raises(InvalidResponseError, match="index"):
        read_rows(answer_with([GOOD], indices=[index]), Expected(items=1))


@pytest.mark.parametrize("value", [True, None, "0.5", [0.5], {}, 10**400, float("nan"), 1e300])
def test_one_value_that_is_no_number_spoils_its_row(value: Any) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        read_rows(answer_with([[0.5] * 4, [0.5, value, 0.5, 0.5]]), Expected(items=2, full=4))
    assert caught.value.positions == (1,)
