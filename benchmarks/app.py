"""How fast the app answers: the demo model and 1,000 images of its gallery, from the request to the last byte.

    python benchmarks/app.py [--images 1000] [--searches 60]

The app runs in a process of its own, as `jina-clip app` starts it, and is asked over HTTP while it indexes and
afterwards, by another query each time. A search holds everything that the page shows but the thumbnails, which are
asked for one by one: the first time they are made, the second time they are in memory.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from reporting import Option, heading, run, table

from jina_clip_integrations.demo.gallery import gallery

LANGUAGES = ("en", "de", "es", "ja", "ar")
PAUSE_S = 0.05
"""Between two searches while the folder is indexed, as of somebody who types."""


def report(images: int, searches: int) -> str:
    """Measure and return the report."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "Gallery"
        folder.mkdir()
        for number, image in enumerate(gallery()[:images]):
            (folder / f"{number}.webp").write_bytes(image.data())
        rows = measure(folder, Path(scratch) / "store", searches)
    indexed = f"{images:,} images, indexed in {rows.pop('indexing')[0]:.0f} s."
    columns = ["request", ">times", ">median, ms", ">slowest, ms"]
    shown = [
        [name, len(times), *map(milliseconds, (statistics.median(times), max(times)))] for name, times in rows.items()
    ]
    return f"{heading('The app', __file__)}\n{indexed}\n\n{table(columns, shown)}"


def measure(folder: Path, store: Path, searches: int) -> dict[str, list[float]]:
    """Name of a request to the seconds it took each time."""
    words = [image.names[language] for image in gallery()[::7] for language in LANGUAGES]
    command = [sys.executable, "-u", "-m", "jina_clip_integrations.cli", "app", str(folder), "--store", str(store)]
    app = subprocess.Popen(
        [*command, "--model", "demo", "--no-browser", "--port", "0"],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert app.stdout is not None
    try:
        url = app.stdout.readline().rpartition(" is at ")[2].strip()
        with requests.Session() as session:
            return ask(lambda path, **query: get(session, url + path, query), iter(words), searches)
    finally:
        app.terminate()
        app.wait()


def ask(get_one: Callable[..., Any], words: Any, searches: int) -> dict[str, list[float]]:
    """All the requests."""
    started_s = time.monotonic()
    during = []
    while (status := get_one("api/status").json())["indexing"]["state"] == "running":
        if status["images"]:  # before, the model is being loaded
            during.append(timed(lambda: get_one("api/search", q=next(words))))
        time.sleep(PAUSE_S)
    took_s = time.monotonic() - started_s
    hits = get_one("api/search").json()["hits"][:searches]
    thumbnail = [lambda hit=hit: get_one("api/thumbnail", name=hit["name"], v=hit["v"]) for hit in hits]
    return {
        "indexing": [took_s],
        "search while indexing": during,
        "first search afterwards": [timed(lambda: get_one("api/search", q=next(words)))],
        "search": [timed(lambda: get_one("api/search", q=next(words))) for _ in range(searches)],
        "search, all shown": [timed(lambda: get_one("api/search", q=next(words), all="1")) for _ in range(searches)],
        "more like an image": [timed(lambda hit=hit: get_one("api/search", like=hit["name"])) for hit in hits],
        "all images": [timed(lambda: get_one("api/search")) for _ in range(10)],
        "thumbnail": [timed(one) for one in thumbnail],
        "thumbnail again": [timed(one) for one in thumbnail],
        "duplicates": [timed(lambda: get_one("api/duplicates")) for _ in range(5)],
    }


def get(session: requests.Session, address: str, query: dict[str, str]) -> requests.Response:
    """One answer, which has to be one."""
    answer = session.get(address, params=query, timeout=300)
    answer.raise_for_status()
    return answer


def milliseconds(seconds: float) -> str:
    """As the table has it."""
    return f"{1000 * seconds:.0f}"


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s


if __name__ == "__main__":
    run(report, doc=__doc__, images=Option(1000, "images in the folder"), searches=Option(60, "searches of each kind"))
