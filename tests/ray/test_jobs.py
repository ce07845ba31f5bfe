"""Jobs from every kind of source, run in this process: rows, bad rows, what a rerun does, what is refused."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as arrow_fs
import pytest
from PIL import Image
from pyarrow import parquet

from jina_clip_integrations.errors import BackendError, ConfigurationError, InputError
from jina_clip_integrations.ray import embed_dataset
from jina_clip_integrations.ray.lock import locked
from jina_clip_integrations.ray.manifest import Manifest, receipt_name
from jina_clip_integrations.ray.storage import Storage
from jina_clip_integrations.retrieval.vector_table import TableInfo, to_vectors
from tests.fakes import image_vector
from tests.ray.fake import expected_text, make_fake

pytestmark = pytest.mark.usefixtures("here")

TEXTS = [f"text {number}" for number in range(40)]


class Pixels:
    """An image as fakes take it."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def open(self) -> Any:
        return Image.fromarray(self.array)


def png(array: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def photo(number: int) -> Any:
    return np.random.default_rng(number).integers(0, 256, (3 + number % 4, 5, 3), np.uint8)


def unit_image(number: int) -> Any:
    row = image_vector(Pixels(photo(number)))
    return row / np.linalg.norm(row)


def embed(source: Any, folder: Path, **options: Any) -> Any:
    """Run a job into `folder / "out"`."""
    return embed_dataset(source, folder / "out", **{"backend": make_fake(), **options})


def vectors_of(folder: Path) -> Any:
    table = parquet.read_table(folder)
    width = TableInfo.from_metadata(table.schema.metadata, where="sink").dimensions
    return to_vectors(table["embedding"], width)


def failed_of(folder: Path) -> list[dict[str, Any]]:
    return parquet.read_table(folder / "_failed").to_pylist()


def expect(texts: list[str], task: str | None = None) -> Any:
    return np.stack([expected_text(text, task) for text in texts])


def text_file(folder: Path, texts: list[str] = TEXTS) -> Path:
    (folder / "x.txt").write_text("\n".join(texts))
    return folder / "x.txt"


# Sources


@pytest.mark.parametrize("size", [1, 7, 50, 10_000])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_belong_to_the_partition_in_which_they_begin(tmp_path: Path, size: int, ending: str) -> None:
    texts = ["short", "", "a rather longer line than the others " * 3, "ü", "  ", "last"]
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbf" + ending.join(texts).encode())
    (tmp_path / "y.txt").write_bytes((ending.join(TEXTS) + ending).encode())
    report = embed(tmp_path, tmp_path, partition_size=size)
    expected = [text for text in texts if text.strip()] + TEXTS
    assert parquet.read_table(tmp_path / "out")["input"].to_pylist() == expected
    assert report.rows == len(expected)
    np.testing.assert_allclose(vectors_of(tmp_path / "out"), expect(expected), atol=1e-6)


def test_a_line_that_is_no_utf_8_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"good\nb\xffd\n")
    assert embed(tmp_path / "x.txt", tmp_path).failed == 1
    [bad] = failed_of(tmp_path / "out")
    assert (bad["reason"], bad["position"]) == ("the line is no UTF-8 (byte 1)", 5)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_parquet_rows_keep_their_order_and_columns(tmp_path: Path, size: int) -> None:
    texts: list[str | None] = [*TEXTS]
    texts[5] = None
    table = pa.table({"sku": list(range(40)), "title": texts, "other": ["x"] * 40})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=9)
    report = embed(
        tmp_path / "a.parquet", tmp_path, text="title", carry=["sku"], dtype="float16", task="retrieval.query",
        partition_size=size,
    )  # fmt: skip
    made = parquet.read_table(tmp_path / "out")
    kept = [number for number in range(40) if number != 5]
    assert made["sku"].to_pylist() == kept
    assert made.schema.field("embedding").type == pa.list_(pa.float16(), 8)
    assert (report.rows, report.failed) == (39, 1)
    expected = expect([TEXTS[number] for number in kept], "retrieval.query")
    np.testing.assert_allclose(vectors_of(tmp_path / "out"), expected, atol=1e-3)
    [bad] = failed_of(tmp_path / "out")
    assert (bad["reason"], bad["position"], bad["sku"], bad["file"]) == ("'title' is null", 5, 5, "a.parquet")


def test_images_in_tables(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(png(photo(2)))
    (tmp_path / "t").mkdir()
    kinds = {
        "bytes": pa.array([png(photo(0)), png(photo(1)), b"no image at all, not even close", None], pa.binary()),
        "rows": pa.array(
            [{"bytes": png(photo(0)), "path": "0.png"}, {"bytes": png(photo(1)), "path": None},
             {"bytes": b"\x89PNG", "path": "bad.png"}, None],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        ),
        "paths": pa.array([str(path), f"file://{path}", str(tmp_path / "gone.png"), None], pa.string()),
    }  # fmt: skip
    for name, column in kinds.items():
        parquet.write_table(pa.table({"photo": column}), tmp_path / "t" / f"{name}.parquet")
        report = embed_dataset(tmp_path / "t" / f"{name}.parquet", tmp_path / name, image="photo", backend=make_fake())
        assert (report.rows, report.failed) == (2, 2)
        numbers = [2, 2] if name == "paths" else [0, 1]
        expected = np.stack([unit_image(number) for number in numbers])
        np.testing.assert_allclose(vectors_of(tmp_path / name), expected, atol=1e-6)
        assert [bad["position"] for bad in failed_of(tmp_path / name)] == [2, 3]


def test_rows_of_texts_and_images(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(png(photo(1)))
    rows = [
        {"t": "one", "n": 1},
        {"i": str(tmp_path / "p.png"), "n": 2.5},
        {"t": "two", "i": "both.png"},
        {},
        [],
        {"t": 7},
        {"t": "\ud800"},
        {"t": "three", "n": "many"},
        {"t": "four", "m": {"a": [1]}},
    ]
    lines = [json.dumps(row) for row in rows] + ["{no json"]
    with gzip.open(tmp_path / "x.jsonl.gz", "wt") as file:
        file.write("\n".join(lines))
    (tmp_path / "y.jsonl").write_text("\n".join(lines))
    for name in ("x.jsonl.gz", "y.jsonl"):
        out = tmp_path / name.partition(".")[0]
        report = embed_dataset(
            tmp_path / name, out, text="t", image="i", carry=["n", "m"], backend=make_fake(), partition_size=40
        )
        assert (report.rows, report.failed) == (4, 6)
        made = parquet.read_table(out)
        assert made["kind"].to_pylist() == ["text", "image", "text", "text"]
        # Of numbers and words the first file's column is one of JSON.
        assert made["n"].to_pylist() == ["1", "2.5", "many", None]
        assert made["m"].to_pylist() == [None, None, None, '{"a": [1]}']
        expected = np.stack([expected_text("one"), unit_image(1), expected_text("three"), expected_text("four")])
        np.testing.assert_allclose(vectors_of(out), expected, atol=1e-6)
        reasons = [bad["reason"] for bad in failed_of(out)]
        assert reasons[0] == "both 't' and 'i' are given; a row is a text or an image"
        assert reasons[2] == "the line is no JSON object"
        assert reasons[-1] == "the line is no JSON"


def test_a_carried_value_of_another_kind_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"t": "one", "n": 1}\n')
    (tmp_path / "b.jsonl").write_text('{"t": "two", "n": "2"}\n{"t": "three", "n": 3}\n')
    assert embed(tmp_path, tmp_path, text="t", carry=["n"]).failed == 1
    assert failed_of(tmp_path / "out")[0]["reason"] == "n: a str, but the column holds int64"


def test_images_of_a_folder_by_name_and_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/1.png", "a/2.png", "a.png", ".hidden/3.png", "_private/4.png", "notes.md"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(png(photo(1)))
    assert embed(tmp_path / "in", tmp_path).rows == 3
    names = parquet.read_table(tmp_path / "out")["input"].to_pylist()
    assert [Path(name).relative_to(tmp_path / "in").as_posix() for name in names] == ["a/2.png", "a.png", "b/1.png"]


@pytest.mark.parametrize("kind", ["subtree", "uri", "wrapped"])
def test_other_filesystems(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for number in range(5):
        (tmp_path / "in" / "deep" / f"{number}.png").write_bytes(png(photo(number)))
    (tmp_path / "in" / "bad.png").write_bytes(b"bad")
    subtree = arrow_fs.SubTreeFileSystem(str(tmp_path), arrow_fs.LocalFileSystem())
    if kind == "subtree":
        report = embed_dataset("in", "out", source_filesystem=subtree, sink_filesystem=subtree, backend=make_fake())
    elif kind == "uri":
        report = embed_dataset(f"file://{tmp_path}/in", f"file://{tmp_path}/out", backend=make_fake())
    else:
        report = embed_dataset("in", tmp_path / "out", source_filesystem=subtree, backend=make_fake())
    assert (report.rows, report.failed) == (5, 1)
    expected = np.stack([unit_image(number) for number in range(5)])
    np.testing.assert_allclose(vectors_of(tmp_path / "out"), expected, atol=1e-6)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda folder: folder / "gone", {}, "there is no such file or folder"),
        (lambda folder: folder, {}, "nothing to embed"),
        (lambda folder: [], {}, "an empty list"),
        (lambda folder: [folder / "gone.txt"], {}, "there is no such file"),
        (lambda folder: "nowhere://x", {}, "cannot be opened"),
        (lambda folder: text_file(folder), {"format": "csv"}, "choose one of 'images', 'parquet'"),
        (lambda folder: text_file(folder), {"text": "t"}, "has no columns"),
        (lambda folder: text_file(folder), {"backend": object()}, "cannot travel to a worker"),
        (lambda folder: text_file(folder), {"backend": "api", "http_client": object()}, "http_client is a live object"),
        (lambda folder: text_file(folder), {"task": "nonsense"}, "nonsense"),
        (lambda folder: text_file(folder), {"dtype": "int8"}, "choose one of 'float32'"),
        (lambda folder: text_file(folder), {"sink_format": "csv"}, "choose 'parquet' or 'lance'"),
        (lambda folder: text_file(folder), {"partition_size": 0}, "must be at least 1"),
        (lambda folder: text_file(folder), {"backend": "api", "embedding_type": "binary"}, "not packed bits"),
    ],
)
def test_what_cannot_work_is_refused(
    tmp_path: Path, make: Callable[[Path], Any], options: dict[str, Any], message: str
) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises((InputError, ConfigurationError), match=message):
        embed(make(tmp_path / "in"), tmp_path, **options)


def test_columns_have_to_be_there(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"t": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no column 'x'; it has 't'"):
        embed(tmp_path / "a.parquet", tmp_path, text="x")
    with pytest.raises(ConfigurationError, match="name the column to embed"):
        embed(tmp_path / "a.parquet", tmp_path)
    with pytest.raises(ConfigurationError, match="are columns of the output"):
        embed(tmp_path / "a.parquet", tmp_path, text="t", carry=["kind"])
    (tmp_path / "b.txt").write_text("a")
    with pytest.raises(
        ConfigurationError, match=r"several formats: parquet \(1\), text \(1\); choose one with format="
    ):
        embed(tmp_path, tmp_path, text="t")
    (tmp_path / "a.parquet").write_bytes(b"damaged")
    with pytest.raises((InputError, pa.ArrowInvalid)):
        embed(tmp_path / "a.parquet", tmp_path, text="t")


# Reruns


class StopError(Exception):
    """What ends a run in the middle."""


def stop_after(partitions: int) -> Callable[[Any], None]:
    def note(progress: Any) -> None:
        if progress.partitions == partitions:
            raise StopError

    return note


def test_a_rerun_computes_what_is_left(tmp_path: Path) -> None:
    source, log = text_file(tmp_path), tmp_path / "log"
    with pytest.raises(StopError):
        embed(source, tmp_path, backend=make_fake(log), partition_size=60, on_progress=stop_after(3))
    before = log.read_text()
    seen: list[Any] = []
    report = embed(source, tmp_path, backend=make_fake(log), partition_size=999, on_progress=seen.append)
    assert report.resumed_partitions == 3
    computed = [line.split(maxsplit=1)[1] for line in log.read_text().splitlines()]
    assert computed == TEXTS
    assert report.new_rows == len(TEXTS) - len(before.splitlines())
    assert (seen[-1].seconds_left, seen[-1].partitions) == (0.0, seen[-1].total_partitions)
    np.testing.assert_allclose(vectors_of(tmp_path / "out"), expect(TEXTS), atol=1e-6)
    again = embed(source, tmp_path, backend=make_fake(log))
    assert (again.rows, again.new_rows, again.workers) == (len(TEXTS), 0, 0)
    assert len(log.read_text().splitlines()) == len(TEXTS)


def test_rows_without_a_receipt_are_found_again(tmp_path: Path) -> None:
    texts = [*TEXTS]
    (tmp_path / "x.txt").write_bytes(b"\n".join(text.encode() for text in texts) + b"\nb\xffd")
    log = tmp_path / "log"
    first = embed(tmp_path / "x.txt", tmp_path, backend=make_fake(log), partition_size=60)
    for number in (0, first.partitions - 1):
        (tmp_path / "out" / receipt_name(number)).unlink()
    again = embed(tmp_path / "x.txt", tmp_path, backend=make_fake(log))
    assert (again.rows, again.failed, again.new_rows) == (len(TEXTS), 1, 0)
    assert len(log.read_text().splitlines()) == len(TEXTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": 4}, "vectors.jina_clip_dimensions was 8 and is 4"),
        ({"task": "retrieval.query"}, "vectors.task was None and is 'retrieval.query'"),
        ({"dtype": "float16"}, "vectors.dtype was 'float32' and is 'float16'"),
        ({"normalize": False}, "vectors.jina_clip_normalize was True and is False"),
        ({"background": "white"}, "vectors"),
    ],
)
def test_another_job_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    source = text_file(tmp_path)
    embed(source, tmp_path)
    with pytest.raises(ConfigurationError, match=message) as raised:
        embed(source, tmp_path, **options)
    assert "Choose another sink, or delete this one" in str(raised.value)


def test_a_source_that_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / f"{name}.txt").write_text(f"{name} one\n{name} two")
    embed(tmp_path / "in", tmp_path)
    (tmp_path / "in" / "d.txt").write_text("new")
    with pytest.raises(ConfigurationError, match=r"d\.txt is new"):
        embed(tmp_path / "in", tmp_path)
    (tmp_path / "in" / "d.txt").unlink()
    (tmp_path / "in" / "a.txt").rename(tmp_path / "a.txt")
    with pytest.raises(ConfigurationError, match=r"a\.txt is gone"):
        embed(tmp_path / "in", tmp_path)
    shutil.copy2(tmp_path / "a.txt", tmp_path / "in" / "a.txt")
    (tmp_path / "in" / "b.txt").write_text("b 1st\nb two")
    with pytest.raises(ConfigurationError, match=r"b\.txt has changed.*Choose another sink"):
        embed(tmp_path / "in", tmp_path)


def test_a_source_that_changes_during_the_job_ends_it(tmp_path: Path) -> None:
    source = text_file(tmp_path)

    def change(progress: Any) -> None:
        source.write_text("other")

    with pytest.raises(ConfigurationError, match=r"x\.txt has changed since the job began"):
        embed(source, tmp_path, partition_size=60, on_progress=change)


def test_a_folder_with_other_files_is_no_sink(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.parquet").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"holds mine\.parquet, which no job of this kind made"):
        embed(text_file(tmp_path), tmp_path)


def test_files_that_others_put_into_a_sink_are_named(tmp_path: Path) -> None:
    source = text_file(tmp_path)
    embed(source, tmp_path)
    (tmp_path / "out" / "part-000099.parquet").write_bytes(b"")
    with pytest.raises(BackendError, match=r"part-000099\.parquet is not of this job"):
        embed(source, tmp_path)


def test_one_program_at_a_time(tmp_path: Path) -> None:
    with locked(Storage.of(tmp_path / "out")), pytest.raises(BackendError, match="another program is writing"):
        embed(text_file(tmp_path), tmp_path)
    assert embed(text_file(tmp_path), tmp_path).rows == len(TEXTS)


def test_a_worker_of_a_job_that_was_replaced_leaves_nothing(tmp_path: Path) -> None:
    def replace(progress: Any) -> None:
        path = tmp_path / "out" / "_jina_clip" / "job.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "id": "other"}))

    with pytest.raises(BackendError, match="another job took the place"):
        embed(text_file(tmp_path), tmp_path, partition_size=60, on_progress=replace)
    assert len(list((tmp_path / "out").glob("part-*"))) == 1


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    embed(text_file(tmp_path), tmp_path)
    (tmp_path / "out" / "_jina_clip" / "job.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"job\.json is damaged"):
        embed(text_file(tmp_path), tmp_path)


def test_a_failing_backend_ends_the_job_and_keeps_what_is_done(tmp_path: Path) -> None:
    def make() -> Any:
        backend = make_fake()()

        def fail(batch: Any) -> None:
            if "text 20" in batch.texts:
                raise BackendError("the service is down")

        backend.before = fail
        return backend

    with pytest.raises(BackendError, match="the service is down"):
        embed(text_file(tmp_path), tmp_path, backend=make, partition_size=60)
    done = len(Manifest(Storage.of(tmp_path / "out")).finished())
    assert done > 0
    assert embed(tmp_path / "x.txt", tmp_path).resumed_partitions == done


def test_a_partition_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    manifest = Manifest(Storage.of(tmp_path))
    manifest.storage.make_folder("_jina_clip/attempts")
    assert [manifest.count_attempt(3, "a") for _ in range(3)] == [1, 2, 3]
    assert manifest.count_attempt(3, "b") == 1


# Keys


def test_no_key_is_written_or_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jina_clip_integrations.ray import JinaClipBatchEmbedder
    from jina_clip_integrations.ray.recipe import EncoderRecipe

    monkeypatch.setenv("JINA_API_KEY", "jina_secret_of_env")
    for options in ({"api_key": "jina_secret"}, {"headers": {"Authorization": "jina_secret"}}, {}):
        recipe = EncoderRecipe(backend="api", **options).with_key_of_here()
        embedder = JinaClipBatchEmbedder(text="t", **options)
        assert "secret" not in f"{recipe!r} {vars(recipe)} {embedder!r} {recipe.describe(('api_key', 'headers'))}"
        assert b"secret" not in pickle.dumps(recipe) + pickle.dumps(embedder)
        assert "secret" not in repr(recipe.secrets())
        travelled = pickle.loads(pickle.dumps(recipe)).with_secrets(pickle.loads(pickle.dumps(recipe.secrets())))
        assert {**travelled.open()._options} == {**recipe.open()._options}
    assert recipe.open()._options["api_key"] == "jina_secret_of_env"


def test_lance_gets_one_commit(tmp_path: Path) -> None:
    lance = pytest.importorskip("lance")
    source, sink = text_file(tmp_path), tmp_path / "x.lance"
    with pytest.raises(StopError):
        embed_dataset(source, sink, backend=make_fake(), partition_size=60, on_progress=stop_after(3))
    report = embed_dataset(source, sink, backend=make_fake(tmp_path / "log"))
    assert report.resumed_partitions == 3
    for _ in range(2):
        dataset = lance.dataset(str(sink))
        table = dataset.to_table()
        assert dataset.version == 1
        assert table["input"].to_pylist() == TEXTS
        assert TableInfo.from_metadata(dataset.schema.metadata, where="x").dimensions == 8
        np.testing.assert_allclose(to_vectors(table["embedding"], 8), expect(TEXTS), atol=1e-6)
        assert embed_dataset(source, sink, backend=make_fake()).new_rows == 0
    shutil.rmtree(sink / "_jina_clip")
    with pytest.raises(ConfigurationError, match="no job of this kind made"):
        embed_dataset(source, sink, backend=make_fake())
