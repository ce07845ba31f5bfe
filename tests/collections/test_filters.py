"""Filters: an embedded store and a server choose the same points, and what no file can be is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from jina_clip_integrations.collections import store as store_module
from jina_clip_integrations.collections.filters import Filters, parse_moment
from jina_clip_integrations.collections.identity import CollectionModel
from jina_clip_integrations.collections.names import decode_name, encode_name
from jina_clip_integrations.collections.payload import INDEXES, list_folders, make_place
from jina_clip_integrations.collections.points import Where
from jina_clip_integrations.collections.server_points import make_filter
from jina_clip_integrations.collections.store import FolderStore
from jina_clip_integrations.errors import InputError
from tests.collections import qdrant_engine

MODEL = CollectionModel.of("mine", 4)
ROOT = Path("/images")
BAD_NAME = b"trip/caf\xe9.jpg".decode("utf-8", "surrogateescape")
DAY = 86_400


def moment(day: int) -> datetime:
    return datetime(2024, 5, 1, tzinfo=timezone.utc) + timedelta(days=day)


def payload(number: int, name: str, **facts: Any) -> dict[str, Any]:
    modality = "text" if name.endswith(".txt") else "image"
    return {
        "root": "/images",
        "name": encode_name(name),
        "folders": [encode_name(folder) for folder in list_folders(name)],
        "modality": modality,
        "text": "words" if modality == "text" else None,
        "passage": 0,
        "passages": 1,
        "size": 1000 * number,
        "mtime_ns": int(moment(number).timestamp() * 1e9),
        "sha256": f"{number:064}",
        "made_with": MODEL.to_payload(),
        **facts,
    }


PAYLOADS = [
    payload(0, "a.png", format="png", width=10, height=10),
    payload(1, "trip/b.jpg", format="jpeg", taken=moment(20).timestamp(), camera="Canon EOS R5"),
    payload(2, "trip/sea/c.jpg", format="jpeg", camera="NIKON Z 6", place=make_place(48.85, 2.35)),
    payload(3, "trips/d.jpg", format="jpeg", place=make_place(52.52, 13.40)),
    payload(4, BAD_NAME, format="jpeg", camera="Canon PowerShot", taken=moment(-20).timestamp()),
    payload(5, "trip/note.txt"),
    payload(6, "other.png", root="/elsewhere", format="png"),
    payload(7, "date/line.jpg", format="jpeg", place=make_place(-17, 179.9)),
]


CASES: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [0, 1, 2, 3, 4, 5, 7]),
    ({"since": moment(2)}, [1, 2, 3, 5, 7]),
    ({"until": moment(2)}, [0, 2, 4]),
    ({"since": moment(2), "until": moment(3)}, [2, 3]),
    ({"since": moment(20).replace(tzinfo=None), "until": moment(20)}, [1]),
    ({"folder": "trip"}, [1, 2, 4, 5]),
    ({"folder": "/trip/sea/"}, [2]),
    ({"folder": "trip\\sea"}, [2]),
    ({"folder": "."}, [0, 1, 2, 3, 4, 5, 7]),
    ({"folder": "nowhere"}, []),
    ({"kinds": frozenset({"text"})}, [5]),
    ({"kinds": frozenset({"PNG", ".jpg"})}, [0, 1, 2, 3, 4, 7]),
    ({"kinds": frozenset({"png", "text"})}, [0, 5]),
    ({"min_bytes": 2000, "max_bytes": 4000}, [2, 3, 4]),
    ({"camera": "canon"}, [1, 4]),
    ({"camera": "z 6"}, [2]),
    ({"camera": "leica"}, []),
    ({"near": (48.8, 2.3, 20)}, [2]),
    ({"near": (50, 8, 700)}, [2, 3]),
    ({"near": (-17, -179.9, 50)}, [7]),
    ({"folder": "trip", "kinds": frozenset({"jpeg"}), "camera": "canon", "since": moment(0)}, [1]),
]


@pytest.fixture(params=["embedded", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderStore]:
    """The points of `PAYLOADS`, whose vectors say how near they are to (1, 0, 0, 0): the later the nearer."""
    from qdrant_client import models

    location = str(tmp_path / "store")
    if request.param == "server":
        memory = QdrantClient(":memory:")
        monkeypatch.setattr(memory, "create_payload_index", lambda *_: None)
        monkeypatch.setattr(store_module, "connect", lambda *_, server: memory)
        location = "http://127.0.0.1:1"
    with FolderStore(location) as opened:
        opened.prepare(MODEL)
        angles = np.linspace(1.5, 0.1, len(PAYLOADS))
        with opened.client() as client:
            points = [
                models.PointStruct(id=number, vector=[np.cos(angle), np.sin(angle), 0, 0], payload=PAYLOADS[number])
                for number, angle in enumerate(angles)
            ]
            client.upsert("jina-clip", points)
        yield opened


def found(store: FolderStore, **given: Any) -> list[int]:
    where = Where(ROOT, filters=Filters(**given))
    points = store.points().nearest(np.array([1, 0, 0, 0], np.float32), where, top=99)
    assert [point.score for point in points] == sorted((point.score for point in points), reverse=True)
    assert store.points().count(where) == len(points)
    names = [payload["name"] for payload in PAYLOADS]
    return sorted(names.index(point.payload["name"]) for point in points)


@pytest.mark.parametrize(("given", "expected"), CASES)
def test_both_kinds_of_store_choose_the_same(store: FolderStore, given: dict[str, Any], expected: list[int]) -> None:
    assert found(store, **given) == expected


@pytest.mark.parametrize("indexed", [False, True], ids=["without indexes", "indexed"])
def test_a_servers_own_engine_chooses_the_same(tmp_path: Path, indexed: bool) -> None:
    """The engine of a Qdrant server, which runs in process too; the client's embedded mode only imitates it."""
    shard = qdrant_engine.make_shard(tmp_path, PAYLOADS, INDEXES if indexed else {})
    known = [payload["camera"] for payload in PAYLOADS if payload.get("camera")]
    for given, expected in CASES:
        where = Where(ROOT, filters=Filters(**given))
        meant = make_filter(where, where.filters.matching_cameras(known))
        assert qdrant_engine.select(shard, meant) == expected, given


def test_vectors_are_read_as_they_were_stored(store: FolderStore) -> None:
    points = store.points()
    [one] = points.nearest(np.array([1, 0, 0, 0], np.float32), Where(ROOT), top=1, with_vectors=True)
    assert one.payload["name"] == "date/line.jpg"
    np.testing.assert_allclose(one.vector, [np.cos(0.1), np.sin(0.1), 0, 0], atol=1e-6)
    read = list(points.read(Where(ROOT, "image"), with_vectors=True))
    assert sum(len(payloads) for payloads, _ in read) == 6
    assert np.concatenate([rows for _, rows in read]).shape == (6, 4)
    assert points.sample(Where(ROOT, "image"), 4).shape == (4, 4)
    assert decode_name(next(points.read(Where(ROOT, name=BAD_NAME)))[0][0]["name"]) == BAD_NAME


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"since": moment(2), "until": moment(1)}, "no time is since"),
        ({"min_bytes": 2, "max_bytes": 1}, "no file has"),
        ({"folder": "../x"}, "leads out"),
        ({"kinds": "jpeg"}, "set of words"),
        ({"near": (91, 0, 1)}, "latitude"),
        ({"near": (0, 0, 0)}, "distance"),
        ({"near": (0, 0, float("nan"))}, "distance"),
    ],
)
def test_what_no_file_can_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Filters(**given)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", "2024-01-01T00:00:00+00:00", "2024-12-31T23:59:59.999999+00:00"),
        ("2024-02", "2024-02-01T00:00:00+00:00", "2024-02-29T23:59:59.999999+00:00"),
        (" 2024-2-3 ", "2024-02-03T00:00:00+00:00", "2024-02-03T23:59:59.999999+00:00"),
        ("2024-02-03T10:30", "2024-02-03T10:30:00+00:00", "2024-02-03T10:30:00+00:00"),
        ("2024-02-03T10:30Z", "2024-02-03T10:30:00+00:00", "2024-02-03T10:30:00+00:00"),
        ("2024-02-03T10:30+02:00", "2024-02-03T10:30:00+02:00", "2024-02-03T10:30:00+02:00"),
    ],
)
def test_moments(text: str, first: str, last: str) -> None:
    assert parse_moment(text).isoformat() == first
    assert parse_moment(text, end=True).isoformat() == last


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13", "2024-02-30", "9999", "0000", "24-02-03"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(InputError, match="is no time"):
        parse_moment(text, end=True)
