"""Folders as people have them: names that no terminal should see raw, and files of kinds that are not read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.colour_backend import COLOURS

NAMES = (
    b"caf\xe9.png",  # Latin-1, as old archives leave it
    b"\xff\xfe\x00".replace(b"\x00", b"") + b".png",
    b"bytes:caf%E9.png",
    b"line\nbreak.png",
    b"\x1b[31mred\x1b[0m.png",
    b" blanks .png",
    b"-dash.png",
    b"<b>markup&amp;.png",
    "e\u0301 and \u00e9.png".encode(),
    "gnp\u202egpj.png".encode(),
    "\U0001f642.png".encode(),
    b"n" * 240 + b".png",
    b"quote\"'$HOME`.png",
    b"back\\slash.png",
)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder, itself of an odd name, with an image under every odd name, and a text under another."""
    root = tmp_path / os.fsdecode(b"fol\xe9der")
    root.mkdir()
    for number, name in enumerate(NAMES):
        colour = list(COLOURS.values())[number % len(COLOURS)]
        Image.new("RGB", (8 + number, 8), colour).save(Path(root, os.fsdecode(name)), format="PNG")
    Path(root, os.fsdecode(b"not\xe9.txt")).write_text("a red tomato")
    return root


def is_clean(text: str) -> bool:
    """Whether nothing here acts on a terminal."""
    return not any(ord(char) < 32 or 127 <= ord(char) < 160 or char == "\u202e" for char in text.replace("\n", ""))


class TestIndexAndSearch:
    def test_all_of_them_are_stored_and_found(self, run: Any, colours: Any, odd: Path, tmp_path: Path) -> None:
        store = tmp_path / "store"
        ran = run("index", odd, "--store", store, "--json", *colours.options)
        assert ran.code == 0, ran.err
        assert ran.json["files"]["added"] == len(NAMES) + 1
        again = run("index", odd, "--store", store, "--json", *colours.options)
        assert again.json["files"] == {
            "added": 0,
            "updated": 0,
            "unchanged": len(NAMES) + 1,
            "removed": 0,
            "left_out": 0,
        }
        found = run("search", "red", "--store", store, "--top", 100, "--json").json["results"]
        assert {os.fsencode(hit["name"]) for hit in found["images"]} == set(NAMES)
        for hit in found["images"]:  # what is printed opens the file
            with Image.open(hit["path"]) as image:
                assert image.size[0] >= 8
        shown = run("search", "red", "--store", store, "--top", 100)
        assert is_clean(shown.out)
        assert r"caf\xe9.png" in shown.out

    def test_a_broken_one_is_named_and_the_rest_goes_on(
        self, run: Any, colours: Any, odd: Path, tmp_path: Path
    ) -> None:
        Path(odd, os.fsdecode(b"bro\xe9ken.png")).write_bytes(b"no image")
        Path(odd, os.fsdecode(b"\x1b[2J\xe9.txt")).write_bytes(b"\xe9 is not UTF-8")
        ran = run("index", odd, "--store", tmp_path / "store", "--strict", *colours.options)
        assert ran.code == 3
        assert f"{len(NAMES) + 1} added" in ran.out
        assert r"left out bro\xe9ken.png: " in ran.err
        assert r"left out \x1b[2J\xe9.txt: " in ran.err
        assert is_clean(ran.err)

    def test_a_file_that_is_gone_leaves_the_store(self, run: Any, colours: Any, odd: Path, tmp_path: Path) -> None:
        run("index", odd, "--store", tmp_path / "store", *colours.options)
        Path(odd, os.fsdecode(NAMES[0])).unlink()
        ran = run("index", odd, "--store", tmp_path / "store", "--json", *colours.options)
        assert ran.json["files"]["removed"] == 1
        assert ran.json["images"] == len(NAMES) - 1


class TestEmbed:
    @pytest.mark.parametrize("extension", ["npy", "jsonl", "parquet"])
    def test_names_can_be_read_back(self, run: Any, colours: Any, odd: Path, tmp_path: Path, extension: str) -> None:
        output = tmp_path / f"rows.{extension}"
        ran = run("embed", "--images", odd, "--output", output, "--json", *colours.options)
        assert ran.code == 0, ran.err
        names = {Path(os.fsdecode(name)).name for name in map(os.path.basename, map(os.fsencode, inputs_of(output)))}
        assert names == {os.fsdecode(name) for name in NAMES}

    def test_down_a_pipe(self, run: Any, colours: Any, odd: Path) -> None:
        ran = run("embed", "--images", odd, *colours.options)
        assert ran.code == 0, ran.err
        rows = [json.loads(line) for line in ran.out.splitlines()]
        assert {os.path.basename(os.fsencode(row["input"])) for row in rows} == set(NAMES)
        assert is_clean(ran.out)

    def test_an_interrupted_job_goes_on(self, run: Any, colours: Any, odd: Path, tmp_path: Path) -> None:
        broken = Path(odd, os.fsdecode(b"zz\xe9.png"))
        broken.write_bytes(b"no image")
        command = ("embed", "--images", odd, "--output", tmp_path / "rows.npy", *colours.options)
        failed = run(*command)
        assert failed.code == 2
        assert r"zz\xe9.png" in failed.err
        assert is_clean(failed.err)
        skipped = run(*command, "--skip-errors", "--strict")
        assert skipped.code == 3
        assert "going on after" in skipped.err
        rows = np.load(tmp_path / "rows.npy")
        assert np.isnan(rows).any(axis=1).sum() == 1


class TestWhatIsNoFile:
    """Pipes, folders that may not be read, and extensions with something behind them."""

    def test_what_would_block_is_left_out(self, run: Any, colours: Any, folder: Path, tmp_path: Path) -> None:
        for name in ("pipe.png", "pipe.txt"):
            os.mkfifo(folder / name)
        for command in (("index", folder, "--store", tmp_path / "store", *colours.options), ("estimate", folder)):
            ran = run(*command, "--json", "--strict")
            assert ran.code == 3
            assert ran.json["failed"] == dict.fromkeys(("pipe.png", "pipe.txt"), "not a regular file")

    def test_a_dangling_link_says_so(self, run: Any, colours: Any, folder: Path, tmp_path: Path) -> None:
        (folder / "link.png").symlink_to("nowhere.png")
        ran = run("index", folder, "--store", tmp_path / "store", "--json", *colours.options)
        assert ran.json["failed"] == {"link.png": "No such file or directory"}

    @pytest.mark.parametrize("end", [" ", ".", " . "])
    def test_something_behind_the_extension(
        self, run: Any, colours: Any, folder: Path, tmp_path: Path, paint: Any, end: str
    ) -> None:
        paint(folder / "more.png", "red").rename(folder / f"more.png{end}")
        (folder / f"paper.pdf{end}").touch()
        ran = run("index", folder, "--store", tmp_path / "store", "--json", *colours.options)
        assert ran.json["images"] == 4
        assert set(ran.json["failed"]) == {f"paper.pdf{end}"}

    def test_a_folder_that_cannot_be_read_keeps_what_was_stored(
        self, run: Any, colours: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command = ("index", folder, "--store", tmp_path / "store", "--json", *colours.options)
        assert run(*command).json["images"] == 3
        scandir = os.scandir

        def refuse(path: Any) -> Any:  # permissions do not hold for the user root, who may run the tests
            if os.fspath(path).endswith("trip"):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        (folder / "leaf.jpg").unlink()
        ran = run(*command, "--strict")
        assert ran.code == 3
        assert ran.json["failed"] == {"trip": "a folder that cannot be read (Permission denied)"}
        assert ran.json["files"]["removed"] == 1  # the one that is really gone
        assert ran.json["images"] == 2

    def test_an_output_of_any_name(self, run: Any, colours: Any, folder: Path, tmp_path: Path) -> None:
        for extension in ("npy", "jsonl", "parquet"):
            output = Path(tmp_path, os.fsdecode(f"r\xe9sult.{extension}".encode("latin-1")))
            ran = run("embed", "--images", folder, "--output", output, *colours.options)
            assert ran.code == 0, ran.err
            assert output.is_file()
            assert r"r\xe9sult" in ran.out

    def test_what_was_typed_does_not_act_on_the_terminal(self, run: Any) -> None:
        ran = run("embed", "--bad\x1b[31m")
        assert ran.code == 2
        assert r"--bad\x1b[31m" in ran.err
        assert is_clean(ran.err)


class TestEvaluate:
    def test_a_report_names_them(self, run: Any, colours: Any, odd: Path, tmp_path: Path) -> None:
        Path(odd, os.fsdecode(b"not\xe9.txt")).unlink()  # a caption needs an image
        for name, colour in zip(NAMES, list(COLOURS) * 3, strict=False):
            Path(odd, os.fsdecode(name)).with_suffix(".txt").write_text(f"something {colour}\n")
        report = tmp_path / "report.json"
        ran = run("evaluate", odd, "--types", "float32", "--output", report, "--json", *colours.options)
        assert ran.code == 0, ran.err
        assert os.fsdecode(NAMES[0]) in json.dumps(json.loads(report.read_text("utf-8")), ensure_ascii=False)
        assert is_clean(ran.out.replace("  ", ""))


def inputs_of(output: Path) -> list[str]:
    """The inputs that a file of vectors names."""
    if output.suffix == ".npy":
        return [row["input"] for row in json.loads(output.with_suffix(".json").read_text("utf-8"))["rows"]]
    if output.suffix == ".jsonl":
        return [json.loads(line)["input"] for line in output.read_text("utf-8").splitlines()]
    from pyarrow import parquet

    from jina_clip_integrations.collections.names import decode_name

    return [decode_name(name) for name in parquet.read_table(output).column("input").to_pylist()]


OTHERS = {
    "paper.pdf": "a PDF: render its pages to images first",
    "letter.docx": "an office document: export its text",
    "photo.nef": "a camera's raw file: develop it",
    "photo.CR2": "a camera's raw file: develop it",
    "art.kra": "a layered drawing: export it",
    "logo.svg": "an SVG: it holds no pixels",
    "clip.mp4": "a video: extract frames",
    "photo.jxl": "JPEG XL: ",
}


class TestFilesOfOtherKinds:
    @pytest.fixture
    def mixed(self, folder: Path) -> Path:
        for name in OTHERS:
            (folder / "trip" / name).write_bytes(b"x")
        (folder / ".hidden.pdf").write_bytes(b"x")
        return folder

    @pytest.mark.parametrize("strict", [True, False])
    def test_index_says_what_to_do(self, run: Any, colours: Any, mixed: Path, tmp_path: Path, strict: bool) -> None:
        flags = ["--strict"] if strict else []
        ran = run("index", mixed, "--store", tmp_path / "store", "--json", *flags, *colours.options)
        assert ran.code == (3 if strict else 0)
        assert ran.json["files"]["left_out"] == len(OTHERS)
        assert set(ran.json["failed"]) == {f"trip/{name}" for name in OTHERS}  # nothing hidden, no .bin
        for name, reason in OTHERS.items():
            assert ran.json["failed"][f"trip/{name}"].startswith(reason)
        assert "left out trip/photo.CR2, trip/photo.nef: a camera's raw file" in ran.err

    def test_a_thousand_of_a_kind_are_one_line(self, run: Any, colours: Any, folder: Path, tmp_path: Path) -> None:
        for number in range(1000):
            (folder / f"{number:03}.pdf").touch()
        ran = run("index", folder, "--store", tmp_path / "store", *colours.options)
        assert "left out 000.pdf, 001.pdf, 002.pdf and 997 more: a PDF" in ran.err
        assert len(ran.err.splitlines()) < 10
        assert "1,000 left out" in ran.out

    def test_embed(self, run: Any, colours: Any, mixed: Path, tmp_path: Path) -> None:
        ran = run("embed", "--images", mixed, "--output", tmp_path / "a.npy", "--strict", "--json", *colours.options)
        assert ran.code == 3
        assert set(ran.json["failed"]) == {str(mixed / "trip" / name) for name in OTHERS}
        assert ran.json["count"] == 3
        assert "a PDF: render its pages" in ran.err

    def test_embed_of_nothing_else(self, run: Any, colours: Any, tmp_path: Path) -> None:
        folder = tmp_path / "documents"
        folder.mkdir()
        (folder / "paper.pdf").touch()
        ran = run("embed", "--images", folder, *colours.options)
        assert ran.code == 2
        assert "nothing to embed" in ran.err
        assert "paper.pdf: a PDF: render its pages" in ran.err

    def test_estimate(self, run: Any, mixed: Path) -> None:
        ran = run("estimate", mixed, "--strict", "--json")
        assert ran.code == 3
        assert set(ran.json["failed"]) == {f"trip/{name}" for name in OTHERS}
