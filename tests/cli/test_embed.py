"""`jina-clip embed`: every source of input in every format of output, and what an interruption leaves."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from jina_clip_integrations.cli.embed_job import Job, job_digest
from jina_clip_integrations.cli.vector_files import Source
from jina_clip_integrations.errors import ServerError
from jina_clip_integrations.retrieval.fingerprint import VectorFingerprint
from tests.command_line import word_ids

Rows = list[tuple[str, str, Any]]


def read_npy(path: Path) -> Rows:
    names = json.loads(path.with_suffix(".json").read_text("utf-8"))["rows"]
    return [(row["kind"], row["input"], vector) for row, vector in zip(names, np.load(path), strict=True)]


def read_jsonl(path: Path) -> Rows:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [(row["kind"], row["input"], row["embedding"]) for row in rows]


def read_parquet(path: Path) -> Rows:
    rows = pyarrow.parquet.read_table(path).to_pylist()
    return [(row["kind"], row["input"], row["embedding"]) for row in rows]


READERS: dict[str, Callable[[Path], Rows]] = {".npy": read_npy, ".jsonl": read_jsonl, ".parquet": read_parquet}

SOURCES = {
    "words": (["a red thing", "naïve 黒"], ["a red thing", "naïve 黒"]),
    "file": (["--texts", "{lines}"], ["first blue", "second"]),
    "stdin": (["--texts", "-"], ["from a pipe", "again"]),
    "image": (["--images", "{mine}/apple.png"], ["{mine}/apple.png"]),
    "folder": (["--images", "{mine}"], ["{mine}/apple.png", "{mine}/leaf.jpg", "{mine}/trip/sea.png"]),
    "mixed": (
        ["a word", "--images", "{mine}/leaf.jpg", "{mine}/trip"],
        ["a word", "{mine}/leaf.jpg", "{mine}/trip/sea.png"],
    ),
}


@pytest.fixture
def places(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], list[str]]:
    """Fill in where things are."""
    lines = tmp_path / "lines.txt"
    lines.write_text("first blue\n\nsecond\n", "utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe\nagain\n"))
    return lambda words: [word.format(mine=folder.resolve(), lines=lines) for word in words]


@pytest.fixture
def expected(colours: Any, places: Any) -> Callable[[list[str]], np.ndarray]:
    """The rows that the encoder itself gives for these inputs."""
    from jina_clip_integrations import JinaClipEncoder

    def rows(inputs: list[str]) -> np.ndarray:
        items = [{"image": one} if one.startswith("/") else {"text": one} for one in inputs]
        return JinaClipEncoder(backend=colours).encode(items)

    return rows


@pytest.mark.parametrize("extension", READERS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_in_every_format(
    run: Any, colours: Any, places: Any, expected: Any, tmp_path: Path, source: str, extension: str
) -> None:
    arguments, inputs = (places(words) for words in SOURCES[source])
    output = tmp_path / f"vectors{extension}"
    ran = run("embed", *arguments, "--output", output, *colours.options, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["count"], ran.json["dimensions"], ran.json["failed"]) == (len(inputs), 16, {})
    rows = READERS[extension](output)
    assert [name for _, name, _ in rows] == inputs
    assert [kind for kind, _, _ in rows] == ["image" if one.startswith("/") else "text" for one in inputs]
    np.testing.assert_array_equal(np.float32([vector for _, _, vector in rows]), expected(inputs))
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("source", SOURCES)
def test_without_output_json_lines_go_to_stdout(
    run: Any, colours: Any, places: Any, expected: Any, source: str
) -> None:
    arguments, inputs = (places(words) for words in SOURCES[source])
    ran = run("embed", *arguments, *colours.options)
    assert ran.code == 0, ran.err
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["input"] for row in rows] == inputs
    np.testing.assert_array_equal(np.float32([row["embedding"] for row in rows]), expected(inputs))


def test_formats_know_the_model(run: Any, colours: Any, tmp_path: Path) -> None:
    for name in ("x.npy", "x.parquet"):
        run("embed", "one", "--output", tmp_path / name, *colours.options, "--dimensions", 8)
    about = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert (about["model"], about["dimensions"], about["normalized"]) == ("colours", 8, True)
    schema = pyarrow.parquet.read_schema(tmp_path / "x.parquet")
    assert schema.metadata[b"dimensions"] == b"8"
    assert schema.field("embedding").type.list_size == 8
    assert VectorFingerprint.from_metadata(schema.metadata) == VectorFingerprint("colours", 8)


def test_a_quick_look_is_said_in_the_file_and_another_job(run: Any, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.parquet"
    assert run("embed", "--images", folder, "--output", output, "--model", "demo", "--image-size", 48).code == 0
    held = VectorFingerprint.from_metadata(pyarrow.parquet.read_schema(output).metadata)
    assert held is not None
    assert held.image_size == 48
    job = Job([Source("text", "one")])
    digests = {job_digest(job, replace(held, image_size=size)) for size in (0, 48, 56)}
    assert len(digests) == 3


@pytest.mark.parametrize("extension", READERS)
@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 3)], ids=word_ids)
def test_bad_images_can_be_left_out(
    run: Any, colours: Any, folder: Path, tmp_path: Path, extension: str, strict: Any, code: int
) -> None:
    (folder / "broken.png").write_bytes(b"no image")
    output = tmp_path / f"x{extension}"
    ran = run("embed", "--images", folder, "--output", output, *colours.options, "--skip-errors", *strict, "--json")
    assert ran.code == code
    rows = {Path(name).name: vector for _, name, vector in READERS[extension](output)}
    assert rows["broken.png"] is None or np.isnan(rows["broken.png"]).all()
    assert np.isfinite(rows["apple.png"]).all()
    assert [Path(name).name for name in ran.json["failed"]] == ["broken.png"]
    assert "left out" in ran.err


def test_a_bad_image_stops_by_default_and_is_named(run: Any, colours: Any, folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes(b"no image")
    ran = run("embed", "word", "--images", folder, "--output", tmp_path / "x.npy", *colours.options)
    assert ran.code == 2
    assert "input 2: " in ran.err
    assert "broken.png" in ran.err
    assert not (tmp_path / "x.npy").exists()


@pytest.mark.parametrize("extension", READERS)
@pytest.mark.parametrize(("failure", "code"), [(KeyboardInterrupt(), 130), (ServerError("it failed"), 1)], ids=word_ids)
def test_the_same_command_goes_on_after_an_interruption(
    run: Any, colours: Any, tmp_path: Path, extension: str, failure: BaseException, code: int
) -> None:
    texts = [f"text {number}" for number in range(10)]
    output = tmp_path / f"x{extension}"
    command = ["embed", *texts, "--output", output, *colours.options]
    colours.fail_after = (8, failure)
    ran = run(*command)
    assert ran.code == code
    assert "8 of 10 vectors are kept" in ran.err
    assert not output.exists()
    colours.fail_after = None
    again = run(*command)
    assert "going on after 8 rows" in again.err
    assert colours.embedded == 10
    assert [name for _, name, _ in READERS[extension](output)] == texts


@pytest.mark.parametrize("change", [["--dimensions", "8"], ["one more"]], ids=word_ids)
def test_another_job_does_not_go_on_with_the_rows_of_this_one(
    run: Any, colours: Any, tmp_path: Path, change: list[str]
) -> None:
    texts = [f"text {number}" for number in range(6)]
    colours.fail_after = (4, KeyboardInterrupt())
    run("embed", *texts, "--output", tmp_path / "x.npy", *colours.options)
    colours.fail_after = None
    ran = run("embed", *texts, *change, "--output", tmp_path / "x.npy", *colours.options)
    assert "going on" not in ran.err
    assert len(np.load(tmp_path / "x.npy")) == (7 if change == ["one more"] else 6)


def test_an_interrupted_pipe_leaves_no_working_file(run: Any, colours: Any, tmp_path: Path) -> None:
    colours.fail_after = (0, KeyboardInterrupt())
    ran = run("embed", "one", "--output", tmp_path / "x.npy", *colours.options)
    assert ran.code == 130
    assert not list(tmp_path.glob("x.npy*"))


def test_a_cache_saves_the_second_run(run: Any, colours: Any, folder: Path, tmp_path: Path) -> None:
    command = ["embed", "word", "--images", folder, *colours.options, "--cache", tmp_path / "cache"]
    first, before = run(*command).out, colours.embedded
    assert run(*command).out == first
    assert colours.embedded == before == 4


def test_a_text_is_never_opened(run: Any, colours: Any, folder: Path) -> None:
    path = str(folder / "apple.png")
    ran = run("embed", path, *colours.options)
    assert json.loads(ran.out)["kind"] == "text"
    assert f"--images {path}" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to embed"),
        (["--images", "nowhere.png"], "no such file or folder"),
        (["--texts", "nowhere.txt"], "nowhere.txt"),
        (["word", "--output", "x.csv"], "must end in .npy, .parquet, .jsonl"),
        (["word", "--output", "no/where/x.npy"], "there is no folder"),
        (["word", "--backend", "cloud"], "'cloud'"),
        (["word", "--backend", "no_such_module:make"], "no_such_module"),
        (["word", "--dimensions", "-3"], "positive integer"),
        (["word", "--batch-size", "many"], "positive integer"),
    ],
    ids=word_ids,
)
def test_bad_requests_are_one_line(run: Any, colours: Any, arguments: list[str], said: str) -> None:
    options = () if "--backend" in arguments else colours.options
    ran = run("embed", *arguments, *options)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_a_missing_extra_names_its_line(run: Any, colours: Any, monkeypatch: Any, tmp_path: Path) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else found(name))
    ran = run("embed", "word", "--output", tmp_path / "x.parquet", *colours.options)
    assert ran.code == 2
    assert 'pip install "jina-clip-integrations[parquet]"' in ran.err


def test_without_a_key_the_service_is_not_asked(run: Any) -> None:
    ran = run("embed", "word")
    assert ran.code == 2
    assert "JINA_API_KEY" in ran.err


class TestPrivateAddresses:
    URL = "http://127.0.0.1:9/a.png"

    @pytest.mark.parametrize("how", [["embed", "--images", URL], ["embed", "--images", URL, "--skip-errors"]])
    def test_are_refused_with_the_option_that_allows_them(self, run: Any, how: list[str], colours: Any) -> None:
        ran = run(*how, *colours.options)
        assert "public addresses only; --allow-private-addresses allows others" in ran.err

    def test_are_asked_where_they_are_allowed(self, run: Any, colours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jina_clip_integrations.images.fetch.sleep", lambda seconds: None)
        ran = run("embed", "--images", self.URL, "--allow-private-addresses", *colours.options)
        assert ran.code == 2
        assert "cannot be fetched" in ran.err
