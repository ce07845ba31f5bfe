"""Keys that mean content, stores that survive, and an encoder that asks its backend once."""

from __future__ import annotations

import base64
import hashlib
import io
import pickle
import sqlite3
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import BackendError, ConfigurationError, JinaClipEncoder
from jina_clip_integrations.cache import (
    DISK_FILE,
    DiskCache,
    MemoryCache,
    open_cache,
    text_digest,
    text_keys,
    vector_key,
)
from tests.faces import both_faces
from tests.fakes import KINDS, WIDTH, BlockingBackend, image_vector, text_vector, unit


def entries(start: int, stop: int, width: int = 16) -> dict[str, Any]:
    return {f"key-{n}": np.full(width, n, np.float32) for n in range(start, stop)}


def damage(folder: Path, change: str) -> None:
    connection = sqlite3.connect(folder / DISK_FILE)
    with connection:
        connection.execute(change)
    connection.close()


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    cache = MemoryCache() if request.param == "memory" else DiskCache(tmp_path / "cache")
    yield cache
    cache.close()


ASKED: dict[str, Any] = {"identity": "i", "normalize": True, "modality": "text", "task": None, "digest": "d"}


class TestKeys:
    @pytest.mark.obligation("38")
    @pytest.mark.framework("langchain/own-cache")
    @pytest.mark.parametrize(
        "change",
        [{"identity": "j"}, {"normalize": False}, {"modality": "image"}, {"task": "retrieval.query"}, {"digest": "e"}],
    )
    def test_differ_in_everything_that_changes_a_vector(self, change: dict[str, Any]) -> None:
        assert vector_key(**ASKED) == vector_key(**ASKED)
        assert vector_key(**ASKED) != vector_key(**ASKED | change)

    def test_text_digest_is_sha_256_of_utf_8(self) -> None:
        assert text_digest("ä") == hashlib.sha256(b"\xc3\xa4").hexdigest()

    @pytest.mark.parametrize("task", [None, "retrieval.query"])
    def test_of_many_texts_are_those_of_each(self, task: str | None) -> None:
        texts, rest = ["", "ä", "a" * 10_000], {"identity": "i", "normalize": False, "task": task}
        expected = [vector_key(modality="text", digest=text_digest(text), **rest) for text in texts]
        assert text_keys(texts, **rest) == expected

    def test_do_not_show_content(self) -> None:
        assert "secret" not in vector_key(**ASKED | {"digest": text_digest("secret")})


class TestStores:
    def test_round_trip(self, store: Any) -> None:
        given = {"a": np.arange(5, dtype=np.float32), "b": np.arange(32, dtype=np.uint8)}
        store.set_many(given)
        found = store.get_many(["b", "missing", "a"])
        assert found.keys() == given.keys()
        for key, entry in given.items():
            assert found[key].dtype == entry.dtype
            np.testing.assert_array_equal(found[key], entry)

    def test_nothing(self, store: Any) -> None:
        store.set_many({})
        assert store.get_many([]) == {}
        assert len(store) == 0

    def test_more_keys_than_a_query_takes(self, store: Any) -> None:
        store.set_many(entries(0, 1300))
        found = store.get_many([f"key-{n}" for n in range(1300)])
        assert {key: int(entry[0]) for key, entry in found.items()} == {f"key-{n}": n for n in range(1300)}
        assert len(store) == 1300

    def test_later_entries_replace_earlier_ones(self, store: Any) -> None:
        store.set_many({"a": np.zeros(3, np.float32)})
        store.set_many({"a": np.ones(3, np.float32)})
        assert store.get_many(["a"])["a"].tolist() == [1, 1, 1]

    def test_keys_with_the_same_checksum_are_told_apart(self, store: Any) -> None:
        one, other = "plumless", "buckeroo"
        assert zlib.crc32(one.encode()) == zlib.crc32(other.encode())
        store.set_many({one: np.zeros(3, np.float32)})
        assert store.get_many([other]) == {}
        store.set_many({other: np.ones(3, np.float32)})
        found = store.get_many([one, other])
        assert {key: entry.tolist() for key, entry in found.items()} == {one: [0, 0, 0], other: [1, 1, 1]}
        assert len(store) == 2

    def test_changes_to_what_was_given_do_not_reach_it(self, store: Any) -> None:
        row = np.ones(3, np.float32)
        store.set_many({"a": row})
        row[:] = 7
        assert store.get_many(["a"])["a"].tolist() == [1, 1, 1]

    def test_threads(self, store: Any) -> None:
        def work(part: int) -> None:
            for start in range(part * 100, part * 100 + 100, 10):
                store.set_many(entries(start, start + 10))
                assert len(store.get_many([f"key-{n}" for n in range(start, start + 10)])) == 10

        threads = [threading.Thread(target=work, args=(part,)) for part in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store) == 600

    def test_closing_is_idempotent_and_use_opens_again(self, store: Any) -> None:
        store.set_many(entries(0, 3))
        store.close()
        store.close()
        assert len(store.get_many(["key-1"])) == 1


class TestMemoryCache:
    def test_forgets_what_was_not_used_for_longest(self) -> None:
        cache = MemoryCache(max_items=3)
        cache.set_many(entries(0, 3))
        cache.get_many(["key-0"])
        cache.set_many(entries(3, 4))
        assert sorted(cache.get_many([f"key-{n}" for n in range(4)])) == ["key-0", "key-2", "key-3"]

    def test_pickles_start_empty(self) -> None:
        cache = MemoryCache(max_items=7)
        cache.set_many(entries(0, 3))
        twin = pickle.loads(pickle.dumps(cache))
        assert (len(twin), twin.max_items, repr(twin)) == (0, 7, "MemoryCache(max_items=7)")

    def test_size_must_make_sense(self) -> None:
        with pytest.raises(ConfigurationError):
            MemoryCache(max_items=0)


class TestDiskCache:
    def test_is_there_in_the_next_process(self, tmp_path: Path) -> None:
        with_entries = DiskCache(tmp_path)
        with_entries.set_many(entries(0, 3))
        with_entries.close()
        assert len(DiskCache(tmp_path).get_many(["key-0", "key-2"])) == 2

    def test_nothing_is_made_before_it_is_used(self, tmp_path: Path) -> None:
        DiskCache(tmp_path / "a" / "b")
        assert not (tmp_path / "a").exists()

    def test_pickles_name_the_folder(self, tmp_path: Path) -> None:
        cache = DiskCache(tmp_path)
        cache.set_many(entries(0, 3))
        assert len(pickle.loads(pickle.dumps(cache)).get_many(["key-1"])) == 1
        cache.close()

    def test_a_file_is_not_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "photo.jpg").write_bytes(b"precious")
        with pytest.raises(ConfigurationError, match="is a file"):
            DiskCache(tmp_path / "photo.jpg")
        assert (tmp_path / "photo.jpg").read_bytes() == b"precious"

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE entries SET data = zeroblob(64) WHERE key = 'key-1'",
            "UPDATE entries SET data = substr(data, 2) WHERE key = 'key-1'",
            "UPDATE entries SET data = NULL WHERE key = 'key-1'",
            "UPDATE entries SET crc = crc + 1 WHERE key = 'key-1'",
            "UPDATE entries SET kind = 9 WHERE key = 'key-1'",
        ],
    )
    def test_a_damaged_entry_is_missing(self, tmp_path: Path, change: str) -> None:
        cache = DiskCache(tmp_path)
        cache.set_many(entries(0, 3))
        cache.close()
        damage(tmp_path, change)
        assert sorted(cache.get_many(["key-0", "key-1", "key-2"])) == ["key-0", "key-2"]
        cache.set_many(entries(1, 2))
        assert len(cache.get_many(["key-1"])) == 1
        cache.close()

    def test_a_file_of_another_layout_is_left_alone(self, tmp_path: Path) -> None:
        older = tmp_path / "vectors.sqlite3"
        older.write_bytes(b"written by another version")
        cache = DiskCache(tmp_path)
        cache.set_many(entries(0, 3))
        assert len(cache) == 3
        cache.clear()
        assert older.read_bytes() == b"written by another version"

    def test_a_destroyed_file_is_one_warning_and_no_cache(self, tmp_path: Path) -> None:
        (tmp_path / DISK_FILE).write_bytes(b"this is no database" * 1000)
        cache = DiskCache(tmp_path)
        with pytest.warns(RuntimeWarning, match="going on without it") as caught:
            assert cache.get_many(["a"]) == {}
        cache.set_many(entries(0, 3))  # a second warning would be an error here
        assert cache.get_many(["key-0"]) == {}
        assert len(caught) == 1

    def test_a_folder_that_cannot_be_made_is_one_warning_and_no_cache(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        cache = DiskCache(tmp_path / "file" / "cache")
        with pytest.warns(RuntimeWarning, match="cannot be written"):
            cache.set_many(entries(0, 1))
        assert cache.get_many(["key-0"]) == {}

    def test_clear(self, tmp_path: Path) -> None:
        cache = DiskCache(tmp_path)
        cache.set_many(entries(0, 500, width=1024))
        before = (tmp_path / DISK_FILE).stat().st_size
        cache.clear()
        assert len(cache) == 0
        cache.close()
        assert (tmp_path / DISK_FILE).stat().st_size < max(before, 1_000_000)

    def test_many_processes_write_at_once(self, tmp_path: Path) -> None:
        program = (
            "import sys, numpy as np\n"
            "from jina_clip_integrations.cache import DiskCache\n"
            "cache = DiskCache(sys.argv[1])\n"
            "for n in range(int(sys.argv[2]), int(sys.argv[2]) + 50):\n"
            "    cache.set_many({f'key-{n}': np.full(1024, n, np.float32)})\n"
        )
        children = [
            subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(start)]) for start in (0, 50, 100)
        ]
        assert [child.wait(60) for child in children] == [0, 0, 0]
        found = DiskCache(tmp_path).get_many([f"key-{n}" for n in range(150)])
        assert {key: entry[0] for key, entry in found.items()} == {f"key-{n}": n for n in range(150)}

    def test_a_killed_writer_loses_only_what_it_was_writing(self, tmp_path: Path) -> None:
        program = (
            "import os, sys, signal, numpy as np\n"
            "from jina_clip_integrations.cache import DiskCache\n"
            "cache = DiskCache(sys.argv[1])\n"
            "cache.set_many({'kept': np.ones(1024, np.float32)})\n"
            "cache._connection.execute('BEGIN')\n"
            "cache._connection.execute('DELETE FROM entries')\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        child = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
        assert child.returncode != 0
        assert len(DiskCache(tmp_path).get_many(["kept"])) == 1


class TestOpening:
    def test_kinds(self, tmp_path: Path) -> None:
        assert open_cache(None) is None
        memory = MemoryCache()
        assert open_cache(memory) is memory
        for path in (tmp_path, str(tmp_path)):
            opened = open_cache(path)
            assert isinstance(opened, DiskCache)
            assert opened.path == tmp_path

    @pytest.mark.parametrize("wrong", [True, 3, {}, [], object(), MemoryCache])
    def test_anything_else(self, wrong: Any) -> None:
        with pytest.raises(ConfigurationError, match="get_many"):
            JinaClipEncoder(backend=BlockingBackend(), cache=wrong)


class Listing:
    """A cache of a user's own that keeps lists of numbers, as a JSON store would."""

    def __init__(self) -> None:
        self.kept: dict[str, list[float]] = {}

    def get_many(self, keys: Any) -> dict[str, Any]:
        return {key: self.kept[key] for key in keys if key in self.kept}

    def set_many(self, entries: Any) -> None:
        self.kept |= {key: entry.tolist() for key, entry in entries.items()}


def gradient(size: tuple[int, int] = (6, 4)) -> Image.Image:
    return Image.fromarray(np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(size[1], size[0], 3))


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@both_faces
@pytest.mark.parametrize("kind", KINDS)
class TestEncoderWithCache:
    def test_a_second_call_asks_nobody(self, kind: str, face: Any, store: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind](), cache=store)
        items = [{"text": "a"}, {"image": gradient()}, {"text": "b"}, {"text": "a"}]
        first = face(encoder).encode(items)
        encoder.backend.batches.clear()
        np.testing.assert_array_equal(face(encoder).encode(items), first)
        assert encoder.backend.batches == []
        assert (encoder.usage.cache_hits, encoder.usage.items, encoder.usage.total_tokens) == (4, 8, 30)

    @pytest.mark.obligation("23")
    def test_hits_and_misses_mix(self, kind: str, face: Any, store: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind](), cache=store)
        face(encoder).encode_text(["b", "d"])
        encoder.backend.batches.clear()
        rows = face(encoder).encode_text(["a", "b", "c", "d", "a"])
        expected = np.stack([text_vector(text) for text in "abcda"])
        np.testing.assert_allclose(rows, unit(expected), atol=1e-6)
        assert sorted(encoder.backend.embedded) == ["a", "c"]

    def test_more_texts_than_are_looked_up_at_a_time(self, kind: str, face: Any, store: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind](), cache=store)
        texts = [f"text {number % 1400}" for number in range(1500)]  # the last hundred occur twice
        face(encoder).encode_text(texts[::2])
        rows = face(encoder).encode_text(texts)
        np.testing.assert_allclose(rows, unit(np.stack([text_vector(text) for text in texts])), atol=1e-6)
        assert encoder.usage.cache_hits == 750

    @pytest.mark.obligation("38")
    def test_one_entry_serves_every_width(self, kind: str, face: Any, store: Any) -> None:
        backend = KINDS[kind]()
        face(JinaClipEncoder(backend=backend, cache=store, dimensions=2)).encode_text("a")
        assert backend.batches[0].dimensions is None
        for width in (2, 4, WIDTH):
            row = face(JinaClipEncoder(backend=backend, cache=store, dimensions=width)).encode_text("a")
            np.testing.assert_allclose(row, unit(text_vector("a")[:width]), atol=1e-6)
        assert len(backend.batches) == 1


class TestWhatSharesAnEntry:
    def embed_all(self, images: list[Any], **options: Any) -> Any:
        cache = MemoryCache()
        for image in images:
            encoder = JinaClipEncoder(backend=BlockingBackend(), cache=cache, **options)
            row = encoder.encode_image(image)
            parsed = encoder._parser.image(images[0])
            np.testing.assert_allclose(row, unit(image_vector(parsed)), atol=1e-6)
            self.asked.append(len(encoder.backend.batches))
        return encoder.backend

    @pytest.fixture(autouse=True)
    def _asked(self) -> None:
        self.asked: list[int] = []

    def test_the_same_pixels_in_any_form(self, tmp_path: Path) -> None:
        image = gradient()
        png, bmp = encoded(image, "PNG"), encoded(image, "BMP")
        (tmp_path / "a.png").write_bytes(png)
        uri = "data:image/png;base64," + base64.b64encode(png).decode()
        forms = [image, png, bmp, io.BytesIO(png), str(tmp_path / "a.png"), tmp_path / "a.png", uri, np.asarray(image)]
        self.embed_all(forms)
        assert self.asked == [1] + [0] * (len(forms) - 1)

    def test_equal_size_is_not_equal_content(self) -> None:
        cache = MemoryCache()
        encoder = JinaClipEncoder(backend=BlockingBackend(), cache=cache)
        one, other = gradient(), gradient().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        rows = encoder.encode_image([one, other])
        assert not np.allclose(rows[0], rows[1])
        assert not np.allclose(*(encoder.encode_image(image) for image in (one, other)))

    def test_equal_bytes_of_another_shape_are_not_equal(self) -> None:
        cache = MemoryCache()
        encoder = JinaClipEncoder(backend=BlockingBackend(), cache=cache)
        flat = np.zeros((2, 8, 3), np.uint8)
        assert not np.allclose(encoder.encode_image(flat), encoder.encode_image(flat.reshape(8, 2, 3)))

    def test_a_file_that_changed_is_another(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        encoder = JinaClipEncoder(backend=BlockingBackend(), cache=MemoryCache())
        path.write_bytes(encoded(gradient(), "PNG"))
        first = encoder.encode_image(path)
        path.write_bytes(encoded(gradient((4, 6)), "PNG"))
        assert not np.allclose(encoder.encode_image(path), first)

    def test_a_known_file_is_not_decoded_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), cache=MemoryCache())
        png = encoded(gradient(), "PNG")
        first = encoder.encode_image([png])
        monkeypatch.setattr(
            "jina_clip_integrations.images.encoded.EncodedImage._decode", lambda self: pytest.fail("decoded")
        )
        np.testing.assert_array_equal(encoder.encode_image([png]), first)

    def test_a_new_file_is_decoded_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from jina_clip_integrations.images import encoded as images

        decoded = []
        as_rgb = images.as_rgb
        monkeypatch.setattr(images, "as_rgb", lambda *a, **o: decoded.append(1) or as_rgb(*a, **o))
        encoder = JinaClipEncoder(backend=BlockingBackend(), cache=MemoryCache())
        encoder.encode_image([encoded(gradient(), "PNG"), encoded(gradient((3, 3)), "PNG")])
        assert len(decoded) == 2

    def test_no_more_pixels_are_held_than_allowed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jina_clip_integrations.encoder.job.HELD_PIXELS_BYTES", 100)  # one of 72 bytes fits
        held: list[int] = []
        encoder = JinaClipEncoder(backend=BlockingBackend(), cache=MemoryCache())
        encoder.backend.before = lambda batch: held.append(sum(p._held is not None for p in batch.images))
        images = [encoded(gradient().rotate(turn), "PNG") for turn in (0, 90, 180)]
        encoder.encode_image(images)
        assert held == [1]

    def test_orientation_is_part_of_the_content(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        buffer = io.BytesIO()
        gradient().save(buffer, "PNG", exif=exif)
        cache = MemoryCache()
        upright = JinaClipEncoder(backend=BlockingBackend(), cache=cache).encode_image(buffer.getvalue())
        stored = JinaClipEncoder(backend=BlockingBackend(), cache=cache, exif_orientation=False)
        as_stored = stored.encode_image(buffer.getvalue())
        assert not np.allclose(upright, as_stored)
        np.testing.assert_array_equal(as_stored, stored.encode_image(gradient()))

    def test_a_text_and_its_query_do_not(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), cache=MemoryCache())
        encoder.encode_text("a")
        query = encoder.encode_text("a", task="retrieval.query")
        np.testing.assert_allclose(query, unit(text_vector("a", "retrieval.query")), atol=1e-6)

    def test_raw_and_unit_vectors_do_not(self) -> None:
        cache = MemoryCache()
        JinaClipEncoder(backend=BlockingBackend(), cache=cache).encode_text("a")
        raw = JinaClipEncoder(backend=BlockingBackend(), cache=cache, normalize=False)
        np.testing.assert_allclose(raw.encode_text("a"), text_vector("a"), atol=1e-6)
        assert len(raw.backend.batches) == 1

    def test_backends_that_say_so_do_not(self) -> None:
        cache = MemoryCache()
        for identity, asked in (("one", 1), ("two", 1), ("one", 0)):
            encoder = JinaClipEncoder(backend=BlockingBackend(cache_identity=identity), cache=cache)
            encoder.encode_text("a")
            assert len(encoder.backend.batches) == asked

    def test_backends_of_another_class_or_model_do_not(self) -> None:
        class Other(BlockingBackend):
            pass

        cache = MemoryCache()
        for backend in (BlockingBackend(), Other(), BlockingBackend(model="other")):
            JinaClipEncoder(backend=backend, cache=cache).encode_text("a")
            assert len(backend.batches) == 1


class TestOddCaches:
    def test_lists_instead_of_arrays(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), cache=Listing())
        items = [{"text": "a"}, {"image": encoded(gradient(), "PNG")}]
        first = encoder.encode(items)
        np.testing.assert_array_equal(encoder.encode(items), first)
        assert len(encoder.backend.batches) == 2

    @pytest.mark.parametrize(
        "entry",
        [np.zeros(WIDTH + 1, np.float32), np.full(WIDTH, np.nan, np.float32), np.zeros(WIDTH, np.uint8), "text", None],
    )
    def test_nonsense_counts_as_missing(self, entry: Any) -> None:
        cache = Listing()
        encoder = JinaClipEncoder(backend=BlockingBackend(), cache=cache)
        encoder.encode_text("a")
        cache.kept = dict.fromkeys(cache.kept, entry)
        np.testing.assert_allclose(encoder.encode_text("a"), unit(text_vector("a")), atol=1e-6)
        assert encoder.usage.cache_hits == 0

    def test_entries_of_different_widths_are_never_taken_together(self) -> None:
        backend, cache = BlockingBackend(dimensions=0, spec=None), Listing()
        backend.row_of = lambda batch, position: text_vector(batch.texts[position])  # width known to the service alone
        JinaClipEncoder(backend=backend, cache=cache).encode_text(["a", "b", "c"])
        keys = list(cache.kept)
        cache.kept[keys[0]] = cache.kept[keys[0]] + [1.0, 2.0]
        cache.kept[keys[1]] = cache.kept[keys[1]][:-2]
        with pytest.raises(BackendError, match="changed from"):
            JinaClipEncoder(backend=backend, cache=cache).encode_text(["a", "b", "c"])

    def test_packed_bits_are_not_cached_nor_touched(self) -> None:
        cache = MemoryCache()
        encoder = JinaClipEncoder(backend=BlockingBackend(embedding_type="ubinary"), cache=cache, dimensions=4)
        result = encoder.backend.result_of
        encoder.backend.result_of = lambda batch: type(result(batch))(np.array([[0b1010_0000]] * len(batch), np.uint8))
        rows = encoder.encode_text(["a", "b"])
        assert rows.dtype == np.uint8
        assert rows.tolist() == [[160], [160]]
        assert encoder.backend.batches[0].dimensions == 4
        assert len(cache) == 0

    def test_skipped_packed_rows_are_zero(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(embedding_type="binary"))
        result = encoder.backend.result_of
        encoder.backend.result_of = lambda batch: type(result(batch))(np.full((len(batch), 1), 255, np.uint8))
        assert encoder.encode_text(["a", None], on_error="skip").tolist() == [[255], [0]]

    def test_urls_that_are_sent_unfetched_are_not_cached(self) -> None:
        cache = MemoryCache()
        encoder = JinaClipEncoder(backend=BlockingBackend(sends_urls=True), cache=cache)
        encoder.backend.row_of = lambda batch, position: text_vector(batch.images[position].url)
        url = "https://images.invalid/a.png"
        for _ in range(2):
            rows = encoder.encode_image([url, url])
            np.testing.assert_allclose(rows, unit(np.stack([text_vector(url)] * 2)), atol=1e-6)
        assert [len(batch) for batch in encoder.backend.batches] == [1, 1]
        assert len(cache) == 0


def test_a_damaged_file_is_named_where_there_is_no_going_on_without(tmp_path: Path) -> None:
    (tmp_path / DISK_FILE).write_bytes(b"no database " * 1000)
    cache = DiskCache(tmp_path)
    for use in (cache.clear, cache.__len__):
        with pytest.raises(ConfigurationError, match=r"cannot be used \(file is not a database\); delete it"):
            use()
