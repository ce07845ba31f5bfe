"""Where the files of a checkpoint are, and what they describe."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...catalog import ModelSpec, find_model
from ...errors import CheckpointError, ConfigurationError
from ...network import client_options
from ...settings import LocalSettings

NEEDED_FILES = (
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)
"""All that is ever read of a checkpoint. No Python file and no pickle is downloaded."""

MAX_CONFIG_BYTES = 4 * 2**20
"""Largest `config.json` that is read; a published one has 2 kB."""

MAX_COUNT = 10**8
"""Largest number that a width or a side may be."""


HUB = "https://huggingface.co"


def find_checkpoint(model: str, settings: LocalSettings) -> Path:
    """The folder with the files of `model`: the demo model, a folder, or a Hub id (downloaded on first use).

    Raises:
        CheckpointError: the folder is not there, or the Hub does not have or give the files.
    """
    if model == "demo":
        from ...demo import demo_model_path

        return demo_model_path()
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    known = find_model(model)
    hub_id = known.hub_id if known and known.hub_id else model
    if hub_id.count("/") != 1 or folder.is_absolute() or hub_id.startswith("."):
        raise CheckpointError(
            f"model={model!r} is neither a known model, a folder that exists, nor a Hub id such as "
            '"jinaai/jina-clip-v2"'
        )
    return _download(hub_id, settings)


def _download(hub_id: str, settings: LocalSettings) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                hub_id,
                revision=settings.revision,
                cache_dir=None if settings.cache_dir is None else str(settings.cache_dir),
                local_files_only=settings.local_files_only,
                token=settings.token,
                allow_patterns=list(NEEDED_FILES),
            )
        )
    except Exception as error:  # the Hub client raises many kinds; all mean that the files are not here
        if not settings.local_files_only:
            client_options(HUB)  # names the variable if the environment's proxy or certificates are why
        where = "in the local cache" if settings.local_files_only else "from the Hub"
        raise CheckpointError(
            f"cannot get {hub_id} {where} ({type(error).__name__}); check the name, the login and the network "
            "(HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE), "
            "or pass a folder that holds config.json and model.safetensors"
        ) from error


def local_spec(model: str) -> ModelSpec | None:
    """What is known of `model` without the network: the catalogue's row, or what its folder's `config.json` says."""
    known = find_model(model)
    if known is not None and not Path(model).is_dir():
        return known
    if model == "demo" or Path(model).expanduser().is_dir():
        return read_spec(find_checkpoint(model, LocalSettings()), name=model if model == "demo" else None)
    return None


def read_spec(folder: Path, *, name: str | None = None) -> ModelSpec:
    """The facts that `config.json` in `folder` states, as a `ModelSpec`. Reads JSON only, loads no weights.

    Raises:
        CheckpointError: there is no `config.json`, or it is not a Jina CLIP configuration.
    """
    config = _read_json(folder / "config.json")
    if config.get("model_type") != "jina_clip":
        raise CheckpointError(
            f"{folder} is not a Jina CLIP checkpoint: its config.json has model_type={config.get('model_type')!r}, "
            "expected 'jina_clip'"
        )
    try:
        return _make_spec(config, name or folder.name)
    # Whatever a value's type makes of these conversions, the file is at fault.
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{folder / 'config.json'} is not a Jina CLIP configuration: {error}") from error


def _make_spec(config: Mapping[str, Any], name: str) -> ModelSpec:
    text, vision = (_mapping(config.get(key)) for key in ("text_config", "vision_config"))
    tasks = _mapping(_mapping(text.get("hf_model_config_kwargs")).get("task_instructions"))
    return ModelSpec(
        name=name,
        embed_dim=_count(vision, "embed_dim", _count(vision, "width", 768)),
        matryoshka_dimensions=tuple(map(int, config.get("matryoshka_dimensions") or ())),
        image_size=_count(vision, "image_size", 224),
        patch_size=_count(vision, "patch_size", 16),
        tasks={str(task): str(instruction) for task, instruction in tasks.items()},
        licence=str(config["license"]) if config.get("license") else "unknown",
    )


def _count(settings: Mapping[str, Any], key: str, default: int) -> int:
    """A positive integer among the settings. Raises `ValueError` for anything else."""
    value = settings.get(key, default)
    if type(value) is not int or not 1 <= value <= MAX_COUNT:
        raise ValueError(f"vision_config.{key}: a positive integer expected, not {value!r:.100}")
    return value


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        if path.exists() and not (path.is_file() and path.stat().st_size <= MAX_CONFIG_BYTES):
            raise ValueError(f"no file of at most {MAX_CONFIG_BYTES} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.parent} is not a checkpoint folder: it has no {path.name}; "
            "expected config.json, preprocessor_config.json, tokenizer.json and model.safetensors"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} does not hold a JSON object")
    return content


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def check_is_model_name(model: str | os.PathLike[str]) -> str:
    """`model` as a string. Raises `ConfigurationError` for something that cannot name a model at all."""
    if not isinstance(model, (str, os.PathLike)) or not (name := os.fspath(model)) or not isinstance(name, str):
        raise ConfigurationError(f"model must be a name, a folder or a Hub id, not {model!r}")
    return name
