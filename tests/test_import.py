"""What importing loads, in a fresh interpreter, and what the package exports."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import jina_clip_integrations

PACKAGE = Path(jina_clip_integrations.__file__).parent

HEAVY = {
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "llama_index",
    "langchain_core",
    "pydantic",
    "fastapi",
    "starlette",
    "uvicorn",
    "qdrant_client",
    "pyarrow",
    "boto3",
    "tqdm",
    "PIL",
    "httpx",
    "numpy",
}

PUBLIC = {
    "ApiBackend",
    "ApiConnectionError",
    "ApiError",
    "ApiTimeoutError",
    "AuthenticationError",
    "BackendError",
    "Batch",
    "BatchResult",
    "BudgetExceededError",
    "CallRecord",
    "CheckpointError",
    "Classification",
    "ConfigurationError",
    "Dialect",
    "DiskCache",
    "EmbeddingBackend",
    "ImageError",
    "InputError",
    "InsufficientBalanceError",
    "InvalidRequestError",
    "InvalidResponseError",
    "JinaClipEncoder",
    "JinaClipError",
    "LocalBackend",
    "MemoryCache",
    "ModelSpec",
    "ImageSource",
    "RateLimitError",
    "RetryPolicy",
    "SageMakerBackend",
    "ServerError",
    "SourcePolicy",
    "TokenEstimate",
    "Usage",
    "VectorFingerprint",
    "ZeroShotClassifier",
    "__version__",
    "estimate_tokens",
}


def loaded_by(program: str) -> set[str]:
    """Top-level packages that are loaded after `program` ran in a fresh interpreter."""
    program += "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(answer.stdout))


@pytest.mark.parametrize(
    ("program", "never"),
    [
        ("import jina_clip_integrations", HEAVY | {"asyncio", "sqlite3"}),
        ("import jina_clip_integrations; dir(jina_clip_integrations)", HEAVY),
        ("from jina_clip_integrations import errors, ConfigurationError, ImageError", HEAVY),
        ("from jina_clip_integrations import JinaClipEncoder, estimate_tokens, SourcePolicy", HEAVY - {"numpy"}),
        ("from jina_clip_integrations import Batch, BatchResult, EmbeddingBackend, Usage", HEAVY - {"numpy"}),
        ("from jina_clip_integrations.cache import DiskCache, MemoryCache", HEAVY - {"numpy"}),
        ("from jina_clip_integrations import ApiBackend", HEAVY - {"numpy", "httpx"}),
    ],
)
def test_what_is_not_loaded(program: str, never: set[str]) -> None:
    assert loaded_by(program) & never == set()


def test_using_an_encoder_of_ones_own_needs_neither_network_nor_pillow() -> None:
    program = (
        "import numpy as np\n"
        "from jina_clip_integrations import BatchResult, JinaClipEncoder\n"
        "class Mine:\n"
        "    model, dimensions = 'mine', 4\n"
        "    def embed(self, batch):\n"
        "        return BatchResult(np.ones((len(batch), 4)))\n"
        "JinaClipEncoder(backend=Mine()).encode_text(['a', 'b'])\n"
    )
    assert loaded_by(program) & (HEAVY - {"numpy"}) == set()


def leads_to_the_package_itself(node: ast.stmt, top: int) -> bool:
    """Whether an import asks `jina_clip_integrations` for one of its names; `top` dots lead up to it."""
    if isinstance(node, ast.Import):
        return any(alias.name == PACKAGE.name for alias in node.names)
    modules = {path.stem for path in PACKAGE.iterdir()}
    return (
        isinstance(node, ast.ImportFrom)
        and (node.module, node.level) in ((None, top), (PACKAGE.name, 0))
        and any(alias.name not in modules for alias in node.names)
    )


def test_nothing_inside_imports_the_package_itself() -> None:
    # Its names lead to every module, so that such an import is a circle which import-linter does not see.
    found = []
    for path in PACKAGE.rglob("*.py"):
        top = len(path.relative_to(PACKAGE).parts)
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        lines = [node for node in nodes if isinstance(node, ast.stmt)]
        found += [f"{path}:{node.lineno}" for node in lines if leads_to_the_package_itself(node, top)]
    assert found == []


@pytest.mark.parametrize(
    ("line", "leads_up"),
    [
        ("import jina_clip_integrations", True),
        ("from jina_clip_integrations import Usage", True),
        ("from .. import Usage", True),
        ("from .. import settings, __version__", True),
        ("from .. import settings", False),
        ("from ..settings import Settings", False),
        ("from . import Usage", False),
        ("import numpy", False),
    ],
)
def test_which_imports_lead_to_the_package_itself(line: str, leads_up: bool) -> None:
    [node] = ast.parse(line).body
    assert leads_to_the_package_itself(node, top=2) is leads_up


def test_exported_names() -> None:
    assert sorted(jina_clip_integrations.__all__) == sorted(PUBLIC)
    assert set(dir(jina_clip_integrations)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_name_resolves(name: str) -> None:
    assert getattr(jina_clip_integrations, name) is getattr(jina_clip_integrations, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'JinaClipEncoderr'"):
        jina_clip_integrations.JinaClipEncoderr  # noqa: B018


@pytest.mark.framework("langchain/typed")
def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == PUBLIC - {"__version__"}
    assert (PACKAGE / "py.typed").is_file()
