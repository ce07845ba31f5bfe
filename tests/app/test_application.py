"""The page's requests: what is found, shown and refused, with the real collection in process."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest

from jina_clip_integrations.app import AppSettings, create_app
from jina_clip_integrations.collections.folder import FolderCollection
from jina_clip_integrations.errors import ApiConnectionError
from tests.app.clients import client_for, detail, names

MARKUP = "<img src=x onerror=alert(1)>.png"


def png(colour: tuple[int, int, int] = (220, 20, 20), size: tuple[int, int] = (24, 24)) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


async def upload(client: httpx.AsyncClient, content: bytes) -> httpx.Response:
    return await client.post("/api/uploads", content=content, headers={"Content-Type": "image/png"})


async def test_words_find_images_with_scores_and_facts(client: httpx.AsyncClient) -> None:
    async with client:
        found = await client.get("/api/search", params={"q": "red", "all": "1"})
    assert names(found)[0] == "apple.png"
    best = found.json()["hits"][0]
    assert (best["kind"], best["width"], best["height"], best["format"]) == ("image", 24, 24, "png")
    scores = [hit["score"] for hit in found.json()["hits"]]
    assert scores == sorted(scores, reverse=True)


async def test_without_a_query_everything_is_shown_in_the_order_asked_for(
    client: httpx.AsyncClient, folder: Path
) -> None:
    async with client:
        assert names(await client.get("/api/search?sort=name")) == ["apple.png", "leaf.jpg", "trip/sea.png"]
        everything = await client.get("/api/search")
        assert {hit["score"] for hit in everything.json()["hits"]} == {None}
        newest = names(await client.get("/api/search?sort=newest"))
        assert names(await client.get("/api/search?sort=oldest")) == newest[::-1]
        sizes = [hit["bytes"] for hit in (await client.get("/api/search?sort=largest")).json()["hits"]]
        assert sizes == sorted(sizes, reverse=True)


async def test_an_image_alone_and_with_words(client: httpx.AsyncClient) -> None:
    async with client:
        key = (await upload(client, png((30, 60, 220)))).json()["id"]
        assert names(await client.get("/api/search", params={"image": key, "all": "1"}))[0] == "trip/sea.png"
        both = await client.get("/api/search", params={"q": "red", "image": key, "all": "1"})
        assert set(names(both)[:2]) == {"apple.png", "trip/sea.png"}
        preview = await client.get(f"/api/uploads/{key}")
        assert preview.headers["content-type"] == "image/webp"


async def test_more_and_less_like_an_image_of_the_folder(client: httpx.AsyncClient) -> None:
    async with client:
        like = names(await client.get("/api/search", params={"like": "apple.png", "all": "1"}))
        assert "apple.png" not in like
        less = names(await client.get("/api/search", params={"q": "red", "unlike": "apple.png", "all": "1"}))
        assert less
        unknown = await client.get("/api/search", params={"like": "nothing.png"})
    assert unknown.status_code == 400
    assert "nothing.png" in detail(unknown)[2]


async def test_signs_in_the_words(client: httpx.AsyncClient) -> None:
    async with client:
        plus = names(await client.get("/api/search", params={"q": "green +blue -red", "all": "1"}))
        assert plus[-1] == "apple.png"


async def test_what_is_not_similar_is_hidden_and_can_be_shown(open_collection: Any, paint: Any, tmp_path: Path) -> None:
    root = tmp_path / "many"
    for number in range(30):
        paint(root / f"blue-{number}.png", "blue", (24 + number, 24))
    paint(root / "apple.png", "red")
    async with client_for(create_app(open_collection(root), AppSettings(index=False))) as client:
        cut = (await client.get("/api/search", params={"q": "red"})).json()
        everything = (await client.get("/api/search", params={"q": "red", "all": "1"})).json()
    assert cut["hidden"] > 0
    assert cut["cutOff"] is not None
    assert len(cut["hits"]) + cut["hidden"] == len(everything["hits"]) == 31
    assert everything["hidden"] == 0


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"folder": "trip"}, ["trip/sea.png"]),
        ({"kind": "jpeg"}, ["leaf.jpg"]),
        ({"since": "2020-01-01", "until": "2020-12-31"}, ["leaf.jpg"]),
        ({"until": "2020-06-01"}, ["leaf.jpg"]),  # the whole of that day
        ({"until": "2020-05-31"}, []),
        ({"max": "1"}, []),
        ({"camera": "none such"}, []),
        ({"near": "48.86,2.35,5"}, []),
    ],
)
async def test_filters(open_collection: Any, folder: Path, parameters: dict[str, str], expected: list[str]) -> None:
    moment = 1_590_969_600 + 3600 * 20  # 2020-06-01, 20 o'clock
    os.utime(folder / "leaf.jpg", (moment, moment))
    async with client_for(create_app(open_collection(folder), AppSettings(index=False))) as client:
        assert names(await client.get("/api/search", params=parameters)) == expected
        assert names(await client.get("/api/search", params={**parameters, "q": "green", "all": "1"})) == expected


async def test_documents_are_found_by_their_passages(client: httpx.AsyncClient) -> None:
    async with client:
        found = await client.get("/api/search", params={"q": "blue sea", "kind": "text", "all": "1"})
    hits = found.json()["hits"]
    assert {hit["kind"] for hit in hits} == {"text"}
    assert any("blue" in hit["text"] for hit in hits)


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("since=2024-13-01", "since"),
        ("until=yesterday", "until"),
        ("near=1,2", "near"),
        ("near=91,0,1", "near"),
        ("near=nan,0,1", "near"),
        ("near=0,0,0", "near"),
        ("min=-1", "min"),
        ("max=nan", "max"),
        ("min=5&max=1", "bytes"),
        ("since=2025-01-02&until=2025-01-01", "since"),
        ("diversity=2", "diversity"),
        ("sort=random", "sort"),
        ("folder=..%2F..", "leads out"),
        ("q=%22open", "quot"),
        ("q=" + "x" * 2001, "2,000"),
        ("&".join(["like=apple.png"] * 17), "16"),
    ],
)
async def test_a_malformed_address_is_one_clear_line(client: httpx.AsyncClient, query: str, part: str) -> None:
    async with client:
        status, code, message = detail(await client.get(f"/api/search?{query}"))
    assert (status, code) == (400, "QUERY_INVALID")
    assert part in message.lower()
    assert "\n" not in message


async def test_odd_bytes_in_an_address_break_nothing(client: httpx.AsyncClient) -> None:
    async with client:
        for query in ("q=%ff%fe", "q=%00", "%", "q=red&q=blue&&=&unknown=1", "name=%ED%B2%80"):
            assert (await client.get(f"/api/search?{query}")).status_code in (200, 400), query


async def test_a_lost_upload_is_said(client: httpx.AsyncClient) -> None:
    async with client:
        lost = await client.get("/api/search?image=0123")
        assert detail(lost)[:2] == (404, "UPLOAD_GONE")
        assert (await client.get("/api/uploads/0123")).status_code == 404


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"no image at all", {"Content-Type": "image/png"}, 422),
        (b"", {"Content-Type": "image/png"}, 422),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", {"Content-Type": "image/svg+xml"}, 422),
        (png(), {"Content-Type": "text/plain"}, 415),
        (png(), {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (png(), {"Content-Type": "image/png", "Content-Encoding": "gzip"}, 415),
        (b"x" * 3000, {"Content-Type": "image/png"}, 413),
    ],
)
async def test_what_cannot_be_searched_with(
    collection: FolderCollection, content: bytes, headers: dict[str, str], status: int
) -> None:
    async with client_for(create_app(collection, AppSettings(index=False, max_upload_bytes=2000))) as client:
        assert (await client.post("/api/uploads", content=content, headers=headers)).status_code == status


async def test_an_image_of_300_megapixels_is_refused_from_its_header(
    open_collection: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = huge_png()
    (folder / "huge.png").write_bytes(large)
    collection = open_collection(folder)
    monkeypatch.setattr(PIL.Image.Image, "load", _never)
    async with client_for(create_app(collection, AppSettings(index=False))) as client:
        status, code, message = detail(await upload(client, large))
        assert (status, code) == (422, "IMAGE_UNREADABLE")
        assert "more pixels" in message
        assert "huge.png" not in names(await client.get("/api/search?sort=name"))


def huge_png() -> bytes:
    """A PNG whose header says 20,000 x 15,000 pixels, with next to no data."""
    content = bytearray(png())
    content[16:24] = struct.pack(">II", 20_000, 15_000)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


def _never(*_: Any) -> None:
    raise AssertionError("it was decoded")


async def test_thumbnails_are_small_and_may_be_kept_as_long_as_the_file_stays(client: httpx.AsyncClient) -> None:
    async with client:
        hit = (await client.get("/api/search?sort=name")).json()["hits"][0]
        shown = await client.get("/api/thumbnail", params={"name": hit["name"], "px": "360", "v": hit["v"]})
        assert PIL.Image.open(io.BytesIO(shown.content)).size == (24, 24)
        assert "immutable" in shown.headers["cache-control"]
        assert (await client.get("/api/thumbnail", params={"name": hit["name"]})).headers["cache-control"] == "no-store"
        for pixels in ("1", "99999", "x", "-360"):
            assert (await client.get("/api/thumbnail", params={"name": hit["name"], "px": pixels})).status_code == 400
        assert (await client.get("/api/thumbnail")).status_code == 400


async def test_a_file_is_saved_as_it_is_and_never_shown_in_place(client: httpx.AsyncClient, folder: Path) -> None:
    async with client:
        saved = await client.get("/api/original", params={"name": "trip/sea.png"})
    assert saved.content == (folder / "trip" / "sea.png").read_bytes()
    assert saved.headers["content-type"] == "application/octet-stream"
    assert saved.headers["content-disposition"] == "attachment; filename*=UTF-8''sea.png"


OUTSIDE = [
    "../secret.png",
    "trip/../../secret.png",
    "/etc/hostname",
    "..%2fsecret.png",
    "%2e%2e/secret.png",
    "..\\secret.png",
    "trip/sea.png\0.png",
    "file:///etc/hostname",
    "http://127.0.0.1:1/secret.png",
    "bytes:../secret.png",
    "bytes:%2e%2e%2fsecret.png",
    "./apple.png",
    "trip//sea.png",
    "data.bin",
    ".hidden.txt",
    "list.txt",
    "unindexed.png",
    "link.png",
    "linked/secret.png",
    "data:image/png;base64,AAAA",
    "",
]


@pytest.mark.parametrize("name", OUTSIDE)
async def test_no_file_is_served_but_indexed_images_of_the_folder(
    collection: FolderCollection, folder: Path, tmp_path: Path, name: str
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    (folder / "unindexed.png").write_bytes(png((1, 2, 3)))
    (folder / "link.png").symlink_to(secret)
    async with client_for(create_app(collection, AppSettings(index=False))) as client:
        for path in ("/api/thumbnail", "/api/original"):
            answer = await client.get(path, params={"name": name})
            assert answer.status_code in (400, 404, 422), (path, answer.status_code)
            assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_a_link_that_replaces_an_indexed_image_leads_nowhere(
    collection: FolderCollection, folder: Path, tmp_path: Path, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "sea.png").write_bytes(png())
    if kind == "file":
        (folder / "trip" / "sea.png").unlink()
        (folder / "trip" / "sea.png").symlink_to(outside / "sea.png")
    else:
        shutil.rmtree(folder / "trip")
        (folder / "trip").symlink_to(outside)
    async with client_for(create_app(collection, AppSettings(index=False))) as client:
        for path in ("/api/thumbnail", "/api/original"):
            answer = await client.get(path, params={"name": "trip/sea.png"})
            assert answer.status_code in (404, 422)


@pytest.mark.parametrize(
    "path", ["/assets/..%2fsettings.py", "/assets/../settings.py", "/assets/__init__.py", "/assets/"]
)
async def test_only_the_page_s_own_files_are_assets(client: httpx.AsyncClient, path: str) -> None:
    async with client:
        answer = await client.get(path)
        assert answer.status_code == 404
        page = await client.get("/")
        again = await client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert page.headers["content-type"].startswith("text/html")
    assert again.status_code == 304


async def test_an_image_that_was_deleted_since_is_said_and_the_rest_stays(
    client: httpx.AsyncClient, folder: Path
) -> None:
    (folder / "apple.png").unlink()
    async with client:
        assert "apple.png" in names(await client.get("/api/search?q=red&all=1"))
        for path in ("/api/thumbnail", "/api/original"):
            gone = await client.get(path, params={"name": "apple.png", "v": "1"})
            assert gone.status_code in (404, 422)
            assert "no longer" in detail(gone)[2]
        assert (await client.get("/api/thumbnail", params={"name": "leaf.jpg"})).status_code == 200


async def test_a_folder_that_disappears_is_said_while_the_index_answers(
    client: httpx.AsyncClient, folder: Path, tmp_path: Path
) -> None:
    os.rename(folder, tmp_path / "moved")
    async with client:
        status = (await client.get("/api/status")).json()
        assert status["missing"] is True
        assert names(await client.get("/api/search?q=red&all=1"))[0] == "apple.png"
        assert "no longer" in detail(await client.get("/api/thumbnail?name=apple.png"))[2]
        os.rename(tmp_path / "moved", folder)
        assert (await client.get("/api/status")).json()["missing"] is False
        assert (await client.get("/api/thumbnail?name=apple.png")).status_code == 200


async def test_a_model_that_cannot_be_reached_is_said_and_what_needs_none_goes_on(
    client: httpx.AsyncClient, colours: Any
) -> None:
    colours.fail_after = (0, ApiConnectionError("no response from http://127.0.0.1:9/v1: connection refused"))
    async with client:
        status, code, message = detail(await client.get("/api/search?q=red&all=1"))
        assert (status, code) == (502, "BACKEND_FAILED")
        assert "connection refused" in message
        assert names(await client.get("/api/search?sort=name"))
        assert names(await client.get("/api/search?like=apple.png&all=1"))  # its vector is in the store
        colours.fail_after = None
        assert names(await client.get("/api/search?q=red&all=1"))[0] == "apple.png"


async def test_an_unexpected_failure_tells_the_browser_nothing_of_it(
    collection: FolderCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(collection, "search", fail)
    async with client_for(create_app(collection, AppSettings(index=False))) as client:
        answer = await client.get("/api/search?q=red")
    assert answer.status_code == 500
    assert "secret" not in answer.text


async def test_a_name_with_markup_or_odd_bytes_is_data(open_collection: Any, paint: Any, tmp_path: Path) -> None:
    root = tmp_path / "odd"
    paint(root / MARKUP, "red")
    odd = os.fsdecode(b"caf\xe9.png")
    paint(root / odd, "blue")
    async with client_for(create_app(open_collection(root), AppSettings(index=False))) as client:
        found = await client.get("/api/search?sort=name")
        assert set(names(found)) == {MARKUP, "bytes:caf%E9.png"}
        assert found.headers["content-type"] == "application/json"
        for name in names(found):
            assert (await client.get("/api/thumbnail", params={"name": name})).status_code == 200
            assert (await client.get("/api/original", params={"name": name})).status_code == 200
            assert (await client.get("/api/search", params={"like": name, "all": "1"})).status_code == 200


async def test_duplicates_come_in_groups_with_one_to_keep(open_collection: Any, paint: Any, tmp_path: Path) -> None:
    root = tmp_path / "copies"
    paint(root / "small.png", "red", (24, 24))
    paint(root / "large.png", "red", (48, 48))
    shutil.copy(root / "large.png", root / "large copy.png")
    paint(root / "other.png", "blue")
    async with client_for(create_app(open_collection(root), AppSettings(index=False))) as client:
        [group] = (await client.get("/api/duplicates?threshold=0.95")).json()["groups"]
        assert group["keep"] == "large.png"
        assert {image["name"] for image in group["images"]} == {"small.png", "large.png", "large copy.png"}
        assert group["reason"]
        assert (await client.get("/api/duplicates?folder=none")).json()["groups"] == []
        for wrong in ("0", "2", "x", "nan"):
            assert (await client.get(f"/api/duplicates?threshold={wrong}")).status_code == 400
    assert len(list(root.iterdir())) == 4


async def test_status_says_what_the_folder_holds(client: httpx.AsyncClient, collection: FolderCollection) -> None:
    async with client:
        status = (await client.get("/api/status")).json()
    assert (status["folder"], status["path"]) == ("mine", str(collection.root))
    assert (status["images"], status["folders"], sorted(status["formats"])) == (3, ["trip"], ["jpeg", "png"])
    assert status["indexing"]["state"] == "idle"


async def test_varied_results_hold_the_same_images(client: httpx.AsyncClient) -> None:
    async with client:
        plain = names(await client.get("/api/search?q=red&all=1"))
        varied = names(await client.get("/api/search?q=red&all=1&diversity=1"))
    assert sorted(varied) == sorted(plain)


async def test_many_requests_at_a_time_are_all_answered(client: httpx.AsyncClient) -> None:
    async with client:
        paths = ["/api/search?q=red&all=1", "/api/status", "/api/thumbnail?name=leaf.jpg", "/api/duplicates"] * 10
        answers = await asyncio.gather(*(client.get(path) for path in paths))
    assert {answer.status_code for answer in answers} == {200}


async def test_where_nothing_is_similar_the_nearest_are_shown_and_said_to_be_that(
    open_collection: Any, paint: Any, tmp_path: Path, colours: Any
) -> None:
    root = tmp_path / "many"
    for number in range(40):
        paint(root / f"blue-{number}.png", "blue", (24 + number, 24))
    collection = open_collection(root)
    async with client_for(create_app(collection, AppSettings(index=False))) as client:
        collection.prepare_search()
        before = colours.calls.copy()
        found = (await client.get("/api/search", params={"q": "yellow"})).json()
        assert colours.calls == [*before, 1]  # the query, once
        assert found["weak"] is True
        assert (len(found["hits"]), found["hidden"]) == (24, 16)
        assert all(hit["score"] < found["cutOff"] for hit in found["hits"])
        everything = (await client.get("/api/search", params={"q": "yellow", "all": "1"})).json()
        assert found["hits"] == everything["hits"][:24]
        assert (await client.get("/api/search?q=blue")).json()["weak"] is False
    async with client_for(create_app(collection, AppSettings(index=False, max_hits=10))) as client:
        few = (await client.get("/api/search", params={"q": "yellow"})).json()
    assert (few["weak"], len(few["hits"]), few["hidden"], few["more"]) == (True, 10, 0, True)
