"""Makes the image of the app in the docs anew: `python tools/app_screenshot.py [--all FOLDER]`.

The folder is the demo gallery, the model the demo model, the browser Debian's Chromium. `--all` writes every view there
is, for people who change the page and want to see what they did.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "images" / "app.png"
LATEST_S = 1_750_000_000.0
"""When the newest image of the gallery was changed, so that the headings stay the same."""
STEP_S = 40_000
COLOURS = 256
"""Of the image in the docs: flat colours and few of them, a third of the bytes."""


@dataclass(frozen=True)
class View:
    """One view of the page."""

    name: str
    address: str
    click: str = ""
    dark: bool = False
    size: tuple[int, int] = (1280, 800)
    phone: bool = False


VIEWS = (
    View("search", "/?q=Obst"),
    View("browse", "/"),
    View("browse-dark", "/", dark=True),
    View(
        "more-and-less",
        "/?q=flower&like=Animals+%26+Nature%2Ftulip.webp&unlike=Animals+%26+Nature%2Frose.webp",
        dark=True,
    ),
    View("filters", "/?q=%E9%9B%AA%E5%B1%B1&folder=Travel+%26+Places", click="#filters-button"),
    View("nothing-similar", "/?q=car"),
    View("nothing", "/?q=Katze&since=2030-01-01"),
    View("error", "/?q=%22open"),
    View("single", "/?q=sunrise&open=Travel+%26+Places%2Fsunrise.webp"),
    View("single-dark", "/?q=sunrise&open=Travel+%26+Places%2Fsunrise.webp", dark=True),
    View("single-broken", "/?open=gone.webp"),
    View("duplicates", "/?view=duplicates&threshold=0.96"),
    View("duplicates-dark", "/?view=duplicates&threshold=0.96", dark=True),
    View("help", "/", click="#help"),
    View("phone", "/?q=flower", size=(390, 844), phone=True),
    View("phone-single", "/?q=flower&open=Animals+%26+Nature%2Ftulip.webp", size=(390, 844), phone=True, dark=True),
    View("phone-duplicates", "/?view=duplicates&threshold=0.96", size=(390, 844), phone=True),
)


def write_gallery(folder: Path) -> None:
    """The demo gallery as files with their English names, in a folder per category."""
    from jina_clip_integrations.demo.gallery import gallery

    for number, image in enumerate(gallery()):
        path = folder / image.category / f"{image.names['en'].replace('/', '-')}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.data())
        os.utime(path, (LATEST_S - number * STEP_S,) * 2)


@contextmanager
def serve(folder: Path, store: Path) -> Iterator[str]:
    """The app on a free port, indexed."""
    from jina_clip_integrations import JinaClipEncoder
    from jina_clip_integrations.app import AppSettings, create_app
    from jina_clip_integrations.cli.serve import open_socket
    from jina_clip_integrations.cli.served_folder import make_http_server
    from jina_clip_integrations.collections.folder import FolderCollection

    with (
        JinaClipEncoder(model="demo", backend="local") as encoder,
        FolderCollection.open(folder, encoder=encoder, store=store) as collection,
    ):
        collection.index(lambda progress: print(f"\r{progress.done}", end="", file=sys.stderr))
        server = make_http_server(create_app(collection, AppSettings(index=False)))
        listening = open_socket("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def photograph(browser: Any, url: str, view: View) -> bytes:
    """A PNG of one view."""
    width, height = view.size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if view.dark else "light",
        device_scale_factor=2 if view.phone else 1,
        is_mobile=view.phone,
        has_touch=view.phone,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(url + view.address)
    page.wait_for_selector(".tile, .panel, .duplicates")
    page.wait_for_load_state("networkidle")
    if view.click:
        page.click(view.click)
    page.wait_for_timeout(300)
    shot: bytes = page.screenshot()
    context.close()
    return shot


def save(content: bytes, path: Path) -> None:
    """Write a PNG with few colours, which is small."""
    import PIL.Image

    path.parent.mkdir(parents=True, exist_ok=True)
    image = PIL.Image.open(io.BytesIO(content)).convert("RGB")
    few = image.quantize(COLOURS, method=PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE)
    few.save(path, optimize=True)
    print(f"\n{path}: {path.stat().st_size:,} bytes")


def main() -> None:
    """Make the image, or with `--all` one of every view."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", metavar="FOLDER", type=Path, help="write every view into this folder instead")
    chosen = parser.parse_args().all
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch) / "Gallery"
        write_gallery(folder)
        switches = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=switches)
        with serve(folder, Path(scratch) / "store") as url:
            for view in VIEWS if chosen else VIEWS[:1]:
                save(photograph(browser, url, view), chosen / f"{view.name}.png" if chosen else TARGET)
        browser.close()


if __name__ == "__main__":
    main()
