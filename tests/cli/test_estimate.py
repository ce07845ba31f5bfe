"""`jina-clip estimate`: tiles, prices and what resizing saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations.cli.estimate import Subtotal, describe_saving, format_dollars
from tests.command_line import word_ids


@pytest.fixture
def album(tmp_path: Path, paint: Any) -> Path:
    """Images of 1, 2 and 4 tiles of v2 (1, 12 and 9 of v1), and a text."""
    root = tmp_path / "album"
    paint(root / "small.png", "red", (200, 100))
    paint(root / "wide.png", "green", (750, 500))
    paint(root / "below" / "square.jpg", "blue", (600, 600))
    (root / "note.txt").write_text("How is the weather today?", "utf-8")
    return root


@pytest.mark.obligation("26")
@pytest.mark.parametrize(
    ("model", "as_they_are", "resized"), [("jina-clip-v2", 28_000, 12_000), ("jina-clip-v1", 22_000, 3_000)]
)
def test_tiles_are_counted_as_documented(run: Any, album: Path, model: str, as_they_are: int, resized: int) -> None:
    ran = run("estimate", album, "--model", model, "--json")
    assert ran.code == 0, ran.err
    images, texts, total = (ran.json[part] for part in ("images", "texts", "total"))
    assert (images["files"], images["tokens"], images["tokens_resized"]) == (3, as_they_are, resized)
    assert images["usd"] == pytest.approx(as_they_are * 0.05e-6)
    assert texts["files"] == 1
    assert 6 <= texts["tokens"] == texts["tokens_resized"] <= 12
    assert total["tokens"] == as_they_are + texts["tokens"]
    assert total["usd_resized"] == pytest.approx((resized + texts["tokens"]) * 0.05e-6)


def test_people_read_a_table_and_the_saving(run: Any, album: Path) -> None:
    ran = run("estimate", album)
    lines = ran.out.splitlines()
    assert lines[0] == "jina-clip-v2 at $0.05 per million tokens; an estimate, nothing was sent."
    row = next(line for line in lines if line.startswith("images"))
    assert row.split() == ["images", "3", "28,000", "$0.0014", "12,000", "$0.0006"]
    assert "saves 16,000 tokens, 57%, $0.0008" in lines[-1]


def test_the_price_can_be_set(run: Any, album: Path) -> None:
    ran = run("estimate", album, "--price", "1000000", "--json")
    assert ran.json["images"]["usd"] == 28_000


def test_a_long_text_is_counted_by_passage(run: Any, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("\n\n".join(["All work and no play makes Jack a dull boy."] * 500), "utf-8")
    ran = run("estimate", tmp_path, "--json")
    assert 4_000 < ran.json["texts"]["tokens"] < 12_000


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 3)], ids=word_ids)
def test_unreadable_files_are_named(run: Any, album: Path, strict: Any, code: int) -> None:
    (album / "broken.png").write_bytes(b"nothing")
    ran = run("estimate", album, "--json", *strict)
    assert ran.code == code
    assert list(ran.json["failed"]) == ["broken.png"]
    assert ran.json["images"]["files"] == 3
    assert "left out broken.png" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no folder"),
        (["{album}", "--model", "demo"], "no price is known"),
        (["{album}", "--price", "free"], "not a price"),
        (["{empty}"], "no images"),
    ],
    ids=word_ids,
)
def test_bad_requests_are_one_line(run: Any, album: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "empty").mkdir()
    ran = run("estimate", *[word.format(album=album, empty=tmp_path / "empty") for word in arguments])
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_small_images_leave_nothing_to_save() -> None:
    assert "saves nothing" in describe_saving(Subtotal(files=2, tokens=8000, tokens_resized=8000), 2, 0.05)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (0.0004, "$0.0004"),
        (0.0126, "$0.0126"),
        (0.051, "$0.051"),
        (6.5e-7, "<$0.0001"),
        (1234.5, "$1,234.50"),
    ],
)
def test_prices_are_readable(amount: float, text: str) -> None:
    assert format_dollars(amount) == text
