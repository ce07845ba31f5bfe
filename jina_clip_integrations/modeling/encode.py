"""`encode_text` and `encode_image` of the published model cards, on the model itself.

They give the vectors that `JinaClipEncoder` gives. The encoder is the better tool for a service or a large collection:
it caches, isolates bad inputs and uses several devices. These are for code that was written after the cards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the customary name

from ..catalog import ModelSpec
from ..errors import ConfigurationError, ImageError
from ..images.rendering import Rendering
from ..images.sources import SourcePolicy
from ..inputs import InputParser, all_valid, one_or_many_images, one_or_many_texts, parse, parse_texts
from ..settings import require_integer
from ..types import ImageInput
from ..vectors import NORM_FLOOR
from .processing_jina_clip import JinaCLIPProcessor

BATCH_SIZE = 32
"""Inputs computed together, as in the published code."""


@dataclass(frozen=True)
class Origin:
    """Where a model was loaded from, so that its processor is read from there too. Pickled without the Hub token."""

    source: str | os.PathLike[str]
    download: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Origin, (self.source, {name: value for name, value in self.download.items() if name != "token"})

    def processor(self) -> JinaCLIPProcessor:
        """The processor of the same checkpoint."""
        return JinaCLIPProcessor.from_pretrained(self.source, **self.download)


@dataclass(frozen=True, kw_only=True)
class Manner:
    """What the two methods have in common: how to compute, and in which form the vectors are wanted."""

    batch_size: int
    show_progress_bar: bool | None
    convert_to_numpy: bool
    convert_to_tensor: bool
    device: str | torch.device | None
    normalize_embeddings: bool
    truncate_dim: int | None

    def __post_init__(self) -> None:
        require_integer("batch_size", self.batch_size, minimum=1)

    def finish(self, rows: Tensor) -> Tensor:
        """Raw rows `(n, d)` float32, truncated and then normalised."""
        rows = rows[:, : self.truncate_dim] if self.truncate_dim else rows
        return F.normalize(rows, dim=-1, eps=NORM_FLOOR) if self.normalize_embeddings else rows

    def convert(self, rows: Tensor, *, alone: bool) -> Any:
        """The rows in the form that was asked for; the first row of inputs of which there is one, not in a list."""
        if self.convert_to_tensor:
            return rows[0] if alone else rows
        if self.convert_to_numpy:
            table = rows.cpu().numpy()
            return table[0] if alone else table
        return rows[0] if alone else list(rows)


class EncodeMethods:
    """Texts and images to vectors, with the arguments of the model cards. A mixin of `JinaClipModel`."""

    config: Any
    device: Any
    dtype: Any
    training: bool
    _origin: Origin | None = None
    _processor: JinaCLIPProcessor | None = None

    @property
    def processor(self) -> JinaCLIPProcessor:
        """Tokenizer and image processor of the checkpoint, read on first use; may be assigned.

        Raises `ConfigurationError` for a model that was not loaded from a checkpoint.
        """
        if self._processor is None:
            if self._origin is None:
                raise ConfigurationError(
                    "this model was not loaded from a checkpoint, so it has no tokenizer; assign one: "
                    "model.processor = JinaClipProcessor.from_pretrained(folder)"
                )
            self._processor = self._origin.processor()
        return self._processor

    @processor.setter
    def processor(self, processor: JinaCLIPProcessor) -> None:
        self._processor = processor

    def encode_text(
        self,
        sentences: str | Sequence[str],
        task: str | None = None,
        batch_size: int = BATCH_SIZE,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | torch.device | None = None,
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        **tokenizer_kwargs: Any,
    ) -> Any:
        """Embed one text, `(d,)`, or several, `(n, d)`, in order.

        Args:
            sentences: A text or a sequence of them. A text is never opened, whatever it looks like.
            task: None, or a task of the model such as `retrieval.query` (v2).
            batch_size: Texts computed together.
            show_progress_bar: Draw a bar on stderr.
            convert_to_numpy: False = a list of tensors.
            convert_to_tensor: True = one float32 tensor on the model's device.
            device: Where to move the model first.
            normalize_embeddings: Normalise, after truncation.
            truncate_dim: Width of the vectors; None = what the configuration says, which is usually the full width.
            **tokenizer_kwargs: Keywords of the tokenizer. `max_length` is 8192 as everywhere in this package; the
                published code stops at 512.

        Raises:
            InputError: what is no text; `index` says which.
            ConfigurationError: an unknown task, or a width that the model does not give.
        """
        listed, alone = one_or_many_texts(sentences)
        texts = all_valid(parse_texts(listed), alone=alone)
        processor, options = self.processor, {**tokenizer_kwargs, "task": task, "return_tensors": "pt"}
        processor.instruction(task)  # an unknown task is an error even without a text

        def compute(indices: Sequence[int]) -> Tensor:
            inputs = processor(text=[texts[index] for index in indices], **options).to(self.device)
            return self.get_text_features(**inputs).pooler_output  # type: ignore[attr-defined,no-any-return]

        # Rows of a batch are padded to the longest, so that texts of similar length belong together.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        manner = Manner(
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
            device=device,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=self._width(truncate_dim),
        )
        return manner.convert(self._rows(order, compute, manner), alone=alone)

    def encode_image(
        self,
        images: ImageInput | Sequence[ImageInput],
        batch_size: int = BATCH_SIZE,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | torch.device | None = None,
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        *,
        sources: SourcePolicy | None = None,
        exif_orientation: bool = True,
    ) -> Any:
        """Embed one image, `(d,)`, or several, `(n, d)`, in order.

        Args:
            images: An image or a sequence of them: a path, an http(s) URL or a data URI as `str`, a `Path`, bytes, a
                file object, a PIL image or a uint8 array `(H, W, 3)`.
            sources: Where images may come from; None = the package's default policy.
            exif_orientation: Turn photos upright, as the encoder does; the published code does not.
            **others: As for `encode_text`.

        Raises:
            ImageError: an image that cannot be read, decoded or fetched, or that `sources` does not allow.
            ConfigurationError: a width that the model does not give.
        """
        given, alone = one_or_many_images(images)
        policy: dict[str, Any] = {} if sources is None else {"sources": sources}
        parsed = all_valid(
            parse(given, InputParser(rendering=Rendering(upright=exif_orientation), **policy).image), alone=alone
        )
        processor = self.processor.image_processor

        def compute(indices: Sequence[int]) -> Tensor:
            opened = [_open(parsed[index], None if alone else index) for index in indices]
            pixels = processor(opened, return_tensors="pt")["pixel_values"].to(self.device)
            return self.get_image_features(pixels).pooler_output  # type: ignore[attr-defined,no-any-return]

        manner = Manner(
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
            device=device,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=self._width(truncate_dim),
        )
        return manner.convert(self._rows(range(len(parsed)), compute, manner), alone=alone)

    def _width(self, truncate_dim: int | None) -> int | None:
        """The width asked for, by the call or else the configuration. Raises `ConfigurationError`."""
        config = self.config
        asked = config.truncate_dim if truncate_dim is None else truncate_dim
        name = os.path.basename(str(config.name_or_path)) or "this model"
        trained = tuple(config.matryoshka_dimensions or ())
        spec = ModelSpec(name=name, embed_dim=config.embed_dim, matryoshka_dimensions=trained, image_size=0)
        spec.check_dimensions(asked)
        return asked

    def _rows(self, order: Sequence[int], compute: Callable[[Sequence[int]], Tensor], manner: Manner) -> Tensor:
        """The finished rows `(n, d)` float32 of inputs `0…n-1`, computed in `order`, a batch at a time."""
        if manner.device is not None:
            self.to(manner.device)  # type: ignore[attr-defined]
        rows = torch.empty(len(order), self.config.embed_dim, device=self.device)
        with self._evaluating(), _progress_bar(len(order), shown=bool(manner.show_progress_bar)) as advance:
            for start in range(0, len(order), manner.batch_size):
                indices = order[start : start + manner.batch_size]
                rows[list(indices)] = compute(indices)
                advance(len(indices))
        return manner.finish(rows)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Without gradients and dropout; the model is in the same mode afterwards."""
        was_training = self.training
        self.eval()  # type: ignore[attr-defined]
        try:
            with torch.inference_mode():
                yield
        finally:
            self.train(was_training)  # type: ignore[attr-defined]


@contextmanager
def _progress_bar(total: int, *, shown: bool) -> Iterator[Callable[[int], Any]]:
    from tqdm.auto import tqdm

    with tqdm(total=total, disable=not shown, unit="item", desc="embedding", dynamic_ncols=True) as bar:
        yield bar.update


def _open(image: Any, index: int | None) -> Any:
    try:
        return image.open()
    except ImageError as error:
        raise error if index is None else error.at(index)  # noqa: B904  # the same error
