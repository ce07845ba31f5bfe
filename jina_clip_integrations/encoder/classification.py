"""Zero-shot classification with an encoder: labels become vectors once, and inputs are compared with them."""

from __future__ import annotations

import inspect
import math
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from ..concurrency.flow import Call, Flow, adrive, drive
from ..concurrency.locks import ForkSafeLock
from ..concurrency.threads import in_thread
from ..errors import ConfigurationError
from ..inputs import InputParser, Parsed, check_text, one_or_many_images, one_or_many_texts, parse
from ..retrieval.classification import Classification, classify_vectors, ensemble
from ..retrieval.prompts import LabelPrompts
from ..settings import PACKED_TYPES, require_choice
from ..types import ImageInput, Item, Modality, OnError, Vectors
from .chunks import ON_ERROR

if TYPE_CHECKING:
    from .encoder import JinaClipEncoder

MODALITIES = ("image", "text")
"""Values of `modality`."""

REMEMBERED = 4
"""Sets of labels whose vectors an encoder keeps, so that calls in a loop embed their labels once."""

LARGEST_LOGARITHM = math.log(100)
"""CLIP bounds the logit scale to 100 (Radford et al., 2021, 2.5), and stores its logarithm."""


class LabelMemo:
    """Vectors of the sets of labels that were used last. Thread-safe."""

    def __init__(self) -> None:
        self._vectors: OrderedDict[LabelPrompts, Vectors] = OrderedDict()
        self._lock = ForkSafeLock()

    def get(self, prompts: LabelPrompts) -> Vectors | None:
        """The vectors `(k, d)` of these labels, if they are still known."""
        with self._lock:
            if prompts in self._vectors:
                self._vectors.move_to_end(prompts)
            return self._vectors.get(prompts)

    def set(self, prompts: LabelPrompts, vectors: Vectors) -> None:
        """Remember the vectors of these labels, and forget those that were used longest ago."""
        with self._lock:
            self._vectors[prompts] = vectors
            while len(self._vectors) > REMEMBERED:
                self._vectors.popitem(last=False)


class ZeroShotClassifier:
    """Labels that any number of inputs can be compared with; made by `JinaClipEncoder.classifier`.

        classifier = encoder.classifier(["cat", "dog"])
        for images in stream:
            print(classifier.classify(images).predicted)

    The labels are embedded at the first use, once. Thread-safe and task-safe, like the encoder.
    """

    def __init__(
        self,
        encoder: JinaClipEncoder,
        prompts: LabelPrompts,
        memo: LabelMemo,
        *,
        modality: Modality,
        logit_scale: float | None,
    ) -> None:
        """`memo` may know the vectors already; `logit_scale` None is the checkpoint's own."""
        require_choice("modality", modality, MODALITIES)
        self._encoder = encoder
        self._prompts = prompts
        self._memo = memo
        self._vectors: Vectors | None = None
        self._logit_scale = check_given_scale(logit_scale)
        self.modality = modality
        """What an input is that is no item: an image or a text."""
        if self._logit_scale is None:
            check_tells_scale(encoder.backend)
        if getattr(encoder.backend, "embedding_type", None) in PACKED_TYPES:
            raise ConfigurationError("packed bits have no cosines: to classify, use embedding_type='base64'")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns."""
        return self._prompts.labels

    @property
    def prompts(self) -> dict[str, tuple[str, ...]]:
        """For every label the texts that stand for it."""
        return dict(zip(self._prompts.labels, self._prompts.prompts, strict=True))

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by. May read the checkpoint."""
        if self._logit_scale is None:
            self._logit_scale = check_scale(getattr(self._encoder.backend, "logit_scale", None))
        return self._logit_scale

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.labels)} labels, {len(self._prompts.texts)} prompts)"

    def classify(
        self, inputs: ImageInput | Item | Iterable[ImageInput | Item], *, on_error: OnError = "raise"
    ) -> Classification:
        """Classify one input or several; see `JinaClipEncoder.classify`."""
        return drive(self._classify(inputs, on_error))

    async def aclassify(
        self, inputs: ImageInput | Item | Iterable[ImageInput | Item], *, on_error: OnError = "raise"
    ) -> Classification:
        """`classify` without blocking the event loop."""
        return await adrive(self._classify(inputs, on_error))

    def classify_vectors(self, vectors: ArrayLike) -> Classification:
        """Classify inputs that are vectors of this encoder already, `(n, d)` or `(d,)`: those of a store, for example.

        Raises `ConfigurationError` for vectors of another width.
        """
        return drive(self._compare(vectors))

    async def aclassify_vectors(self, vectors: ArrayLike) -> Classification:
        """`classify_vectors` without blocking the event loop; only the first call waits, for the labels."""
        return await adrive(self._compare(vectors))

    # The flows

    def _classify(self, inputs: Any, on_error: OnError) -> Flow[Classification]:
        require_choice("on_error", on_error, ON_ERROR)  # before anything is paid for
        encoder = self._encoder
        given = one_or_many_inputs(inputs, self.modality)
        yield from self._prepare()
        arguments = (*given, self.modality, on_error)
        rows = yield Call(partial(encoder._encode_inputs, *arguments), partial(encoder._aencode_inputs, *arguments))
        return (yield from self._compare(rows))

    def _compare(self, vectors: ArrayLike) -> Flow[Classification]:
        labels = yield from self._prepare()
        return classify_vectors(vectors, labels, self.labels, self.logit_scale)

    def _prepare(self) -> Flow[Vectors]:
        """The labels' vectors, `(k, d)`, once the scale is known: it costs nothing and may be an error."""
        if self._logit_scale is None:
            yield Call(lambda: self.logit_scale, lambda: in_thread(lambda: self.logit_scale))
        if self._vectors is None:
            self._vectors = self._memo.get(self._prompts)
        if self._vectors is None:
            encoder, texts = self._encoder, self._prompts.texts
            rows = yield Call(partial(encoder.encode_text, texts), partial(encoder.aencode_text, texts))
            self._vectors = ensemble(rows, self._prompts)
            self._memo.set(self._prompts, self._vectors)
        return self._vectors


def one_or_many_inputs(inputs: Any, modality: Modality) -> tuple[list[Any], bool]:
    """The inputs as a list, and whether there was just one. Raises `InputError`."""
    if isinstance(inputs, Mapping):
        return [inputs], True
    values, single = one_or_many_images(inputs) if modality == "image" else one_or_many_texts(inputs)
    return list(values), single


def parse_inputs(values: Iterable[Any], modality: Modality, parser: InputParser) -> list[Parsed]:
    """Images or texts, as `modality` says, and items, which say for themselves what they are."""
    bare = parser.image if modality == "image" else check_text
    return parse(values, lambda value: parser.item(value) if isinstance(value, Mapping) else bare(value))


def check_given_scale(logit_scale: Any) -> float | None:
    """A `logit_scale` argument as a number; None stays None. Raises `ConfigurationError`; warns of a logarithm."""
    if logit_scale is None:
        return None
    scale = check_scale(logit_scale)
    if scale < LARGEST_LOGARITHM:
        warnings.warn(
            f"logit_scale={scale:g} multiplies cosines, which makes all labels nearly as likely; the parameter in a "
            f"checkpoint is the logarithm: pass math.exp({scale:g}) if it is that",
            UserWarning,
            stacklevel=4,
        )
    return scale


def check_scale(value: Any) -> float:
    """A scale as a positive, finite number. Raises `ConfigurationError`."""
    try:
        scale = float(value)
    except (TypeError, ValueError):
        scale = math.nan
    if isinstance(value, (bool, str)) or not 0 < scale < math.inf:
        raise ConfigurationError(f"logit_scale must be a positive number, not {value!r}")
    return scale


def check_tells_scale(backend: Any) -> None:
    """Raise `ConfigurationError` for a backend that does not know its model's scale. Nothing is read."""
    # Not by its value: to find that out may download a checkpoint.
    if inspect.getattr_static(backend, "logit_scale", None) is None:
        raise ConfigurationError(
            f"probabilities need the logit scale of {backend.model}, and {type(backend).__name__} cannot tell it: pass "
            "logit_scale=, the exponential of `logit_scale` in the model's model.safetensors "
            "(LocalBackend(model).logit_scale reads it). Any number puts the labels in the same order; only the "
            "probabilities depend on it"
        )
