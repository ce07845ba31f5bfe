"""Checkpoints for sentence-transformers 6, published ones included, without the code that they bring along for it.

A folder that has no `modules.json`, or one that sentence-transformers has saved, needs nothing from here:
`SentenceTransformer(folder)` finds our classes once `jina_clip_integrations.modeling` is imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer

from ..catalog import RETRIEVAL_QUERY, find_model
from ..demo.checkpoint import demo_model_path

QUERY, DOCUMENT = "query", "document"
"""The names of the prompts that `encode_query` and `encode_document` use."""

DOWNLOAD_OPTIONS = ("cache_dir", "local_files_only", "revision", "token")


def load_sentence_transformer(
    source: str | os.PathLike[str],
    *,
    prompts: Mapping[str, str] | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    processor_kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> SentenceTransformer:
    """A checkpoint as a `SentenceTransformer` of the modules that the published ones list: the model, normalisation.

    The `modules.json` of the published repositories names a class in a file of theirs, `custom_st.py`, which would have
    to be run; this does the same with `Transformer`, which asks our classes.

    Args:
        source: A folder, `demo`, `jina-clip-v1`, `jina-clip-v2` or a Hub id.
        prompts: None takes the model's: for `encode_query` the instruction of v2, under its own name
            `retrieval.query` as well.
        model_kwargs: For `JinaClipModel.from_pretrained`, such as `{"dtype": "float32"}`; the type in `config.json` is
            half as wide.
        processor_kwargs: For the processor, such as `{"model_max_length": 512}`.
        **options: `revision`, `cache_dir`, `token`, `local_files_only`, and arguments of `SentenceTransformer`, such as
            `truncate_dim` and `device`.

    Raises:
        CheckpointError: weights that are missing, corrupt or misshapen.
    """
    download = {name: options.pop(name) for name in DOWNLOAD_OPTIONS if name in options}
    transformer = Transformer(
        _place(source),
        model_kwargs={**download, **(model_kwargs or {})},
        processor_kwargs={**download, **(processor_kwargs or {})},
        config_kwargs=download,
    )
    given = query_prompts(transformer.processor.task_instructions) if prompts is None else dict(prompts)
    modules = [transformer, Normalize()]
    return SentenceTransformer(modules=modules, prompts=given, similarity_fn_name="cosine", **options)


def query_prompts(instructions: Mapping[str, str]) -> dict[str, str]:
    """Prompts for `encode_query` and `encode_document` from a model's tasks, each task under its own name as well."""
    return {**instructions, QUERY: instructions.get(RETRIEVAL_QUERY, ""), DOCUMENT: ""}


def _place(source: str | os.PathLike[str]) -> str:
    """The folder or Hub id of what may be a short name."""
    name = os.fspath(source)
    if name == "demo":
        return str(demo_model_path())
    known = find_model(name)
    return known.hub_id if known is not None and known.hub_id and not os.path.isdir(name) else name
