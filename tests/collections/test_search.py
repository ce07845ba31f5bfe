"""Searching a store: cut-off, diversity, filters, several folders in one store, and other threads at work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.collections import search as search_module
from jina_clip_integrations.collections.background import BACKGROUND_TEXTS, background_vectors
from jina_clip_integrations.collections.filters import Filters
from jina_clip_integrations.collections.folder import FolderCollection
from jina_clip_integrations.collections.query import Query, Term
from jina_clip_integrations.collections.search import FolderSearch, Results
from jina_clip_integrations.errors import BackendError, InputError
from jina_clip_integrations.retrieval.ranking import maximal_marginal_relevance

RED = (220, 20, 20)


def names(results: Results) -> list[str]:
    return [hit.name for hit in results.hits]


@pytest.fixture
def collection(tmp_path: Path, encoder: JinaClipEncoder) -> Iterator[FolderCollection]:
    """Twelve images from red over grey to green, and the same number of blues; two of them in a folder."""
    root = tmp_path / "mine"
    (root / "trip").mkdir(parents=True)
    for step in range(12):
        Image.new("RGB", (8, 8), (220 - 10 * step, 20 + 10 * step, 20)).save(root / f"warm{step:02}.png")
        place = root / "trip" if step < 2 else root
        Image.new("RGB", (8, 8), (20 + 2 * step, 30, 220)).save(place / f"blue{step:02}.jpg")
    with FolderCollection.open(root, encoder=encoder, store=tmp_path / "store") as opened:
        opened.index()
        yield opened


def test_what_is_not_there_shows_nothing_and_says_how_much_is_hidden(collection: FolderCollection) -> None:
    found = collection.search("something red", top=5)
    assert names(found)[0] == "warm00.png"
    assert found.cut_off is not None
    assert min(hit.score for hit in found.hits) >= found.cut_off
    nothing = collection.search("a sound", top=5)
    assert nothing.hits == []
    assert nothing.hidden == 5
    everything = collection.search("a sound", top=5, cut_off=None)
    assert (len(everything.hits), everything.hidden, everything.cut_off) == (5, 0, None)
    assert nothing.cut_off is not None
    assert max(hit.score for hit in everything.hits) < nothing.cut_off


@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_the_nearest_of_what_is_hidden_come_from_the_same_pass(
    collection: FolderCollection, colours: Any, diversity: float
) -> None:
    hidden = collection.search("a sound", top=20, diversity=diversity)
    everything = collection.search("a sound", top=4, cut_off=None, diversity=diversity)
    before = len(colours.calls)
    found = collection.search("a sound", top=20, nearest=4, diversity=diversity)
    assert len(colours.calls) == before + 1
    assert found.nearest == everything.hits
    assert (found.hits, found.hidden, found.cut_off) == ([], 20, hidden.cut_off)
    assert collection.search("something red", top=20, nearest=4, diversity=diversity).nearest == []


def test_more_of_the_nearest_than_of_the_best(collection: FolderCollection) -> None:
    found = collection.search("a sound", top=2, nearest=5)
    assert (len(found.nearest), found.hidden) == (5, 2)
    red = collection.search("something red", top=2, nearest=5)
    assert red.hits == collection.search("something red", top=2).hits


def test_a_search_that_was_prepared_embeds_its_query_alone(collection: FolderCollection, colours: Any) -> None:
    collection.prepare_search()
    before = colours.calls.copy()
    collection.search("red", nearest=3)
    assert colours.calls == [*before, 1]
    collection.prepare_search()
    assert colours.calls == [*before, 1]


def test_a_search_while_it_is_prepared_waits_for_the_background(
    collection: FolderCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def compute(encoder: JinaClipEncoder) -> Any:
        computed.append(1)
        begun.set()
        assert go_on.wait(30)
        return background_vectors(encoder)

    monkeypatch.setattr(search_module, "background_vectors", compute)
    results: list[Results] = []
    threads = [
        threading.Thread(target=collection.prepare_search),
        threading.Thread(target=lambda: results.append(collection.search("red"))),
    ]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join()
    assert computed == [1]
    assert names(results[0])[0] == "warm00.png"


def test_preparing_loads_the_model(encoder: JinaClipEncoder, collection: FolderCollection, colours: Any) -> None:
    loaded: list[int] = []
    colours.load = lambda: loaded.append(1)
    collection.prepare_search()
    assert loaded == [1]


def test_a_cut_off_of_ones_own(collection: FolderCollection) -> None:
    scores = [hit.score for hit in collection.search("red", top=24, cut_off=None).hits]
    assert len(scores) == 24
    some = collection.search("red", top=10, cut_off=scores[3])
    assert [hit.score for hit in some.hits] == scores[:4]
    assert (some.hidden, some.cut_off) == (6, scores[3])


def test_the_cut_off_is_computed_once_until_something_changes(
    collection: FolderCollection, colours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Any] = []
    fit = search_module.background_scores
    monkeypatch.setattr(search_module, "background_scores", lambda *a, **k: fitted.append(a[0]) or fit(*a, **k))
    first = collection.search("red")
    before = colours.embedded
    again = collection.search("green", filters=Filters(folder="trip"))
    assert (len(fitted), again.cut_off) == (1, first.cut_off)
    assert colours.embedded == before + 1  # the background's texts are not embedded again
    collection.search("red -green")
    collection.search(Query.of(similar_to="warm00.png"))
    assert fitted == [("text",), ("text", "text"), ("image",)]
    (collection.root / "warm11.png").unlink()
    collection.index()
    collection.search("blue")
    assert len(fitted) == 4


def test_the_background_is_embedded_once_per_model_on_a_machine(encoder: JinaClipEncoder, colours: Any) -> None:
    rows = background_vectors(encoder)
    assert rows.shape == (len(BACKGROUND_TEXTS), 16)
    before = colours.embedded
    np.testing.assert_array_equal(background_vectors(encoder), rows)
    assert colours.embedded == before
    narrow = JinaClipEncoder(backend=colours, dimensions=8)
    assert background_vectors(narrow).shape[1] == 8


def test_a_cache_that_cannot_be_written_only_costs_time(
    encoder: JinaClipEncoder, cache_home: Path, colours: Any
) -> None:
    cache_home.mkdir()
    (cache_home / "background").mkdir()
    (cache_home / "background" / "vectors-2.sqlite3").mkdir()
    assert len(background_vectors(encoder)) == len(BACKGROUND_TEXTS)


def test_few_images_hide_nothing_from_an_image(open_indexed: Any, folder: Path) -> None:
    found = open_indexed(folder).search(Query.of(similar_to="apple.png"))
    assert (len(found.hits), found.cut_off) == (2, None)


def test_diverse_results_are_chosen_by_relevance_and_difference(collection: FolderCollection) -> None:
    alike = collection.search("red", top=6, cut_off=None)
    diverse = collection.search("red", top=6, cut_off=None, diversity=0.7)
    assert names(alike) == [f"warm{step:02}.png" for step in range(6)]
    assert names(diverse)[0] == "warm00.png"
    assert any(name.startswith(("blue", "trip")) for name in names(diverse))
    all_of_them = collection.search("red", top=24, cut_off=None)
    vectors = np.stack([collection._search.stored_vector(name) for name in names(all_of_them)])
    scores = [hit.score for hit in all_of_them.hits]
    chosen = maximal_marginal_relevance(scores, vectors, diversity=0.7, limit=6)
    assert names(diverse) == [names(all_of_them)[position] for position in chosen]


def test_filters_narrow_a_search(collection: FolderCollection) -> None:
    assert names(collection.search("red", filters=Filters(folder="trip"), cut_off=None)) == [
        "trip/blue01.jpg",
        "trip/blue00.jpg",
    ]
    jpegs = collection.search("red", filters=Filters(kinds=frozenset({"jpeg"})), cut_off=None, top=99)
    assert {hit.format for hit in jpegs.hits} == {"jpeg"}
    assert len(jpegs.hits) == 12


def test_texts_and_images_of_a_query_are_one_call(
    collection: FolderCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    encode = JinaClipEncoder.encode

    def count(self: JinaClipEncoder, items: Any, **options: Any) -> Any:
        calls.append([*map("".join, items)])
        return encode(self, items, **options)

    monkeypatch.setattr(JinaClipEncoder, "encode", count)
    query = Query.of("red", Image.new("RGB", (8, 8), RED), minus=["blue"], plus=[Term(2, stored="warm03.png")])
    found = collection.search(query, cut_off=None)
    assert calls == [["text", "image", "text"]]
    assert "warm03.png" not in names(found)


@pytest.mark.parametrize(
    "options",
    [
        {"top": 0},
        {"cut_off": float("nan")},
        {"cut_off": float("inf")},
        {"diversity": 2},
        {"diversity": -0.1},
        {"nearest": -1},
    ],
)
def test_settings_that_cannot_work(collection: FolderCollection, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        collection.search("red", **options)


def test_an_unknown_name_in_a_query(collection: FolderCollection) -> None:
    with pytest.raises(InputError, match=r"'\.\./secret' is not in the collection"):
        collection.search(Query.of(similar_to="../secret"))


def test_one_store_may_hold_several_folders(
    collection: FolderCollection, encoder: JinaClipEncoder, tmp_path: Path, paint: Any
) -> None:
    other = tmp_path / "other"
    paint(other / "warm00.png", "blue")
    store = collection.store.location
    collection.close()
    with FolderCollection.open(other, encoder=encoder, store=store) as second:
        second.index()
        assert names(second.search("red", cut_off=None, top=99)) == ["warm00.png"]
        assert second.describe().images == 1
        everything = FolderSearch(second.store, encoder)
        assert len(everything.search("red", cut_off=None, top=99).hits) == 25
        assert everything.describe().images == 25


def test_duplicates_of_files(collection: FolderCollection) -> None:
    root = collection.root
    (root / "copy.png").write_bytes((root / "warm00.png").read_bytes())
    Image.new("RGB", (80, 80), (220, 20, 20)).save(root / "large.png")
    collection.index()
    [group] = [group for group in collection.duplicates(threshold=0.999) if "copy.png" in group.names]
    assert (group.keep.name, group.reason) == ("large.png", "most pixels (80 x 80)")
    assert {other.name for other in group.others} >= {"copy.png", "warm00.png"}
    assert (root / "copy.png").is_file()
    assert collection.duplicates(threshold=0.999, filters=Filters(folder="nowhere")) == []


def test_what_is_in_a_collection(collection: FolderCollection) -> None:
    about = collection.describe()
    assert (about.images, about.passages, about.files) == (24, 0, 24)
    assert (about.model, about.dimensions) == ("colours", 16)
    assert about.folders == {"trip": 2}
    assert about.formats == {"png": 12, "jpeg": 12}
    assert about.since is not None
    assert about.until is not None
    assert about.since <= about.until


# Other threads


def test_a_search_does_not_wait_for_a_write(collection: FolderCollection, monkeypatch: pytest.MonkeyPatch) -> None:
    collection.search("red")  # reads the table
    writing, go_on = threading.Event(), threading.Event()
    with collection.store.client() as client:
        upsert = client.upsert

    def slow(*arguments: Any, **options: Any) -> Any:
        writing.set()
        assert go_on.wait(30)
        return upsert(*arguments, **options)

    monkeypatch.setattr(client, "upsert", slow)
    Image.new("RGB", (8, 8), (255, 0, 0)).save(collection.root / "new.png")
    thread = threading.Thread(target=collection.index)
    thread.start()
    assert writing.wait(30)
    assert "new.png" not in names(collection.search("red"))
    assert collection.describe().images == 24
    go_on.set()
    thread.join(30)
    assert "new.png" in names(collection.search("red"))


def test_many_threads_search_while_one_indexes(collection: FolderCollection, effort: int) -> None:
    failures: list[BaseException] = []
    done = threading.Event()

    def look() -> None:
        try:
            while not done.is_set():
                found = collection.search("red", top=3, cut_off=None, diversity=0.3)
                assert len(found.hits) == 3
                collection.describe()
                collection.duplicates()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(5 * effort):
        Image.new("RGB", (8, 8), (200, number, 30)).save(collection.root / f"new{number}.png")
        (collection.root / f"blue{number % 7 + 5:02}.jpg").unlink(missing_ok=True)
        collection.index()
    done.set()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert collection.describe().images == len(list(collection.root.rglob("*.*")))


def test_closing_ends_a_run_and_nothing_is_lost(
    collection: FolderCollection, encoder: JinaClipEncoder, colours: Any
) -> None:
    for number in range(40):
        Image.new("RGB", (8, 8), (200, 2 * number, 30)).save(collection.root / f"new{number}.png")
    started = threading.Event()
    reports: list[Any] = []
    thread = threading.Thread(target=lambda: reports.append(collection.index(lambda _: started.set())))
    thread.start()
    assert started.wait(30)
    collection.close()
    thread.join(30)
    assert len(reports) == 1
    for call in (lambda: collection.search("red"), collection.describe, collection.index, collection.duplicates):
        with pytest.raises(BackendError, match="is closed"):
            call()
    collection.close()
    with FolderCollection.open(collection.root, encoder=encoder, store=collection.store.location) as again:
        again.index()
        assert again.describe().images == 64
