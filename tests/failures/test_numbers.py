"""NaN, infinity and vectors without a direction: named, and kept out of caches and stores, from either backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations import ApiBackend, BackendError, JinaClipEncoder, LocalBackend
from jina_clip_integrations.backends import running
from jina_clip_integrations.backends.base import Batch, BatchResult
from jina_clip_integrations.cache import DiskCache, MemoryCache
from jina_clip_integrations.cli.main import main
from jina_clip_integrations.vectors import usable_rows
from tests.failures.test_kills import stored
from tests.failures.victims import BACKEND
from tests.fakes import WIDTH, BlockingBackend
from tests.faulty_server import KEY, FaultyServer

BAD = {
    "nan": ("NaN or infinity", np.float32("nan")),
    "infinity": ("NaN or infinity", np.float32("inf")),
    "zeros": ("vector of zeros", np.float32(0)),
    "almost zeros": ("vector of zeros", np.float32(1e-20)),
}


class Spoiling(BlockingBackend):
    """Gives a bad row for every input that says so."""

    cache_identity = "spoiling"
    value = np.float32(0)

    def row_of(self, batch: Batch, position: int) -> Any:
        row = super().row_of(batch, position)
        if batch.modality == "text" and "bad" in batch.texts[position]:
            row = np.full(self.dimensions, self.value) if abs(self.value) < 1 else np.append(row[1:], self.value)
        return row.astype(np.float32)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_bad_rows_are_named_and_not_cached(tmp_path: Path, kind: str, cache: str) -> None:
    said, value = BAD[kind]
    kept = MemoryCache() if cache == "memory" else DiskCache(tmp_path)
    encoder = JinaClipEncoder(backend=Spoiling(value=value), cache=kept)
    with pytest.raises(BackendError, match=f"{said}.* for input 2"):
        encoder.encode_text(["a", "b", "bad", "c"])
    rows = encoder.encode_text(["a", "b", "bad", "c"], on_error="skip")
    assert np.isnan(rows).any(axis=1).tolist() == [False, False, True, False]
    assert list(encoder.last_errors) == [2]
    assert len(kept) == 3
    kept.close()


def test_a_vector_that_its_first_dimensions_do_not_have() -> None:
    row = np.zeros((1, WIDTH), np.float32)
    row[0, -1] = 1

    class Late(BlockingBackend):
        def embed(self, batch: Batch) -> BatchResult:
            return BatchResult(np.repeat(row, len(batch), axis=0))

    assert JinaClipEncoder(backend=Late()).encode_text("a").shape == (WIDTH,)
    with pytest.raises(BackendError, match="vector of zeros"):
        JinaClipEncoder(backend=Late(), dimensions=4, cache=MemoryCache()).encode_text("a")


@pytest.mark.parametrize("kind", ["nan", "infinity", "zeros"])
def test_a_cache_of_an_earlier_version_is_not_believed(kind: str) -> None:
    cache, backend = MemoryCache(), BlockingBackend(cache_identity="x")
    expected = JinaClipEncoder(backend=backend, cache=cache).encode_text("a")
    for key in list(cache._entries):
        cache.set_many({key: np.full(WIDTH, BAD[kind][1], np.float32)})
    np.testing.assert_array_equal(JinaClipEncoder(backend=backend, cache=cache).encode_text("a"), expected)


@pytest.mark.parametrize("fault", ["nan", "infinity", "zeros"])
def test_bad_rows_of_a_service(fault: str, tmp_path: Path) -> None:
    with FaultyServer() as server:
        backend = ApiBackend("jina-clip-v2", base_url=server.url, api_key=KEY, max_retries=0)
        cache = DiskCache(tmp_path)
        with JinaClipEncoder(backend=backend, cache=cache) as encoder:
            server.faults.append(fault)
            with pytest.raises(BackendError):
                encoder.encode_text(["a", "b"])
            assert encoder.encode_text(["a", "b"]).shape == (2, 1024)
            cached = len(cache)
        assert cached == 2
        cache.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_bad_activations_of_a_local_model(golden_folder: Path, value: float, tmp_path: Path) -> None:
    """What a half-precision overflow, or a broken device, gives for one text of a batch."""
    cache = DiskCache(tmp_path)
    backend = LocalBackend(golden_folder, device="cpu", dtype="float32")
    with JinaClipEncoder(backend=backend, cache=cache) as encoder:

        def spoil(rows: list[list[int]], engine: Any) -> Any:
            vectors = engine.embed_ids(rows)
            vectors[[len(row) == max(map(len, rows)) for row in rows]] = value
            return vectors

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running, "_embed_ids", spoil)
            rows = encoder.encode_text(["a", "b", "a much longer text than the others"], on_error="skip")
        assert np.isnan(rows).all(axis=1).tolist() == [False, False, True]
        assert list(encoder.last_errors) == [2]
        assert len(cache) == 2
        assert usable_rows(encoder.encode_text(["a", "b", "a much longer text than the others"])).all()
    cache.close()


def test_bad_rows_are_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """`index` leaves the file out, by name; no passage of it is in the store."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in {"good.txt": "one", "bad.txt": "bad", "half.txt": "# a\n\ngood\n\n# b\n\nbad"}.items():
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr("tests.failures.victims.make_backend", lambda: Spoiling(value=np.float32("nan")))
    code = main(["index", str(folder), "--store", str(tmp_path / "store"), "--strict", "--quiet", *BACKEND])
    assert code == 3
    said = capsys.readouterr().err
    assert "bad.txt" in said
    assert "half.txt" in said
    assert {payload["name"] for payload, _ in stored(tmp_path / "store").values()} == {"good.txt"}
