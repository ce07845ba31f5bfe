"""A folder and its collection as one object: what the command line, the app and the MCP server open."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import BackendError, ImageError, InputError
from ..images.sources import SourcePolicy
from ..printable import printable_name
from .description import Description
from .duplicates import NEAR_DUPLICATE, DuplicateGroup
from .filters import Filters
from .hits import Hit
from .identity import CollectionModel
from .indexing import Indexer, IndexReport, OnProgress
from .locations import default_store
from .query import Query
from .refine import Refiner
from .scan import resolve_folder
from .search import FolderSearch, Results
from .store import DEFAULT_COLLECTION, FolderStore
from .thumbnails import make_thumbnail

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..encoder import JinaClipEncoder

MakeEncoder = Callable[["CollectionModel | None"], "JinaClipEncoder"]


class FolderCollection:
    """Images and texts of a folder, indexed and searchable. Thread-safe, also while a thread of it is indexing.

    An embedded store belongs to one process at a time; a second one that opens it gets a `BackendError`.
    """

    def __init__(
        self, root: Path, store: FolderStore, encoder: JinaClipEncoder, model: CollectionModel, *, owns_encoder: bool
    ) -> None:
        self.root = root
        """Absolute."""
        self.store = store
        self.encoder = encoder
        self.model = model
        self._owns_encoder = owns_encoder
        self._search = FolderSearch(store, encoder, root=root)
        self._indexer = Indexer(store, root, encoder, model)
        self._indexing = threading.Lock()
        self._stop = threading.Event()
        self._closed = False
        self._policy = SourcePolicy(roots=(root,), schemes=(), data_uris=False, max_pixels=encoder.sources.max_pixels)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        encoder: JinaClipEncoder | MakeEncoder,
        store: str | os.PathLike[str] | None = None,
        collection: str = DEFAULT_COLLECTION,
        backend: str | None = None,
        address: Mapping[str, str] | None = None,
    ) -> FolderCollection:
        """Open a folder's collection, an empty one if there is none yet. Nothing is indexed.

        Args:
            folder: The folder of images and texts.
            encoder: What embeds them, which stays the caller's; or a function that makes it, given the model that the
                store was made with (None for an empty one), and which is then closed with the collection.
            store: A folder for an embedded store, or the URL of a Qdrant server; None = a folder of the user's cache.
            collection: Its name in the store.
            backend: How the command line named the backend, for searches to come.
            address: Those of `identity.ADDRESS_OPTIONS` that were given.

        Raises:
            InputError: there is no such folder.
            ConfigurationError: the store holds vectors of another model.
            BackendError: the store is in use by another program, damaged, or does not answer.
        """
        root = resolve_folder(os.fspath(folder))
        opened = FolderStore(os.fspath(default_store(root) if store is None else store), collection=collection)
        made: JinaClipEncoder | None = None
        try:
            if callable(encoder):
                made = encoder = encoder(opened.model())
            model = CollectionModel.of_encoder(encoder, backend=backend, address=address)
            opened.prepare(model)
        except BaseException:
            opened.close()
            if made is not None:
                made.close()
            raise
        return cls(root, opened, encoder, model, owns_encoder=made is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store, and of the encoder if it was made for this. Idempotent.

        A run of `index` in another thread ends with the chunk under way, and is waited for.
        """
        self._closed = True
        self._stop.set()
        with self._indexing:
            self.store.close()
        if self._owns_encoder:
            self.encoder.close()

    def index(
        self,
        on_progress: OnProgress | None = None,
        stop: threading.Event | None = None,
        *,
        only: Collection[str] | None = None,
    ) -> IndexReport:
        """Bring the collection up to date with the folder: `Indexer.run`. Searches go on meanwhile.

        One at a time; a second call waits. Raises `BackendError` where the collection is closed.
        """
        with self._indexing:
            self._stop = stop or threading.Event()
            if self._closed:  # looked at after `_stop` is there, which `close` sets after it closed
                raise BackendError(f"the collection of {self.root} is closed")
            return self._indexer.run(on_progress, self._stop, only=only)

    def search(self, query: Query | str, **options: Any) -> Results:
        """As `FolderSearch.search`."""
        return self._search.search(query, **options)

    def refiner(self, encoder: JinaClipEncoder) -> Refiner:
        """A search of this collection, made for a quick look, that looks at the best hits again with `encoder`.

        Raises `ConfigurationError` for an encoder of another model, or of no larger image size.
        """
        return Refiner(self._search, encoder)

    def prepare_search(self) -> None:
        """As `FolderSearch.prepare`."""
        self._search.prepare()

    def browse(self, **options: Any) -> list[Hit]:
        """As `FolderSearch.browse`."""
        return self._search.browse(**options)

    def duplicates(self, *, threshold: float = NEAR_DUPLICATE, filters: Filters | None = None) -> list[DuplicateGroup]:
        """As `FolderSearch.duplicates`."""
        return self._search.duplicates(threshold=threshold, filters=filters)

    def describe(self) -> Description:
        """As `FolderSearch.describe`."""
        return self._search.describe()

    def find(self, name: str) -> Hit:
        """What is known of an indexed file. Raises `InputError` for a name that is not indexed."""
        return self._search.find(name)

    def image_path(self, name: str) -> Path:
        """The file of an indexed image, links resolved, for reading.

        Raises `InputError` for a name that is not one of an indexed image, and `ImageError` for a file that is no
        longer there or that a link leads out of the folder for.
        """
        shown = printable_name(name)
        if self.find(name).modality != "image":
            raise InputError(f"{shown} is a text, not an image")
        if not self.root.is_dir():
            raise ImageError(f"the folder {self.root} is no longer there")
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root):
            raise ImageError(f"{shown}: a link that leads out of the folder")
        if not path.is_file():
            raise ImageError(f"{shown}: the file is no longer there; index the folder again")
        return path

    def thumbnail(self, name: str, pixels: int) -> bytes:
        """A small copy of an indexed image, as WebP, its longest side at most `pixels` (16 to 2,048), upright.

        Raises as `image_path`, and `ImageError` for an image that cannot be decoded or is too large.
        """
        return make_thumbnail(self.image_path(name), pixels, self._policy, name=name)
