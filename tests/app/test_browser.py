"""The page in a real browser: what a person sees, clicks and types."""

from __future__ import annotations

import io
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from jina_clip_integrations.collections.folder import FolderCollection
from jina_clip_integrations.collections.scan import SourceFile, Stamp
from jina_clip_integrations.collections.store import Entry
from jina_clip_integrations.errors import ApiConnectionError
from tests.app.browsing import AppPage, Served
from tests.browsing import open_browser
from tests.serving import wait_until

MARKUP = "<img src=x onerror=alert(1)>.png"
MANY = 10_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


Visit = Callable[..., AppPage]


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(collection: FolderCollection, **settings: Any) -> Served:
        served = Served(collection, **settings)
        served.start()
        started.append(served)
        return served

    yield start
    for served in started:
        served.stop()


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """`visit(served, width=390)`: a page of its own, which must not have failed or asked elsewhere."""
    opened: list[tuple[Any, AppPage]] = []

    def open_page(served: Served, *, width: int = 1280, height: int = 800, **options: Any) -> AppPage:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(10_000)
        watched = AppPage(context.new_page(), served.url)
        opened.append((context, watched))
        return watched

    yield open_page
    for context, watched in opened:
        context.close()
        assert watched.errors == []
        assert watched.foreign == []


@pytest.fixture
def served(collection: FolderCollection, serve: Callable[..., Served]) -> Served:
    return serve(collection)


def search(page: Any, words: str) -> None:
    page.fill("#query", words)
    page.press("#query", "Enter")
    until(page, "!document.body.classList.contains('waiting')")


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (24, 24), colour).save(buffer, "PNG")
    return buffer.getvalue()


def until(page: Any, condition: str) -> None:
    """Wait until an expression is true; Playwright's own way has the page evaluate a string, which is forbidden."""
    wait_until(lambda: bool(page.evaluate(condition)), timeout_s=10)


SHOWN_ON_SCREEN = """[...document.querySelectorAll(".tile img.loaded")].filter((one) => {
  const box = one.getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight; }).length > 5"""

DROP = """([bytes, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
  for (const type of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true}));
    if (type === "dragenter") window.sawDropCard = !document.getElementById("drop").hidden;
  }
}"""


def test_words_are_searched_and_the_address_holds_them(served: Served, visit: Visit) -> None:
    watched = visit(served)
    page = watched.go()
    assert sorted(watched.names()) == ["apple.png", "leaf.jpg", "sea.png"]
    page.wait_for_selector(".tile img.loaded")
    search(page, "red")
    page.wait_for_selector(".tile-score")
    assert watched.names()[0] == "apple.png"
    assert page.locator(".tile-score").first.inner_text()
    assert "q=red" in page.url
    assert page.locator("#live").inner_text().startswith(str(len(watched.names())))
    page.reload()
    page.wait_for_selector(".tile")
    assert page.input_value("#query") == "red"
    assert watched.names()[0] == "apple.png"
    page.go_back()
    until(page, "document.getElementById('query').value === ''")
    until(page, "document.querySelectorAll('.tile').length === 3")


def test_typing_searches_by_itself(served: Served, visit: Visit) -> None:
    watched = visit(served)
    page = watched.go()
    page.locator("#query").press_sequentially("blue")
    until(page, "location.search === '?q=blue'")
    until(page, "document.querySelector('.tile-name')?.textContent === 'sea.png'")


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_an_image_that_is_brought_along_is_searched_with(served: Served, visit: Visit, way: str) -> None:
    watched = visit(served)
    page = watched.go()
    content = png((30, 60, 220))
    if way == "drop":
        page.evaluate(DROP, [list(content), "mine.png"])
        assert page.evaluate("window.sawDropCard")
        assert page.locator("#drop").is_hidden()
    elif way == "paste":
        page.evaluate(
            """(bytes) => { const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "x.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true})); }""",
            list(content),
        )
    else:
        page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": content})
    page.wait_for_selector("#terms .term img")
    until(page, "document.querySelector('.tile-name')?.textContent === 'sea.png'")
    assert "image=" in page.url
    page.reload()
    page.wait_for_selector("#terms .term img")
    page.click("#terms .remove")
    until(page, "location.search === ''")


def test_an_image_with_words_and_one_that_is_not_wanted(served: Served, visit: Visit) -> None:
    watched = visit(served)
    page = watched.go("/?all=1&q=green")
    page.locator(".tile", has_text="apple.png").locator(".tile-face").hover()
    page.get_by_role("button", name="Less like apple.png").click()
    page.wait_for_selector(".term.unwanted")
    assert "unlike=apple.png" in page.url
    page.click(".term .sign")
    page.wait_for_selector(".term.wanted")
    assert "like=apple.png" in page.url


def test_what_cannot_be_searched_with_is_said_and_nothing_is_lost(served: Served, visit: Visit) -> None:
    watched = visit(served)
    page = watched.go("/?q=red&all=1")
    before = watched.names()
    page.evaluate(DROP, [list(b"no image"), "broken.png"])
    page.wait_for_selector(".toast")
    assert watched.names() == before
    assert page.input_value("#query") == "red"


def test_filters_narrow_and_are_taken_away(served: Served, visit: Visit) -> None:
    watched = visit(served)
    page = watched.go()
    page.click("#filters-button")
    page.wait_for_selector("#filters select[name=folder]")
    page.select_option("#filters select[name=folder]", "trip")
    until(page, "document.querySelectorAll('.tile').length === 1")
    assert watched.names() == ["sea.png"]
    assert "folder=trip" in page.url
    page.select_option("#filters select[name=kind]", "jpeg")
    page.wait_for_selector(".panel >> text=No image fits these filters")
    page.get_by_role("button", name="Remove filter: Folder trip").click()
    until(page, "document.querySelector('.tile-name')?.textContent === 'leaf.jpg'")


def test_hidden_hits_are_counted_and_shown_on_request(
    open_collection: Any, serve: Any, visit: Visit, paint: Any, tmp_path: Path
) -> None:
    root = tmp_path / "many"
    for number in range(30):
        paint(root / f"blue-{number}.png", "blue", (24 + number, 24))
    paint(root / "apple.png", "red")
    watched = visit(serve(open_collection(root)))
    page = watched.go("/?q=red")
    text = page.locator(".after").inner_text()
    hidden = int(re.match(r"\d+", text)[0])
    assert hidden + len(watched.names()) == 31
    page.get_by_role("button", name="Show them").click()
    until(page, "document.getElementById('count').textContent.startsWith('31 images')")
    assert "all=1" in page.url


def test_nothing_found_is_a_panel_with_a_way_on(served: Served, visit: Visit) -> None:
    watched = visit(served)
    page = watched.go("/?q=red&since=2090-01-01")
    assert page.locator(".panel h2").inner_text() == "Nothing is close to “red”"
    page.get_by_role("button", name="Clear the filters").click()
    page.wait_for_selector(".tile")


def test_a_malformed_query_and_address_are_panels(served: Served, visit: Visit) -> None:
    watched = visit(served)
    page = watched.go("/?q=%22open")
    assert "cannot be understood" in page.locator(".panel h2").inner_text()
    assert page.input_value("#query") == '"open'
    page = watched.go("/?near=somewhere")
    assert "near" in page.locator(".panel p").inner_text()
    page.get_by_role("button", name="Show everything").click()
    page.wait_for_selector(".tile")


def test_a_model_out_of_reach_is_a_panel_and_trying_again_helps(served: Served, visit: Visit, colours: Any) -> None:
    colours.fail_after = (0, ApiConnectionError("no response from the server: connection refused"))
    watched = visit(served)
    page = watched.go("/?q=red&all=1")
    assert page.locator(".panel.error p").inner_text() == "No response from the server: connection refused"
    assert page.input_value("#query") == "red"
    colours.fail_after = None
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".tile")


def test_an_app_that_was_stopped_is_said_and_the_page_goes_on_when_it_is_back(served: Served, visit: Visit) -> None:
    watched = visit(served)
    page = watched.go()
    served.stop()
    search(page, "red")
    page.wait_for_selector(".panel.error >> text=The app is not running")
    served.start()
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".tile")
    assert watched.names()[0] == "apple.png"


def test_a_name_with_markup_is_shown_and_never_parsed(
    open_collection: Any, serve: Any, visit: Visit, paint: Any, tmp_path: Path
) -> None:
    root = tmp_path / "odd"
    folder = "<b>bold</b>"
    paint(root / folder / MARKUP, "red")
    shutil.copy(root / folder / MARKUP, root / '"><svg onload=alert(2)>.png')
    (root / "<s>.txt").write_text("<script>alert(3)</script> red", "utf-8")
    watched = visit(serve(open_collection(root)))
    page = watched.go("/?sort=name")
    assert set(watched.names()) == {MARKUP, '"><svg onload=alert(2)>.png'}
    page.locator(".tile-face").first.click()
    page.wait_for_selector("dialog[open] .facts-name")
    page.get_by_role("button", name="More like this").click()
    page.wait_for_selector(".term")
    for address in (
        "/?view=duplicates",
        "/?kind=text",
        f"/?q={MARKUP}%22",
        "/?folder=%3Cb%3Ebold%3C%2Fb%3E",
        "/?open=%3Cimg src=x onerror=alert(4)%3E",
    ):
        watched.go(address)
    assert page.locator("b, s, svg[onload], img[onerror], img[src=x]").count() == 0


def test_a_broken_image_is_a_tile_and_a_panel(served: Served, visit: Visit, folder: Path) -> None:
    (folder / "apple.png").write_bytes(b"no image any more")
    (folder / "leaf.jpg").unlink()
    watched = visit(served)
    page = watched.go("/?sort=name")
    until(page, "document.querySelectorAll('.tile-face.broken').length === 2")
    page.locator(".tile-face").nth(1).click()
    page.wait_for_selector("dialog .panel")
    assert "no longer there" in page.locator("dialog .panel p").inner_text()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("dialog .stage img.loaded")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    assert len(watched.names()) == 3


def test_the_keyboard_alone_is_enough(served: Served, visit: Visit) -> None:
    watched = visit(served)
    page = watched.go("/?sort=name")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Control+k")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.press("ArrowDown")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focused) == "apple.png"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "trip/sea.png"
    page.keyboard.press("ArrowRight")  # the last one stays
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(focused) == "leaf.jpg"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    assert page.evaluate(focused) == "Close"
    page.keyboard.press("ArrowRight")
    assert page.locator(".facts-name").inner_text() == "sea.png"
    for _ in range(12):  # the focus does not leave the dialog
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    until(page, f"{focused} === 'trip/sea.png'")
    page.keyboard.press("m")
    until(page, "location.search.includes('like=trip%2Fsea.png')")


def test_a_screen_reader_finds_names_and_roles(served: Served, visit: Visit) -> None:
    watched = visit(served)
    page = watched.go("/?q=red&all=1&sort=name")
    tree = page.locator("body").aria_snapshot()
    for part in (
        "banner", "main", 'search "Images"', 'searchbox "Search with words, in any language"', 'grid "Images"', "row",
        "gridcell", 'button "Filters"', 'button "Varied"', "status",
    ):  # fmt: skip
        assert part in tree, (part, tree)
    assert re.search(r'button "apple\.png, similarity 0\.\d\d"', tree)
    unnamed = page.evaluate(
        """[...document.querySelectorAll("button, a[href], input, select, textarea, [role=grid], dialog[open]")]
        .filter((one) => !one.hidden && !one.closest("[hidden]") && !one.getAttribute("aria-label")
        && !one.textContent.trim() &&
        !one.labels?.length).map((one) => one.outerHTML)"""
    )
    assert unnamed == []
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    page.click("#filters-button")
    assert page.get_attribute("#filters-button", "aria-expanded") == "true"


def luminance(page: Any, selector: str, part: str) -> float:
    colour = page.evaluate(f"getComputedStyle(document.querySelector({selector!r})).{part}")
    red, green, blue = (int(number) / 255 for number in re.findall(r"\d+", colour)[:3])
    parts = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in (red, green, blue)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_dark_follows_the_system_and_the_button(served: Served, visit: Visit) -> None:
    watched = visit(served, color_scheme="dark")
    page = watched.go("/?q=red&all=1")

    def check_contrast(*, dark: bool) -> None:
        ground = luminance(page, "body", "backgroundColor")
        assert (ground < 0.1) is dark
        for text in ("#folder-name", "#count", ".tile-name", ".tile-score"):
            lines = sorted([ground, luminance(page, text, "color")])
            assert (lines[1] + 0.05) / (lines[0] + 0.05) >= 4.5, text

    check_contrast(dark=True)
    assert page.get_attribute("#theme", "aria-pressed") == "true"
    page.click("#theme")
    check_contrast(dark=False)
    page.reload()
    page.wait_for_selector(".tile")
    check_contrast(dark=False)


def test_a_phone_shows_everything_within_its_width(served: Served, visit: Visit) -> None:
    watched = visit(served, width=360, height=740, has_touch=True, is_mobile=True)
    page = watched.go("/?q=red&all=1")
    for address in ("/?q=red&all=1", "/?view=duplicates&threshold=0.8", "/?open=apple.png", "/?q=%22open"):
        watched.go(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
    watched.go("/?q=red&all=1")
    page.click("#filters-button")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        """[...document.querySelectorAll("header button, header a, .toolbar button")].filter((one) => one.offsetParent)
        .map((one) => one.getBoundingClientRect()).filter((box) => Math.min(box.width, box.height) < 24).length"""
    )
    assert small == 0


def test_motion_is_reduced_where_that_is_asked_for(served: Served, visit: Visit) -> None:
    watched = visit(served, reduced_motion="reduce")
    page = watched.go()
    seconds = page.evaluate("getComputedStyle(document.querySelector('.tile-face img')).transitionDuration")
    assert float(seconds.removesuffix("s")) < 0.001


def test_duplicates_make_lists_and_delete_nothing(
    open_collection: Any, serve: Any, visit: Visit, paint: Any, tmp_path: Path
) -> None:
    root = tmp_path / "copies"
    paint(root / "small.png", "red", (24, 24))
    paint(root / "large.png", "red", (48, 48))
    paint(root / "other.png", "blue")
    watched = visit(serve(open_collection(root)))
    page = watched.go("/")
    page.click("#duplicates-link")
    page.wait_for_selector(".duplicates")
    watched.go("/?view=duplicates&threshold=0.95")
    assert page.locator(".group").count() == 1
    page.get_by_role("button", name="Paths of the others").click()
    assert page.input_value("dialog textarea") == str(root / "small.png")
    page.keyboard.press("Escape")
    page.locator(".member", has_text="small.png").locator("input[type=radio]").check()
    page.get_by_role("button", name="Paths of the others").click()
    assert page.input_value("dialog textarea") == str(root / "large.png")
    page.keyboard.press("Escape")
    page.locator(".member-face").first.click()
    page.wait_for_selector("dialog[open] .facts-name")
    assert sorted(path.name for path in root.iterdir()) == ["large.png", "other.png", "small.png"]


def test_the_head_is_one_line_at_any_width(open_collection: Any, serve: Any, visit: Visit, folder: Path) -> None:
    page = visit(serve(open_collection(folder))).go("/")
    for width in (700, 861, 1000, 1100, 1280, 1600):
        page.set_viewport_size({"width": width, "height": 640})
        assert page.evaluate("document.querySelector('.tools').scrollHeight") == 40, width
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


def test_a_search_that_waits_for_the_model_says_so(
    open_collection: Any, serve: Any, visit: Visit, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_collection(folder)
    ready = threading.Event()
    search = collection.search
    monkeypatch.setattr(collection, "prepare_search", lambda: ready.wait(30))
    monkeypatch.setattr(collection, "search", lambda *a, **k: ready.wait(30) and search(*a, **k))
    watched = visit(serve(collection))
    page = watched.go("/")
    assert page.locator("#count").inner_text() == "3 images"  # what needs no model is there
    page.goto(watched.url + "/?q=red&all=1")
    told = page.locator("#count", has_text="Loading the model …")
    told.wait_for()
    ready.set()
    told.wait_for(state="detached")
    assert page.locator("#count").inner_text() == "3 images"


def test_ten_thousand_images_scroll_like_ten(
    open_collection: Any, serve: Any, visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In memory only: the store waits for the disk with every point, minutes for all of them.
    monkeypatch.setattr("qdrant_client.local.persistence.CollectionPersistence.persist", lambda *_: None)
    root = tmp_path / "many"
    root.mkdir()
    content = png((30, 60, 220))
    collection = open_collection(root, index=False)
    fill_with_copies(collection, content, MANY)
    watched = visit(serve(collection))
    page = watched.go("/?sort=name")
    assert page.locator("#count").inner_text() == "10,000 images"
    rows = int(page.get_attribute(".grid", "aria-rowcount"))
    for place in (0.1, 0.5, 0.9, 1.0, 0.0):
        page.evaluate(f"scrollTo(0, document.documentElement.scrollHeight * {place})")
        until(page, SHOWN_ON_SCREEN)
        assert page.locator(".tile").count() < 250
    page.locator(".tile-face").first.focus()
    page.keyboard.press("Control+End")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "09999.png"
    assert page.evaluate("document.activeElement.closest('[role=row]').getAttribute('aria-rowindex')") == str(rows)
    # Rows that were left behind are gone: what is not on the screen costs nothing.
    assert page.locator(".tile").count() < 250


def fill_with_copies(collection: FolderCollection, content: bytes, count: int) -> None:
    """So many files and points, without computing a vector for each."""
    vectors = np.random.default_rng(1).standard_normal((count, collection.model.fingerprint.dimensions))
    entries = []
    for number in range(count):
        path = collection.root / f"{number:05}.png"
        path.write_bytes(content)
        entries.append(Entry(SourceFile(path, path.name, "image"), Stamp(len(content), number, "")))
    collection.store.put(collection.root, entries, vectors.astype(np.float32), collection.model)


class Gate:
    """Lets so many images of a backend through, and holds up the next ones until it is opened."""

    def __init__(self, backend: Any) -> None:
        self._embed = backend.embed
        self._allowed = 0
        self._seen = 0
        self._change = threading.Condition()
        backend.embed = self._wait_and_embed

    def _wait_and_embed(self, batch: Any) -> Any:
        if batch.modality == "image":
            with self._change:
                assert self._change.wait_for(lambda: self._seen < self._allowed, timeout=30)
                self._seen += len(batch)
        return self._embed(batch)

    def let_through(self, count: int) -> None:
        with self._change:
            self._allowed = count
            self._change.notify_all()

    def open(self) -> None:
        self.let_through(2**31)


def test_indexing_shows_its_progress_while_images_are_found_already(
    open_collection: Any, serve: Any, visit: Visit, folder: Path, colours: Any, paint: Any
) -> None:
    for number in range(40):
        paint(folder / "more" / f"{number}.png", "blue", (24, 25 + number))
    (folder / "broken.png").write_bytes(b"no image")
    collection = open_collection(folder, index=False)
    gate = Gate(colours)
    watched = visit(serve(collection, index=True))
    page = watched.page
    page.goto(watched.url)
    gate.let_through(13)  # as many as the first chunk has
    page.wait_for_selector("#progress:not([hidden]) >> text=You can search already")
    page.wait_for_selector(".tile")
    search(page, "red")
    until(page, "!document.body.classList.contains('waiting')")
    gate.open()
    page.wait_for_selector("#progress", state="hidden")
    page.wait_for_selector(".banner >> text=could not be read")
    page.get_by_role("button", name="Which?").click()
    assert "broken.png" in page.locator("dialog[open] .left-out").inner_text()


def test_elsewhere_the_token_of_the_address_opens_the_page_and_leaves_it(
    collection: FolderCollection, serve: Any, visit: Visit
) -> None:
    token = "a-token-of-some-length"
    served = serve(collection, token=token)
    watched = visit(served)
    page = watched.go()
    assert page.locator("#token-panel").count() == 1
    page.fill("#token-panel input", "wrong-token-wrong-token")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast")
    page.fill("#token-panel input", token)
    page.keyboard.press("Enter")
    page.wait_for_selector(".tile")
    another = visit(served)
    page = another.go(f"/#token={token}")
    page.wait_for_selector(".tile img.loaded")
    assert token not in page.url
    assert page.evaluate("document.cookie") == ""
