"""A folder and its collection as one object: opening, what it refuses, and files that are served."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.collections.filters import Filters
from jina_clip_integrations.collections.folder import FolderCollection
from jina_clip_integrations.collections.query import Query
from jina_clip_integrations.errors import BackendError, ConfigurationError, ImageError, InputError, ServerError


def names(results: Any) -> list[str]:
    return [hit.name for hit in results.hits]


def test_words_and_images_find_images(open_indexed: Any, folder: Path) -> None:
    collection = open_indexed(folder)
    assert names(collection.search("red"))[0] == "apple.png"
    assert names(collection.search(Query.of(image=folder / "trip" / "sea.png")))[0] == "trip/sea.png"
    assert names(collection.search("red +blue^3 -white"))[0] == "trip/sea.png"
    assert names(collection.search("red", modality="text"))[0] == "list.txt"


def test_similar_to_a_hit_is_not_the_hit_itself(open_indexed: Any, folder: Path, paint: Any, colours: Any) -> None:
    paint(folder / "cherry.png", "red", (9, 9))
    collection = open_indexed(folder)
    before = colours.embedded
    found = collection.search(Query.of(similar_to="apple.png"), cut_off=None)
    assert colours.embedded == before
    assert names(found)[0] == "cherry.png"
    assert "apple.png" not in names(found)
    with pytest.raises(InputError, match="not in the collection"):
        collection.search(Query.of(similar_to="gone.png"))


def test_a_new_folder_is_empty_and_has_a_store_of_its_own(
    folder: Path, encoder: JinaClipEncoder, cache_home: Path
) -> None:
    with FolderCollection.open(folder, encoder=encoder) as collection:
        assert collection.search("red").hits == []
        assert collection.duplicates() == []
        assert collection.describe().files == 0
        assert Path(collection.store.location).is_relative_to(cache_home)
        with pytest.raises(InputError, match="not in the collection"):
            collection.image_path("apple.png")


def test_two_on_one_store(open_indexed: Any, folder: Path, encoder: JinaClipEncoder, tmp_path: Path) -> None:
    open_indexed(folder)
    with pytest.raises(BackendError, match="in use by another program"):
        FolderCollection.open(folder, encoder=encoder, store=tmp_path / "store")


def test_another_model_is_refused_and_the_store_let_go(open_indexed: Any, folder: Path, colours: Any) -> None:
    collection = open_indexed(folder)
    store = collection.store.location
    collection.close()
    narrow = JinaClipEncoder(backend=colours, dimensions=8)
    with pytest.raises(ConfigurationError, match="holds vectors of"):
        FolderCollection.open(folder, encoder=narrow, store=store)
    asked: list[Any] = []
    made = lambda held: asked.append(held) or JinaClipEncoder(backend=colours)  # noqa: E731
    with FolderCollection.open(folder, encoder=made, store=store) as again:
        assert asked[0].model == "colours"
        assert again.describe().images == 3


def test_everything_is_there_without_a_query(open_indexed: Any, folder: Path) -> None:
    collection = open_indexed(folder)
    assert sorted(hit.name for hit in collection.browse()) == ["apple.png", "leaf.jpg", "trip/sea.png"]
    assert [hit.name for hit in collection.browse(filters=Filters(folder="trip"))] == ["trip/sea.png"]
    assert {hit.modality for hit in collection.browse(modality="text")} == {"text"}


def test_a_lenient_cut_off_is_lower_and_hides_less(open_indexed: Any, paint: Any, tmp_path: Path) -> None:
    for number in range(60):
        paint(tmp_path / "many" / f"{number}.png", "blue" if number % 2 else "green", (24 + number, 24))
    collection = open_indexed(tmp_path / "many")
    strict, lenient = (collection.search("red", top=60, cut_off=rule) for rule in ("auto", "lenient"))
    assert lenient.cut_off < strict.cut_off
    assert lenient.hidden <= strict.hidden
    assert len(lenient.hits) + lenient.hidden == 60


def test_no_folder(tmp_path: Path, encoder: JinaClipEncoder) -> None:
    with pytest.raises(InputError, match="no folder"):
        FolderCollection.open(tmp_path / "nowhere", encoder=encoder)


def test_images_are_served_from_inside_the_folder_only(open_indexed: Any, folder: Path, paint: Any) -> None:
    outside = paint(folder.parent / "secret.png", "black")
    os.symlink(outside, folder / "link.png")
    collection = open_indexed(folder)
    assert collection.image_path("trip/sea.png") == folder / "trip" / "sea.png"
    with pytest.raises(ImageError, match="leads out of the folder"):
        collection.image_path("link.png")
    for name in ("../secret.png", str(outside), "data.bin", ".hidden.txt", "trip", ""):
        with pytest.raises(InputError, match="not in the collection"):
            collection.image_path(name)
    with pytest.raises(InputError, match="is a text"):
        collection.image_path("list.txt")
    (folder / "apple.png").unlink()
    with pytest.raises(ImageError, match="no longer there"):
        collection.image_path("apple.png")


def test_thumbnails_are_small_upright_and_bare(open_indexed: Any, folder: Path) -> None:
    tall = Image.new("RGB", (400, 200), "white")
    exif = tall.getexif()
    exif[0x0112] = 6
    tall.save(folder / "tall.jpg", exif=exif)
    collection = open_indexed(folder)
    made = Image.open(io.BytesIO(collection.thumbnail("tall.jpg", 100)))
    assert (made.size, made.format, dict(made.getexif())) == ((50, 100), "WEBP", {})
    (folder / "leaf.jpg").write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"leaf\.jpg"):
        collection.thumbnail("leaf.jpg", 100)


def test_a_folder_that_vanishes_is_said(open_indexed: Any, folder: Path) -> None:
    collection = open_indexed(folder)
    folder.rename(folder.parent / "elsewhere")
    with pytest.raises(ImageError, match=r"the folder .* is no longer there"):
        collection.image_path("apple.png")
    with pytest.raises(ImageError, match="is no longer there"):
        collection.thumbnail("apple.png", 100)
    with pytest.raises(InputError, match="cannot be read"):
        collection.index()
    assert names(collection.search("red", cut_off=None))[0] == "apple.png"


def test_a_backend_that_fails_while_searching(open_indexed: Any, folder: Path, colours: Any) -> None:
    collection = open_indexed(folder)
    colours.fail_after = (0, ServerError("the service failed"))
    with pytest.raises(ServerError, match="the service failed"):
        collection.search("red")
    assert names(collection.search(Query.of(similar_to="apple.png"), cut_off=None))
    colours.fail_after = None
    assert names(collection.search("red", cut_off=None))[0] == "apple.png"


@pytest.mark.parametrize("replaced", ["folder", "link", "pipe"])
def test_an_image_that_became_something_else(open_indexed: Any, folder: Path, replaced: str) -> None:
    collection = open_indexed(folder)
    path = folder / "apple.png"
    path.unlink()
    if replaced == "folder":
        path.mkdir()
    elif replaced == "link":
        os.symlink("/etc/passwd", path)
    else:
        os.mkfifo(path)
    with pytest.raises(ImageError, match=r"no longer there|leads out"):
        collection.thumbnail("apple.png", 100)


@pytest.mark.parametrize("name", ['<img src=x onerror="alert(1)">.png', "a\nb.png", "‮gnp.png", "caf\udce9.png"])
def test_strange_names_are_names(open_indexed: Any, folder: Path, paint: Any, name: str) -> None:
    paint(folder / name, "black")
    collection = open_indexed(folder)
    assert names(collection.search("black", cut_off=None))[0] == name
    assert collection.image_path(name) == folder / name
    assert collection.thumbnail(name, 16)
    with pytest.raises(InputError) as failed:
        collection.find(f"no {name}")
    assert "\n" not in str(failed.value)
