"""Which vectors can be compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from jina_clip_integrations.collections.identity import ModelMark, check_same_model, mark_of
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.retrieval.fingerprint import folder_fingerprint


def checkpoint(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}", "utf-8")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_a_published_model_is_the_same_wherever_it_runs() -> None:
    api = mark_of("jina-clip-v2", 512, backend="api")
    local = mark_of("jinaai/jina-clip-v2", 512, backend="local")
    assert api.model == local.model == "jina-clip-v2"
    assert api.matches(local)


@pytest.mark.parametrize(
    ("model", "dimensions"), [("jina-clip-v2", 256), ("jina-clip-v1", 512), ("another", 512), ("/no/such/folder", 512)]
)
def test_another_model_or_width_is_not(model: str, dimensions: int) -> None:
    assert not mark_of("jina-clip-v2", 512).matches(mark_of(model, dimensions))


def test_a_checkpoint_is_known_by_its_content_not_its_place(tmp_path: Path) -> None:
    first, copy = checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b")
    other = checkpoint(tmp_path / "c", b"weighty")
    assert mark_of(str(first), 64).matches(mark_of(str(copy), 64))
    assert not mark_of(str(first), 64).matches(mark_of(str(other), 64))
    assert mark_of(str(first), 64).model == str(first)


def test_a_fingerprint_samples_the_whole_file(tmp_path: Path) -> None:
    size = 64 << 20
    folder = checkpoint(tmp_path / "a")
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(size)
    before = folder_fingerprint(folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(size // 2 + 10)
        file.write(b"changed")
    assert folder_fingerprint(folder) != before


def test_a_refusal_says_what_was_used_and_what_to_do() -> None:
    held, wanted = mark_of("jina-clip-v1", 768), mark_of("jina-clip-v2", 1024)
    with pytest.raises(ConfigurationError, match=r"jina-clip-v1 with 768 dimensions, not jina-clip-v2 with 1024"):
        check_same_model(held, wanted, where="the store x")
    retrained = ModelMark("mine", 64, "sha256:1", "", "")
    with pytest.raises(ConfigurationError, match="another checkpoint under the name mine"):
        check_same_model(retrained, ModelMark("mine", 64, "sha256:2", "", ""), where="the store x")
    check_same_model(None, wanted, where="an empty store")
