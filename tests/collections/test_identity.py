"""Which collections can be searched with which model, also those that an earlier version wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from jina_clip_integrations.collections.identity import CollectionModel
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.retrieval.fingerprint import VectorFingerprint

WHERE = "the store x"
EARLIER = {"dimensions": 512, "backend": "api", "base_url": "http://127.0.0.1:1/v1"}
"""Fields of a record as the first stores have it; `model` and `fingerprint` come in the tests."""


def checkpoint(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}", "utf-8")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_a_published_model_is_the_same_wherever_it_runs() -> None:
    api = CollectionModel.of("jina-clip-v2", 512, backend="api")
    local = CollectionModel.of("jinaai/jina-clip-v2", 512, backend="local")
    assert api.model == local.model == "jina-clip-v2"
    assert api.fingerprint == local.fingerprint == VectorFingerprint("jina-clip-v2", 512)
    api.check(local, where=WHERE)


@pytest.mark.parametrize(
    ("model", "dimensions"), [("jina-clip-v2", 256), ("jina-clip-v1", 512), ("another", 512), ("/no/such/folder", 512)]
)
def test_another_model_or_width_is_not(model: str, dimensions: int) -> None:
    with pytest.raises(ConfigurationError, match="cannot be compared"):
        CollectionModel.of("jina-clip-v2", 512).check(CollectionModel.of(model, dimensions), where=WHERE)


def test_a_checkpoint_is_known_by_its_content_not_its_place(tmp_path: Path) -> None:
    folders = checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b"), checkpoint(tmp_path / "c", b"weighty")
    first, copy, other = (CollectionModel.of(str(folder), 64) for folder in folders)
    assert first.fingerprint == copy.fingerprint != other.fingerprint
    assert first.model == str(tmp_path / "a")


def test_a_folder_is_kept_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    assert CollectionModel.of("a", 64).model == str(folder)


def test_a_refusal_says_what_was_used_and_what_to_do(tmp_path: Path) -> None:
    held, wanted = CollectionModel.of("jina-clip-v1", 768), CollectionModel.of("jina-clip-v2", 1024)
    with pytest.raises(ConfigurationError) as refused:
        wanted.check(held, where=WHERE)
    message = str(refused.value)
    assert message.startswith(f"{WHERE} holds vectors of [jina-clip-v1, 768 dimensions")
    assert "these are of [jina-clip-v2, 1024 dimensions" in message
    assert "start a new one" in message
    wanted.check(None, where="an empty store")


def test_another_checkpoint_of_the_same_name_is_told_apart_by_its_digest(tmp_path: Path) -> None:
    held = CollectionModel.of(str(checkpoint(tmp_path / "mine")), 64)
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"retrained")
    with pytest.raises(ConfigurationError, match=r"\[mine sha256:\w{8}, 64 .* \[mine sha256:\w{8}, 64 "):
        CollectionModel.of(held.model, 64).check(held, where=WHERE)


@pytest.mark.parametrize(
    "address",
    [{}, {"base_url": "http://127.0.0.1:1/v1"}, {"endpoint_name": "clip", "region_name": "eu-central-1"}],
    ids=["none", "server", "endpoint"],
)
def test_it_comes_back_from_a_payload(address: dict[str, str]) -> None:
    model = CollectionModel.of("jina-clip-v2", 512, backend="api", address=address)
    assert CollectionModel.from_payload(model.to_payload(), where=WHERE) == model


def test_a_payload_of_something_else_is_none() -> None:
    assert CollectionModel.from_payload({"model": "x"}, where=WHERE) is None
    assert CollectionModel.from_payload(VectorFingerprint("x", 4).to_metadata(), where=WHERE) is None


# Records that an earlier version wrote


def test_an_earlier_store_of_a_published_model_still_opens() -> None:
    payload = {"model": "jina-clip-v2", "fingerprint": "jina-clip-v2", **EARLIER}
    held = CollectionModel.from_payload(payload, where=WHERE)
    assert held == CollectionModel.of("jina-clip-v2", 512, backend="api", address={"base_url": EARLIER["base_url"]})  # type: ignore[dict-item]


def test_an_earlier_store_of_a_folder_is_refused_with_what_to_do() -> None:
    payload = {"model": "demo", "fingerprint": "sha256:0123456789abcdef", **EARLIER}
    with pytest.raises(ConfigurationError, match=r"the store x .*earlier version .* demo, .* index the folder again"):
        CollectionModel.from_payload(payload, where=WHERE)
