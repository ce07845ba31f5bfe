"""The collection as the page sees it: what it asks for, and answers as plain data for JSON."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from ..collections.duplicates import NEAR_DUPLICATE, DuplicateGroup
from ..collections.hits import Hit
from ..collections.names import decode_name, encode_name
from ..errors import ImageError, InputError
from ..images.decode import failure_reason
from ..images.sources import SourcePolicy
from ..server.errors import RequestError
from .address import Asked, Sort
from .indexing import IndexingJob, Progress
from .preparation import Preparation
from .settings import AppSettings
from .thumbnails import ThumbnailCache

if TYPE_CHECKING:
    from ..collections.description import Description
    from ..collections.filters import Filters
    from ..collections.folder import FolderCollection

DESCRIPTION_AGE_S = {True: 0.5, False: 20.0}
"""How old what is said of the collection may be while it is indexed, and otherwise, in seconds."""

MAX_VARIED = 200
"""Results of a search for varied ones, at most: each of them is compared with all the others."""

NEAREST = 24
"""Images that are shown where none is similar."""

CAPTION_CHARACTERS = 600
"""Most characters of a passage that are sent for a tile."""

MAX_SAVED_BYTES = 1 << 40
"""Largest file that can be saved from the page: it is sent in blocks, so that any size will do."""

ORDERS: dict[Sort, tuple[Callable[[Hit], Any], bool]] = {
    "newest": (lambda hit: (_moment(hit), hit.name), True),
    "oldest": (lambda hit: (_moment(hit), hit.name), False),
    "name": (lambda hit: (hit.name.casefold(), hit.passage), False),
    "largest": (lambda hit: (hit.size, hit.name), True),
}
"""How images are sorted without a query: key, and whether the largest key comes first."""


class Library:
    """One folder's collection behind the routes. Thread-safe, as the collection is."""

    def __init__(self, collection: FolderCollection, settings: AppSettings) -> None:
        self._collection = collection
        self._settings = settings
        self._thumbnails = ThumbnailCache(collection.thumbnail, settings.max_thumbnail_bytes)
        self._described: tuple[tuple[str, int], float, Description] | None = None
        self._lock = threading.Lock()
        self.preparation = Preparation(collection)
        self.job = IndexingJob(collection, watch=settings.watch, on_done=self.preparation.run)

    def start(self) -> None:
        """Get searches ready, and begin to index, if that is wanted."""
        self.preparation.start()
        if self._settings.index:
            self.job.start()

    def stop(self) -> None:
        """Wait for the indexing to stop at a point from which it can go on."""
        self.job.stop()
        self.preparation.stop()

    def status(self) -> dict[str, Any]:
        """What the folder is called and holds, and how far indexing is."""
        progress, folder = self.job.progress, self._collection.root  # before the counts, which then are not older
        about = self._describe(progress)
        return {
            "folder": _text(folder.name or str(folder)),
            "path": _text(str(folder)),
            "missing": not folder.is_dir(),
            "images": about.images,
            "passages": about.passages,
            "model": about.model,
            "dimensions": about.dimensions,
            "imageSize": about.image_size,
            "since": _day(about.since),
            "until": _day(about.until),
            "folders": [encode_name(name) for name in about.folders],
            "cameras": list(about.cameras),
            "formats": list(about.formats),
            "withPlace": about.with_place,
            "preparing": self.preparation.is_running,
            "indexing": asdict(progress),
        }

    def _describe(self, progress: Progress) -> Description:
        # The page asks every moment, and counting 100,000 images takes one.
        key = progress.state, progress.runs
        age_s = DESCRIPTION_AGE_S[progress.state == "running"]
        with self._lock:
            now_s = time.monotonic()
            if self._described is None or self._described[0] != key or now_s - self._described[1] > age_s:
                self._described = key, now_s, self._collection.describe()
            return self._described[2]

    def search(self, asked: Asked) -> dict[str, Any]:
        """The hits of a query, or everything that passes the filters."""
        if asked.query is None:
            return self._list(asked)
        most = self._settings.max_hits
        top = min(most, MAX_VARIED) if asked.diversity else most
        results = self._collection.search(
            asked.query,
            filters=asked.filters,
            modality=asked.modality,
            top=top,
            cut_off=None if asked.show_all else "lenient",
            diversity=asked.diversity,
            nearest=min(NEAREST, top),
        )
        # Where nothing stands out, an empty page would say less than the nearest there is.
        shown = results.hits or results.nearest
        hidden = results.hidden - len(results.nearest)
        return {
            "hits": [_to_json(hit) for hit in shown],
            "hidden": hidden,
            "cutOff": results.cut_off,
            "weak": bool(results.nearest),
            "more": len(shown) + hidden >= most,
        }

    def _list(self, asked: Asked) -> dict[str, Any]:
        key, reverse = ORDERS[asked.sort]
        hits = sorted(self._collection.browse(filters=asked.filters, modality=asked.modality), key=key, reverse=reverse)
        limit = self._settings.max_listed
        shown = [_to_json(hit) | {"score": None} for hit in hits[:limit]]
        return {"hits": shown, "hidden": 0, "cutOff": None, "weak": False, "more": len(hits) > limit}

    def duplicates(self, threshold: float | None, filters: Filters) -> dict[str, Any]:
        """Groups of nearly equal images, each with the one to keep and why."""
        threshold = NEAR_DUPLICATE if threshold is None else threshold
        groups = self._collection.duplicates(threshold=threshold, filters=filters)
        return {"groups": [_group_to_json(group) for group in groups], "threshold": threshold}

    def thumbnail(self, kept: str, pixels: int, version: str) -> bytes:
        """A small version of an image. Raises `RequestError` 404 for one that is gone, and `ImageError`."""
        with _naming_the_lost():
            return self._thumbnails.get(decode_name(kept), pixels, version)

    def original(self, kept: str) -> tuple[BinaryIO, dict[str, str]]:
        """An image's own file, open, and the headers under which it is saved. Raises like `thumbnail`."""
        with _naming_the_lost():
            path = self._collection.image_path(decode_name(kept))
            # Opened below the folder and without following a link: since the path was looked up it may have changed.
            policy = SourcePolicy(
                roots=(self._collection.root,), schemes=(), data_uris=False, max_bytes=MAX_SAVED_BYTES
            )
            file = policy.open_path(os.fspath(path))
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(os.fsencode(path.name))}",
            "Content-Length": str(os.fstat(file.fileno()).st_size),
        }
        return file, headers


def _to_json(hit: Hit) -> dict[str, Any]:
    """A hit as the page knows it; names as `encode_name` writes them, as JSON holds no other bytes."""
    return {
        "name": encode_name(hit.name),
        "v": f"{hit.size:x}-{int(hit.modified * 1000):x}",
        "kind": hit.modality,
        "score": hit.score,
        "text": None if hit.text is None else _text(hit.text[:CAPTION_CHARACTERS]),
        "width": hit.width,
        "height": hit.height,
        "format": hit.format,
        "bytes": hit.size,
        "modified": hit.modified,
        "taken": hit.taken,
        "camera": hit.camera,
        "place": hit.place,
    }


def _group_to_json(group: DuplicateGroup) -> dict[str, Any]:
    images = [_to_json(group.keep) | {"score": None}, *(_to_json(other.image) for other in group.others)]
    return {"keep": encode_name(group.keep.name), "reason": group.reason, "images": images}


def _moment(hit: Hit) -> float:
    return hit.modified if hit.taken is None else hit.taken


def _day(seconds: float | None) -> str | None:
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d}"


def _text(text: str) -> str:
    """Text that JSON can hold: bytes of a name that are no UTF-8 become replacement characters."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@contextmanager
def _naming_the_lost() -> Iterator[None]:
    """404 for a name that is not indexed, and for a file that was deleted or moved since, in words for people."""
    try:
        yield
    except ImageError:
        raise
    except InputError as error:
        raise RequestError(404, "IMAGE_UNKNOWN", error.message) from None
    except FileNotFoundError:
        raise RequestError(404, "IMAGE_GONE", "The file is no longer where it was when it was indexed") from None
    except OSError as error:
        raise ImageError(failure_reason(error)) from error
