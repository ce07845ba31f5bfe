"""`JinaClipMteb`: a `JinaClipEncoder` as a model of mteb 2, whichever backend computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.types import PromptType

from ...encoder import JinaClipEncoder
from ...encoder.progress import ProgressBar
from ...errors import ConfigurationError, InputError
from ...types import Vectors
from ...vectors import normalize
from .meta import model_meta

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata

CHUNK = 256
"""Items that are handed to the encoder together: several batches of mteb, so that a service gets parallel requests."""


class Advancing(Protocol):
    """What counts finished items."""

    def advance(self, count: int, /) -> None: ...


Progress = Callable[[int, str], AbstractContextManager[Advancing]]
"""From the number of items and a label to what counts them."""


@dataclass(frozen=True)
class Entry:
    """One item of a task: a text, an image or both."""

    text: str | None
    image: Any


class JinaClipMteb(AbsEncoder):  # type: ignore[misc]  # mteb is untyped here
    """A model for `mteb.evaluate`, without code from the Hub and without torchvision.

        model = JinaClipMteb("demo", backend="local")
        mteb.evaluate(model, mteb.get_tasks(tasks=["Flickr30kT2IRetrieval"]))

    Args:
        model: A `JinaClipEncoder`, or the name of a model, for which one is made.
        revision: What to call the weights; None asks the checkpoint.
        device: Where the local backend runs, as mteb passes it; None leaves it to `options`.
        name: What to call the model, `organisation/model`; None takes the Hub id.
        query_task: `"auto"` puts the model's instruction in front of the texts of queries where it has one (v2), None
            never does. Documents, images and the texts of tasks without queries (STS, classification) get none.
        progress: What counts items; None draws a bar where mteb asks for one.
        **options: Arguments of `JinaClipEncoder`.

    An item with text and image has the normalized sum of both unit vectors. It is what mteb's own class for Jina CLIP
    computes: text and image weigh the same, and under cosine a sum and a mean are one.

    """

    def __init__(
        self,
        model: JinaClipEncoder | str,
        revision: str | None = None,
        *,
        device: str | None = None,
        name: str | None = None,
        query_task: str | None = "auto",
        progress: Progress | None = None,
        **options: Any,
    ) -> None:
        self.encoder = model if isinstance(model, JinaClipEncoder) else open_encoder(model, device, options)
        self.query_task = self.encoder.query_task if query_task == "auto" else query_task
        self.mteb_model_meta = model_meta(self.encoder, name=name, revision=revision, query_task=self.query_task)
        self._progress = progress

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: TaskMetadata,
        hf_split: str,  # noqa: ARG002  # mteb's signature
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> Vectors:
        """Vectors `(n, d)` float32 of the items of a loader, in order.

        Args:
            inputs: Batches, dicts of lists: `text`, `image` (as PIL images) or both; a None is an absent one.
            task_metadata, hf_split, hf_subset: Which task, for the label of the progress.
            prompt_type: Whether the items are queries or documents.
            **kwargs: `show_progress_bar`; the size of batches is the backend's own.

        Raises:
            InputError: an item that cannot be embedded; `index` is its position in the data set.
            ConfigurationError: the backend returns packed bits.
            BackendError: the backend failed.
        """
        task = self.query_task if prompt_type == PromptType.query else None
        label = " ".join(filter(None, [task_metadata.name, hf_subset.removeprefix("default"), prompt_type]))
        rows: list[Vectors] = []
        with self._count(len(inputs.dataset), label, kwargs) as bar:
            for start, entries in chunks(inputs):
                rows.append(self._vectors(entries, task, start))
                bar.advance(len(entries))
        return np.concatenate(rows) if rows else np.empty((0, self.encoder.dimensions), np.float32)

    def _count(self, total: int, label: str, kwargs: Mapping[str, Any]) -> AbstractContextManager[Advancing]:
        if self._progress is not None:
            return self._progress(total, label)
        return ProgressBar(total, shown=bool(kwargs.get("show_progress_bar")), label=label)

    def _vectors(self, entries: Sequence[Entry], task: str | None, start: int) -> Vectors:
        """Vectors of one chunk, which begins at position `start` of the data set."""
        texts = [position for position, entry in enumerate(entries) if entry.text is not None]
        images = [position for position, entry in enumerate(entries) if entry.image is not None]
        for position in sorted(set(range(len(entries))).difference(texts, images)):
            raise InputError("neither a text nor an image", index=start + position)
        parts = [
            (positions, self._encode(kind, [getattr(entries[p], kind) for p in positions], positions, start, task))
            for kind, positions in (("text", texts), ("image", images))
            if positions
        ]
        fused = bool(set(texts) & set(images))
        found = np.zeros((len(entries), parts[0][1].shape[1]), np.float32)
        for positions, vectors in parts:
            # Text and image weigh the same only if their vectors have the same length.
            found[positions] += normalize(vectors) if fused else vectors
        return normalize(found) if fused else found

    def _encode(
        self, kind: str, items: Sequence[Any], positions: Sequence[int], start: int, task: str | None
    ) -> Vectors:
        """Vectors of texts or of images; `positions` are their places in the chunk."""
        try:
            found = self.encoder.encode_text(items, task=task) if kind == "text" else self.encoder.encode_image(items)
        except InputError as error:
            if error.index is not None:
                error.at(start + positions[error.index])
            raise
        if found.dtype != np.float32:
            raise ConfigurationError("mteb compares numbers, not packed bits; use embedding_type='base64' or 'float'")
        return found


def open_encoder(model: str, device: str | None, options: Mapping[str, Any]) -> JinaClipEncoder:
    """An encoder of the named model; a device asks for this machine."""
    local = {"backend": "local", "device": device} if device is not None else {}
    return JinaClipEncoder(model, **{**local, **options})


def chunks(batches: Iterable[Mapping[str, Any]], size: int = CHUNK) -> Iterator[tuple[int, list[Entry]]]:
    """Entries of at least `size` items but for the last, each with the position of its first."""
    start, held = 0, list[Entry]()
    for batch in batches:
        held += entries_of(batch)
        if len(held) >= size:
            yield start, held
            start, held = start + len(held), []
    if held:
        yield start, held


def entries_of(batch: Mapping[str, Any]) -> list[Entry]:
    """The items of one batch. Other columns (`id`, `title`, `query`, …) are no input: `text` has what is to be read."""
    texts, images = batch.get("text"), batch.get("image")
    if texts is None and images is None:
        raise InputError(f"a batch has neither 'text' nor 'image', only {', '.join(map(repr, batch))}")
    count = len(texts if texts is not None else images or ())
    return [Entry(text, image) for text, image in zip(texts or [None] * count, images or [None] * count, strict=True)]
