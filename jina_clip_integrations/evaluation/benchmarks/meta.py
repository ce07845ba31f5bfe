"""What mteb wants to know about a model: `ModelMeta`, from the catalogue and from what the encoder computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import mteb
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.types import Licenses

from ...catalog import ModelSpec, find_model
from ...demo.checkpoint import demo_model_path
from ...encoder import JinaClipEncoder
from ...images.rendering import PUBLISHED
from ...retrieval.fingerprint import checkpoint_digest
from ...settings import LocalSettings

REVISION_DIGITS = 12
"""Hexadecimal digits of a checkpoint's digest in a revision, which is the name of a folder."""

UNVERSIONED = "unversioned"
"""The revision of a model that a service computes, which does not say what it runs."""

LANGUAGES = {
    "ar": "ara-Arab",
    "bn": "ben-Beng",
    "cs": "ces-Latn",
    "da": "dan-Latn",
    "de": "deu-Latn",
    "el": "ell-Grek",
    "en": "eng-Latn",
    "es": "spa-Latn",
    "fi": "fin-Latn",
    "fr": "fra-Latn",
    "hi": "hin-Deva",
    "id": "ind-Latn",
    "it": "ita-Latn",
    "ja": "jpn-Jpan",
    "ka": "kat-Geor",
    "ko": "kor-Hang",
    "lv": "lav-Latn",
    "nl": "nld-Latn",
    "no": "nor-Latn",
    "pl": "pol-Latn",
    "pt": "por-Latn",
    "ro": "ron-Latn",
    "ru": "rus-Cyrl",
    "sk": "slk-Latn",
    "sv": "swe-Latn",
    "th": "tha-Thai",
    "tr": "tur-Latn",
    "uk": "ukr-Cyrl",
    "ur": "urd-Arab",
    "vi": "vie-Latn",
    "zh": "zho-Hans",
}
"""ISO 639-1 to mteb's codes (ISO 639-3 and a script)."""

V2_LANGUAGES = frozenset(LANGUAGES) - {"cs"}
"""The 30 languages that the model card of jina-clip-v2 names as the focus of its training."""


def model_meta(
    encoder: JinaClipEncoder, *, name: str | None = None, revision: str | None = None, query_task: str | None = None
) -> ModelMeta:
    """The description of what `encoder` computes.

    Facts about the published models that do not depend on us (parameters, training data, citation) are those of mteb's
    own registry. `experiment_kwargs`, which mteb puts into the folder of the results, hold what changes the scores: a
    width below the model's own, a precision or text length other than the default, no instruction for queries.
    """
    spec = encoder.spec
    known = find_model(encoder.model)
    facts = registered_facts(known) if known is not None and known.hub_id else {}
    own = {
        "name": name or model_name(encoder.model),
        "revision": revision or model_revision(encoder),
        "languages": languages(encoder.model),
        "embed_dim": encoder.dimensions or None,
        "max_tokens": spec.max_length,
        "license": licence(known or spec, encoder.model),
        "use_instructions": query_task is not None,
        "modalities": ["text", "image"],
        "similarity_fn_name": ScoringFunction.COSINE,
        "framework": ["PyTorch", "Transformers", "safetensors"] if is_local(encoder) else ["API"],
        "experiment_kwargs": changes(encoder, query_task) or None,
    }
    return ModelMeta.create_empty(overwrites=facts | own)


def registered_facts(spec: ModelSpec) -> dict[str, Any]:
    """What mteb's registry says of a published model, without what loads it there: code from the Hub."""
    facts: dict[str, Any] = mteb.get_model_meta(str(spec.hub_id)).model_dump()
    for ours in ("loader", "loader_kwargs", "extra_requirements_groups", "output_dtypes"):
        facts.pop(ours, None)
    return facts


def model_name(model: str) -> str:
    """`organisation/model`, as mteb asks: the Hub id, or for a model without one an organisation that says so."""
    known = find_model(model)
    if known is not None and known.hub_id:
        return known.hub_id
    if model == "demo":
        return "jina-clip-integrations/demo"
    if Path(model).expanduser().is_dir():
        return f"local/{Path(model).expanduser().resolve().name}"
    return model if "/" in model else f"custom/{model}"


def model_revision(encoder: JinaClipEncoder) -> str:
    """Which weights: the Hub's commit, a digest of a folder, or that only the service knows."""
    model = encoder.model
    folder = demo_model_path() if model == "demo" else Path(model).expanduser()
    if not folder.is_dir():
        # The local backend knows where the Hub's files are; their folder has the name of the commit.
        found = getattr(encoder.backend, "folder", None)
        if found is None:
            return UNVERSIONED
        folder = Path(found)
        if folder.parent.name == "snapshots":
            return folder.name
    return f"sha256-{checkpoint_digest(folder)[:REVISION_DIGITS]}"


def languages(model: str) -> list[str] | None:
    """The languages of a model in mteb's codes, None where they are not known."""
    known = find_model(model)
    if known is not None:
        return sorted(LANGUAGES[code] for code in (V2_LANGUAGES if known.tasks else {"en"}))
    if model == "demo":
        from ...demo import gallery

        return sorted(LANGUAGES[code] for code in gallery()[0].names)
    return None


def licence(spec: ModelSpec, model: str) -> str | None:
    """The licence of the weights in mteb's spelling, None where it is not known or mteb has no name for it."""
    name = "apache-2.0" if model == "demo" else spec.licence.lower()
    return name if name in get_args(Licenses) else None


def is_local(encoder: JinaClipEncoder) -> bool:
    """Whether this machine runs the model."""
    return hasattr(encoder.backend, "folder")


def changes(encoder: JinaClipEncoder, query_task: str | None) -> dict[str, Any]:
    """The settings that change scores, as far as they differ from the defaults."""
    changed: dict[str, Any] = {}
    width = encoder.spec.embed_dim
    if width and encoder.dimensions != width:
        changed["embed_dim"] = encoder.dimensions  # mteb's own word, for models that it truncates
    settings = getattr(encoder.backend, "settings", None)
    if isinstance(settings, LocalSettings):
        defaults = LocalSettings()
        for option in ("dtype", "max_length", "fast_decode", "image_size"):
            if getattr(settings, option) != getattr(defaults, option):
                changed[option] = getattr(settings, option)
    if encoder.query_task is not None and query_task is None:
        changed["query_task"] = "none"
    if encoder.rendering != PUBLISHED:
        changed["rendering"] = encoder.rendering.key.replace("#", "").replace(" ", "-")  # part of a folder's name
    return changed
