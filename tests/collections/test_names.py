"""File names as stores keep them."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_clip_integrations.collections.names import decode_name, encode_name


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a.png", "a.png"),
        ("né/日本.png", "né/日本.png"),
        ("a\nb.png", "a\nb.png"),
        (os.fsdecode(b"caf\xe9 1/a.png"), "bytes:caf%E9%201/a.png"),
        ("bytes:a.png", "bytes:bytes%3Aa.png"),
    ],
)
def test_names_are_kept_as_they_are_where_they_can_be(name: str, kept: str) -> None:
    assert encode_name(name) == kept


@given(st.binary())
def test_every_name_comes_back(name: bytes) -> None:
    encode_name(os.fsdecode(name)).encode()
    assert os.fsencode(decode_name(encode_name(os.fsdecode(name)))) == name


@given(st.sets(st.binary(), min_size=2))
def test_no_two_are_kept_alike(names: set[bytes]) -> None:
    assert len({encode_name(os.fsdecode(name)) for name in names}) == len(names)
