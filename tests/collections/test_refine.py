"""Looking at the best hits again: what a quick look puts in the wrong place comes to its own, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.cache import MemoryCache
from jina_clip_integrations.collections.filters import Filters
from jina_clip_integrations.collections.folder import FolderCollection
from jina_clip_integrations.collections.query import Query
from jina_clip_integrations.collections.refine import Refiner
from jina_clip_integrations.collections.search import Results
from jina_clip_integrations.collections.store import FolderStore
from jina_clip_integrations.errors import BackendError, ConfigurationError, InputError
from tests.fakes import unit

RED, BLUE, GREEN = (220, 20, 20), (30, 60, 220), (20, 170, 40)
DARK = (170, 20, 20)


class Corner:
    """An image of which only the corner is seen."""

    def __init__(self, image: Any) -> None:
        self._image = image
        self.label, self.url = image.label, image.url

    def open(self) -> Image.Image:
        return self._image.open().crop((0, 0, 4, 4))


@pytest.fixture
def quick(colours: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A backend of the same model that takes an image's corner for the whole."""
    whole = type(colours)

    class Quick(whole):  # type: ignore[valid-type]
        reduced_image_size = 16
        cache_identity = "colours/image_size=16"

        def _embed_one(self, batch: Any, position: int, rows: Any, errors: Any) -> None:
            if batch.modality == "image":
                batch = batch.take([position])
                batch = type(batch)(modality="image", images=[Corner(batch.images[0])], isolate_errors=True)
                found: dict[int, Any] = {}
                super()._embed_one(batch, 0, found, errors)
                rows.update({position: found[0]} if found else {})
            else:
                super()._embed_one(batch, position, rows, errors)

    return Quick()


def paint_corner(path: Path, corner: Any, rest: Any) -> None:
    image = Image.new("RGB", (24, 24), rest)
    image.paste(corner, (0, 0, 4, 4))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """By their corners `a` is the reddest, by what they show `c` is; `z` is blue all over, and there is a text."""
    root = tmp_path / "mine"
    paint_corner(root / "a.png", RED, BLUE)
    paint_corner(root / "b.png", DARK, DARK)
    paint_corner(root / "c.png", (150, 60, 40), RED)
    paint_corner(root / "deep" / "z.png", BLUE, BLUE)
    (root / "note.txt").write_text("a red note", "utf-8")
    return root


@pytest.fixture
def collection(root: Path, quick: Any, tmp_path: Path) -> Iterator[FolderCollection]:
    with FolderCollection.open(root, encoder=JinaClipEncoder(backend=quick), store=tmp_path / "store") as opened:
        opened.index()
        yield opened


@pytest.fixture
def refiner(collection: FolderCollection, encoder: JinaClipEncoder) -> Refiner:
    return collection.refiner(encoder)


def names(results: Results) -> list[str]:
    return [hit.name for hit in results.hits]


def test_what_the_quick_look_misplaced_is_put_right(collection: FolderCollection, refiner: Refiner) -> None:
    assert names(collection.search("red", cut_off=None)) == ["a.png", "b.png", "c.png", "deep/z.png"]
    found = refiner.search("red", cut_off=None)
    assert names(found) == ["c.png", "b.png", "a.png", "deep/z.png"]
    assert found.refined == 4


def test_scores_are_the_cosines_of_the_second_encoder(refiner: Refiner, encoder: JinaClipEncoder, root: Path) -> None:
    hits = refiner.search("red", cut_off=None).hits
    query = unit(encoder.encode_text(["red"]))[0]
    expected = unit(encoder.encode_image([root / hit.name for hit in hits])) @ query
    np.testing.assert_allclose([hit.score for hit in hits], expected, atol=1e-6)


def test_only_the_best_are_looked_at_again_and_stand_in_front(
    collection: FolderCollection, refiner: Refiner, colours: Any
) -> None:
    before = colours.embedded
    plain = collection.search("red", cut_off=None)
    found = refiner.search("red", cut_off=None, refine=2)
    assert (names(found), found.refined) == (["b.png", "a.png", "c.png", "deep/z.png"], 2)
    assert colours.embedded - before == 2 + 1, "two images and the words"
    assert found.hits[2:] == plain.hits[2:], "those behind have the scores of the quick look"
    one = refiner.search("red", cut_off=None, refine=3, top=1)
    assert (names(one), one.refined) == (["c.png"], 1)
    assert names(refiner.search("red", cut_off=None, filters=Filters(folder="deep"))) == ["deep/z.png"]


def test_nothing_is_computed_twice(refiner: Refiner, colours: Any) -> None:
    first = refiner.search("red", cut_off=None)
    before = colours.embedded
    assert refiner.search("red", cut_off=None) == first
    assert colours.embedded == before
    refiner.search("blue", cut_off=None)
    assert colours.embedded == before + 1, "the words alone"


def test_the_encoders_own_cache_is_used(collection: FolderCollection, colours: Any) -> None:
    cache = MemoryCache()
    collection.refiner(JinaClipEncoder(backend=colours, cache=cache)).search("red", cut_off=None)
    before = colours.embedded
    collection.refiner(JinaClipEncoder(backend=colours, cache=cache)).search("red", cut_off=None)
    assert colours.embedded == before


def test_many_threads_compute_an_image_once(refiner: Refiner, colours: Any) -> None:
    before, start = colours.embedded, threading.Barrier(6)

    def search(_: int) -> list[str]:
        start.wait()
        return names(refiner.search("red", cut_off=None))

    with ThreadPoolExecutor(6) as pool:
        assert set(map(tuple, pool.map(search, range(6)))) == {("c.png", "b.png", "a.png", "deep/z.png")}
    # Words are embedded outside of the lock, at worst once in each thread.
    assert colours.embedded - before <= 4 + 6


@pytest.mark.parametrize("broken", ["gone", "no image"])
def test_a_file_that_cannot_be_seen_any_more_stands_behind(refiner: Refiner, root: Path, broken: str) -> None:
    (root / "a.png").unlink() if broken == "gone" else (root / "a.png").write_bytes(b"none")
    found = refiner.search("red", cut_off=None, refine=3)
    assert (names(found), found.refined) == (["c.png", "b.png", "a.png", "deep/z.png"], 2)
    for name in ("b.png", "c.png"):
        (root / name).unlink()
    left = refiner.search("red", cut_off=None, refine=3)
    assert (names(left), left.refined) == (["a.png", "b.png", "c.png", "deep/z.png"], 0), "as the quick look had it"


def test_a_changed_file_is_judged_by_what_it_shows_now(refiner: Refiner, root: Path) -> None:
    assert names(refiner.search("red", cut_off=None))[0] == "c.png"
    paint_corner(root / "c.png", RED, GREEN)
    assert names(refiner.search("red", cut_off=None))[0] == "b.png"


def test_the_cut_off_is_about_the_new_scores(refiner: Refiner) -> None:
    everything = refiner.search("red", cut_off=None)
    limit = everything.hits[1].score
    found = refiner.search("red", cut_off=limit, nearest=2)
    assert (names(found), found.hidden, found.refined) == (["c.png", "b.png"], 2, 2)
    nothing = refiner.search("red", cut_off=2.0, nearest=2)
    assert (nothing.hits, nothing.hidden, nothing.refined) == ([], 4, 0)
    assert [hit.name for hit in nothing.nearest] == ["c.png", "b.png"]


def test_an_image_in_the_query_is_seen_again_too(refiner: Refiner, collection: FolderCollection, root: Path) -> None:
    query = Query.of(image=root / "a.png")  # a red corner on blue
    assert names(collection.search(query, cut_off=None))[:2] == ["a.png", "b.png"]
    assert names(refiner.search(query, cut_off=None))[:2] == ["a.png", "deep/z.png"]
    like = Query.of(similar_to="a.png")
    assert names(collection.search(like, cut_off=None))[0] == "b.png"
    assert names(refiner.search(like, cut_off=None)) == ["deep/z.png", "b.png", "c.png"]
    (root / "a.png").unlink()
    with pytest.raises(InputError, match=r"'a\.png' is no longer there"):
        refiner.search(like, cut_off=None)


def test_texts_are_as_they_were(refiner: Refiner, collection: FolderCollection) -> None:
    query = Query.of(text="red", similar_to="note.txt")
    found = refiner.search("red", modality="text", cut_off=None)
    assert found == collection.search("red", modality="text", cut_off=None)
    assert (found.refined, len(found.hits)) == (0, 1)
    assert refiner.search(query, cut_off=None).refined == 4
    assert refiner.refine(found, "red") == found


def test_results_of_a_search_that_was_made_already(refiner: Refiner, collection: FolderCollection) -> None:
    plain = collection.search("red", cut_off=None)
    assert refiner.refine(plain, "red") == refiner.search("red", cut_off=None)
    assert names(refiner.refine(plain, Query.of(text="red"), most=1)) == names(plain)
    assert refiner.refine(Results([]), "red") == Results([])


def test_a_failing_backend_is_told(refiner: Refiner, colours: Any) -> None:
    colours.fail_after = (0, BackendError("gone fishing"))
    with pytest.raises(BackendError, match="gone fishing"):
        refiner.search("red")


@pytest.mark.parametrize(
    ("options", "said"), [({"refine": 0}, "refine=0"), ({"top": 0}, "top=0"), ({"cut_off": float("nan")}, "cut_off")]
)
def test_what_cannot_work_is_refused_before_anything_is_embedded(
    refiner: Refiner, colours: Any, quick: Any, options: dict[str, Any], said: str
) -> None:
    before = colours.embedded, quick.embedded
    with pytest.raises(InputError, match=said):
        refiner.search("red", **options)
    assert (colours.embedded, quick.embedded) == before


def test_only_an_encoder_that_sees_more_of_the_same_model_refines(
    collection: FolderCollection, colours: Any, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="nothing can be refined"):
        collection.refiner(JinaClipEncoder(backend=quick))
    with pytest.raises(ConfigurationError, match="cannot be compared"):
        collection.refiner(JinaClipEncoder(backend=colours, dimensions=8))
    monkeypatch.setattr(type(colours), "reduced_image_size", 24, raising=False)
    assert collection.refiner(JinaClipEncoder(backend=colours)).search("red", cut_off=None).refined == 4
    monkeypatch.setattr(type(colours), "reduced_image_size", 8)
    with pytest.raises(ConfigurationError, match="images of 8 pixels"):
        collection.refiner(JinaClipEncoder(backend=colours))


def test_an_empty_collection_is_checked_once_it_is_filled(
    root: Path, open_empty: Callable[[Any], FolderCollection], encoder: JinaClipEncoder
) -> None:
    full = open_empty(encoder)
    refiner = full.refiner(encoder)
    assert refiner.search("red") == Results([])
    full.index()
    with pytest.raises(ConfigurationError, match="nothing can be refined"):
        refiner.search("red", cut_off=None)


@pytest.fixture
def open_empty(root: Path, tmp_path: Path) -> Iterator[Callable[[Any], FolderCollection]]:
    opened: list[FolderCollection] = []

    def open_collection(encoder: Any) -> FolderCollection:
        opened.append(FolderCollection.open(root, encoder=encoder, store=tmp_path / "another"))
        return opened[-1]

    yield open_collection
    for one in opened:
        one.close()


def test_a_store_keeps_the_quick_look_apart(
    collection: FolderCollection, encoder: JinaClipEncoder, root: Path, tmp_path: Path
) -> None:
    assert collection.describe().image_size == 16
    collection.close()
    with pytest.raises(ConfigurationError, match="images of 16 pixels"):
        FolderCollection.open(root, encoder=encoder, store=tmp_path / "store")
    with FolderStore(str(tmp_path / "store")) as store:
        held = store.model()
    assert held is not None
    assert held.fingerprint.image_size == 16
