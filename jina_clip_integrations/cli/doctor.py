"""`jina-clip doctor`: what is installed, what would be used, what is missing. Sends nothing, loads no weights."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import sys
from importlib import metadata
from typing import Any

from .._version import __version__
from ..catalog import ModelSpec, find_model
from ..credentials import KEY_VARIABLES, clean_key
from ..errors import ConfigurationError
from ..settings import DEFAULT_MODEL
from .messages import OK
from .options import DEMO_MODEL, add_output_options, open_output
from .output import Output

MTEB = ("mteb",) if sys.version_info >= (3, 11) else ()
"""What older Pythons cannot have."""

EXTRAS = {
    "local": ("torch", "transformers", "safetensors", "tokenizers", "huggingface-hub"),
    "langchain": ("langchain-core",),
    "llama-index": ("llama-index-core",),
    "qdrant": ("platformdirs", "qdrant-client"),
    "parquet": ("pyarrow",),
    "chroma": ("chromadb",),
    "lancedb": ("lancedb", "pyarrow", "pylance"),
    "pgvector": ("pgvector", "psycopg", "pyarrow"),
    "heif": ("pillow-heif",),
    "serve": ("fastapi", "uvicorn", "prometheus-client"),
    "aws": ("boto3",),
    "onnx": ("onnxruntime", "tokenizers"),
    "openvino": ("openvino", "tokenizers"),
    "export": ("nncf", "onnx", "onnxscript"),
    "app": ("watchfiles",),
    "mcp": ("mcp",),
    "ray": ("ray",),
    "evaluate": ("faiss-cpu", "ir-measures", "matplotlib", *MTEB, "scipy", "sentence-transformers"),
}
"""Extra to the distributions that it brings beside those of other extras, as in pyproject.toml."""

EXTRA_PURPOSE = {
    "local": "models on this machine, and the demo",
    "langchain": "JinaClipEmbeddings",
    "llama-index": "JinaClipEmbedding",
    "qdrant": "jina-clip index and search",
    "parquet": "jina-clip embed --output X.parquet",
    "chroma": "Chroma's own embedding function",
    "lancedb": "LanceDB's registry, and jina-clip load",
    "pgvector": "jina-clip load --into postgresql://...",
    "heif": "images in HEIC, as phones make them",
    "serve": "jina-clip serve",
    "aws": "SageMakerBackend",
    "onnx": "exported models by ONNX Runtime",
    "openvino": "exported models by OpenVINO",
    "export": "jina-clip export",
    "app": "jina-clip app",
    "mcp": "jina-clip mcp",
    "ray": "embedding and serving on a cluster",
    "evaluate": "jina-clip evaluate",
}

DEPENDENCIES = ("anyio", "httpx", "numpy", "orjson", "pillow", "pybase64", "tqdm")
"""Distributions that come with the base install, as in pyproject.toml."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip doctor`."""
    parser.add_argument("--model", default=DEFAULT_MODEL, help="whose licence to show (default: %(default)s)")
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Examine this installation."""
    out = open_output(args)
    report = examine(args.model)
    out.result(report)
    print_report(out, report)
    return OK


def examine(model: str) -> dict[str, Any]:
    """Everything that `doctor` reports, ready for JSON; never a key."""
    return {
        "package": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: find_version(name) for name in DEPENDENCIES},
        "extras": {name: describe_extra(name) for name in EXTRAS},
        "device": describe_local_device(),
        "model": describe_model(model),
        "api_key": describe_key(),
    }


def find_version(distribution: str) -> str | None:
    """The installed version of a distribution, None if it is not there."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def describe_extra(extra: str) -> dict[str, Any]:
    """What of an extra is installed, and the line that installs the rest."""
    # Versions come from the metadata of the distributions; nothing is imported.
    versions = {name: find_version(name) for name in EXTRAS[extra]}
    complete = all(versions.values())
    install = None if complete else f'pip install "jina-clip-integrations[{extra}]"'
    return {"installed": complete, "versions": versions, "install": install, "for": EXTRA_PURPOSE[extra]}


def describe_local_device() -> dict[str, Any]:
    """Device and precision that the local backend would choose, and why."""
    # Looked for before it is imported: importing torch takes seconds, and a broken one raises.
    if importlib.util.find_spec("torch") is None:
        return {"device": None, "dtype": None, "reason": "torch is not installed, so models run only behind an API"}
    try:
        from ..backends.local import describe_device

        return dict(describe_device())
    except (ImportError, RuntimeError, OSError) as error:  # a broken torch raises any of these
        return {"device": None, "dtype": None, "reason": f"the local backend cannot start: {error}"}


def describe_model(name: str) -> dict[str, Any]:
    """Licence and size of a model."""
    spec = find_model(name)
    if spec is None:
        licence = "Apache-2.0, ships with this package" if name == DEMO_MODEL else None
        return {"name": name, "licence": licence, "note": explain_licence(None) if licence is None else licence}
    return {"name": spec.name, "licence": spec.licence, "dimensions": spec.embed_dim, "note": explain_licence(spec)}


def explain_licence(spec: ModelSpec | None) -> str:
    """What the licence of the weights means for their use."""
    if spec is None:
        return "the licence of this checkpoint is not known here; look at its model card"
    if spec.commercial_use:
        return f"{spec.licence}: commercial use is allowed"
    return f"{spec.licence}: the weights are not for commercial use without an agreement with Jina AI"


def describe_key() -> dict[str, Any]:
    """Whether a key for the hosted service is set, and in which variable; never the key."""
    try:
        # The same order and the same cleaning as the backend, or the answer would be about another key.
        found = next((name for name in KEY_VARIABLES if clean_key(os.environ.get(name), source=name)), None)
    except ConfigurationError as error:
        return {"present": False, "variable": None, "note": str(error)}
    note = f"found in {found}" if found else f"none; set {KEY_VARIABLES[0]} to use the hosted service"
    return {"present": found is not None, "variable": found, "note": note}


def print_report(out: Output, report: dict[str, Any]) -> None:
    """Print the report for people."""
    out.line(f"jina-clip-integrations {report['package']}, Python {report['python']} on {report['system']}")
    out.line(", ".join(f"{name} {version or 'missing'}" for name, version in report["packages"].items()))
    out.line()
    out.line("Extras")
    for name, state in report["extras"].items():
        versions = ", ".join(f"{package} {version}" for package, version in state["versions"].items() if version)
        found = versions if state["installed"] else f"missing; {state['install']}"
        out.line(f"  {name:12} {found}   ({state['for']})")
    out.line()
    device = report["device"]
    if device["device"] is None:
        out.line(f"Local      {device['reason']}")
    else:
        out.line(f"Local      {device['device']}, {device['dtype']}: {device['reason']}")
    out.line(f"API key    {report['api_key']['note']}")
    out.line(f"Model      {report['model']['name']}: {report['model']['note']}")
