"""What the tools do, in plain calls: arguments are checked, names are those of the collection, sizes are bounded.

Thread-safe, as the collection is. Nothing here knows of the protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..collections.folder import FolderCollection
from ..collections.query import Query, Term
from ..errors import InputError
from ..images.sources import SourcePolicy
from .arguments import (
    LESS,
    FilterArguments,
    check_count,
    check_image,
    is_data_uri,
    make_filters,
    parse_words,
    text_terms,
)
from .describe import count_list, describe_group, describe_hit, time_text
from .images import Gallery, Shown, read_file
from .names import read_name, show, wire_name
from .schema import CollectionResult, DuplicatesResult, EmbedResult, Result, SearchResult
from .settings import DEFAULT_PIXELS, MAX_EMBEDDED, McpSettings
from .source import CollectionSource

MAX_LISTED = 100
"""Most folders, cameras or formats that a description names."""
MAX_OTHERS = 20
"""Most duplicates of an image that are named."""


@dataclass(frozen=True)
class Answer:
    """A structured result, and the images that belong to it."""

    result: Result
    images: Sequence[Shown] = ()


@dataclass(frozen=True, kw_only=True)
class Look:
    """How much of a result is shown."""

    top: int = 10
    images: int = 0
    """How many of the first are shown as image blocks."""
    image_pixels: int = DEFAULT_PIXELS


@dataclass(frozen=True, kw_only=True)
class SearchArguments:
    """What a search is asked for."""

    query: str = ""
    image: str = ""
    plus: Sequence[str] = ()
    minus: Sequence[str] = ()
    more_like: Sequence[str] = ()
    less_like: Sequence[str] = ()
    filters: FilterArguments = field(default_factory=FilterArguments)
    diversity: float = 0.0
    show_weak: bool = False


class AgentService:
    """Search, description and images of one folder.

    Args:
        source: Opens the collection, whose encoder should have the agent's source policy.
        settings: Limits.
    """

    def __init__(self, source: CollectionSource, settings: McpSettings) -> None:
        self.source = source
        self.settings = settings

    def search(self, given: SearchArguments, look: Look) -> Answer:
        """Images by words, an image and stored images. Raises `JinaClipError`."""
        filters = make_filters(given.filters, self.settings)
        terms = [
            *parse_words(given.query, self.settings),
            *text_terms("plus", given.plus, 1.0, self.settings),
            *text_terms("minus", given.minus, LESS, self.settings),
        ]
        collection = self.source.get()
        terms += [self._image_term(collection, given.image)] if given.image.strip() else []
        for name, names, weight in (("more_like", given.more_like, 1.0), ("less_like", given.less_like, LESS)):
            check_count(name, names)
            terms += [Term(weight, stored=self._known_name(collection, each)) for each in names if each.strip()]
        if not any(term.weight > 0 for term in terms):
            raise InputError("give something to search for: query, image, plus or more_like")
        return self._search(collection, Query(tuple(terms)), filters, look, given)

    def find_similar(self, name: str, filters: FilterArguments, look: Look) -> Answer:
        """Images like one of the collection, which is not among them. Raises `JinaClipError`."""
        checked = make_filters(filters, self.settings)
        collection = self.source.get()
        query = Query((Term(stored=self._known_name(collection, name)),))
        return self._search(collection, query, checked, look, SearchArguments())

    def find_duplicates(self, threshold: float, filters: FilterArguments, look: Look) -> Answer:
        """Groups of images that are nearly the same, each with the one to keep. Nothing is deleted."""
        checked = make_filters(filters, self.settings)
        collection = self.source.get()
        groups = collection.duplicates(threshold=threshold, filters=checked)
        listed = groups[: look.top]
        files = [describe_group(group, max_others=MAX_OTHERS) for group in listed]
        gallery = self._gallery(collection, look)
        shown = gallery.show([group.keep.name for group in listed[: look.images]], files[: look.images])
        notes = [
            *self._notes(),
            "Nothing was deleted, and nothing here can: ask the owner of the images.",
        ]
        result = DuplicatesResult(groups=[*shown, *files[look.images :]], total=len(groups), notes=notes)
        return Answer(result, gallery.shown)

    def describe(self) -> Answer:
        """What there is to search, and how far its index is. Raises `JinaClipError`."""
        about = self.source.get().describe()
        return Answer(
            CollectionResult(
                folder=wire_name(self.source.folder.name),
                available=self.source.is_available,
                images=about.images,
                model=about.model,
                dimensions=about.dimensions,
                image_size=about.image_size,
                since=time_text(about.since),
                until=time_text(about.until),
                folders=count_list(about.folders, MAX_LISTED),
                cameras=count_list(about.cameras, MAX_LISTED),
                formats=count_list(about.formats, MAX_LISTED),
                with_place=about.with_place,
                indexing=self.source.indexing,
                notes=self._notes(),
            )
        )

    def embed(self, texts: Sequence[str], images: Sequence[str]) -> Answer:
        """Vectors of texts, then of images. Raises `JinaClipError`."""
        check_count("texts and images", [*texts, *images], MAX_EMBEDDED)
        terms = text_terms("texts", texts, 1.0, self.settings)
        if len(terms) < len(texts):
            raise InputError("texts: one of them is blank")
        collection = self.source.get()
        items = [{"text": text} for text in texts] + [{"image": self._readable(collection, each)} for each in images]
        if not items:
            raise InputError("give texts or images to embed")
        vectors = collection.encoder.encode(items)
        rows = [[float(number) for number in row] for row in vectors]
        return Answer(
            EmbedResult(
                model=collection.encoder.model,
                dimensions=int(vectors.shape[-1]),
                image_size=collection.encoder.reduced_image_size,
                vectors=rows,
                notes=[],
            )
        )

    def thumbnail(self, name: str, pixels: int) -> bytes:
        """A small version of an indexed image. Raises `JinaClipError`, with the name."""
        collection = self.source.get()
        return Gallery(collection, self.settings.max_result_bytes, pixels).read(self._known_name(collection, name))

    def file(self, name: str) -> bytes:
        """The file of an indexed image, as it is. Raises `JinaClipError` for one that is too large to hand out."""
        collection = self.source.get()
        return read_file(collection, self._known_name(collection, name), self.settings.max_resource_bytes)

    def _search(
        self, collection: FolderCollection, query: Query, filters: object, look: Look, given: SearchArguments
    ) -> Answer:
        results = collection.search(
            query,
            filters=filters,
            top=look.top,
            cut_off=None if given.show_weak else "auto",
            diversity=given.diversity,
        )
        files = [describe_hit(hit, rank) for rank, hit in enumerate(results.hits, 1)]
        gallery = self._gallery(collection, look)
        shown = gallery.show([hit.name for hit in results.hits[: look.images]], files[: look.images])
        notes = self._notes()
        if results.hidden:
            notes.append(f"{results.hidden} more are too unlike the query to be listed; show_weak=true lists them.")
        result = SearchResult(
            hits=[*shown, *files[look.images :]], hidden=results.hidden, cut_off=results.cut_off, notes=notes
        )
        return Answer(result, gallery.shown)

    def _gallery(self, collection: FolderCollection, look: Look) -> Gallery:
        return Gallery(collection, self.settings.max_result_bytes, look.image_pixels)

    def _image_term(self, collection: FolderCollection, image: str) -> Term:
        """A stored image by its name, else a file of the folder that is not indexed yet, or a data URI."""
        check_image("image", image, self.settings)
        if is_data_uri(image):
            return Term(image=image)
        try:
            return Term(stored=self._known_name(collection, image))
        except InputError:
            return Term(image=self._readable(collection, image))

    def _readable(self, collection: FolderCollection, image: str) -> str:
        """A data URI, or the path of a file of the folder. Raises `InputError` for anything else."""
        check_image("image", image, self.settings)
        if is_data_uri(image):
            return image
        path = (collection.root / self._name(collection, image)).resolve()
        # The encoder's policy decides once more when it opens the file; here the message is the agent's.
        if not path.is_relative_to(collection.root) or not path.is_file():
            raise _unknown(image)
        SourcePolicy.agent(collection.root).open_path(str(path)).close()
        return str(path)

    def _known_name(self, collection: FolderCollection, given: str) -> str:
        """The name of an indexed file. Raises `InputError` for any other."""
        check_image("name", given, self.settings)
        name = self._name(collection, given)
        try:
            collection.find(name)
        except InputError:
            raise _unknown(given) from None
        return name

    def _name(self, collection: FolderCollection, given: str) -> str:
        """The relative name in what an agent passes; hosts that work in the same folder know absolute paths too."""
        name = read_name(given)
        start = f"{collection.root.as_posix()}/"
        if "\0" in name:
            raise _unknown(given)
        return name.removeprefix(start)

    def _notes(self) -> list[str]:
        indexing = self.source.indexing
        notes = []
        if not self.source.is_available:
            notes.append("The folder is not there at the moment: what is indexed can be found, and no image be shown.")
        if indexing.state in ("waiting", "running"):
            notes.append(
                f"The index is still being made ({indexing.done:,} of {indexing.total:,} files): "
                "what is not indexed yet cannot be found."
            )
        if indexing.state == "failed":
            notes.append(f"The index may be incomplete: {indexing.problem}")
        return notes


def _unknown(given: str) -> InputError:
    return InputError(
        f"{show(given)} is none of the images of this collection; pass a name as search_images returns it"
    )
