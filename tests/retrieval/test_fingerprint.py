"""Vectors of different models or widths are kept apart; the same model is known under all its names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.local import LocalBackend
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.langchain import JinaClipEmbeddings
from jina_clip_integrations.llama_index import JinaClipEmbedding
from jina_clip_integrations.retrieval.fingerprint import VectorFingerprint, checkpoint_digest, model_identity
from tests.fakes import BlockingBackend

GOLDEN = Path(__file__).parents[1] / "golden" / "v2"
V2 = VectorFingerprint("jina-clip-v2", 1024)

MAKERS: dict[str, Callable[..., Any]] = {
    "encoder": JinaClipEncoder,
    "langchain": JinaClipEmbeddings,
    "llama_index": JinaClipEmbedding,
}


@pytest.fixture(params=sorted(MAKERS))
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Encoder or adapter, by the same options."""
    return MAKERS[request.param]


@pytest.mark.parametrize("model", ["jina-clip-v2", "jinaai/jina-clip-v2", "jina-ai/jina-clip-v2"])
@pytest.mark.parametrize("backend", [{"backend": "local"}, {"backend": "api", "api_key": "jina_x"}], ids=str)
def test_one_model_is_one_under_every_name_and_backend(make: Any, model: str, backend: dict[str, Any]) -> None:
    assert VectorFingerprint.of(make(model=model, **backend)) == V2


def test_an_adapter_needs_no_key_for_it() -> None:
    assert VectorFingerprint.of(JinaClipEmbeddings()) == V2
    assert VectorFingerprint.of(JinaClipEmbedding(model_name="jina-clip-v1")).dimensions == 768


def test_width_and_length_are_part_of_it(make: Any) -> None:
    truncate = VectorFingerprint.of(make(model="jina-clip-v2", backend="local", dimensions=512))
    raw = VectorFingerprint.of(make(model="jina-clip-v2", backend="local", normalize=False))
    assert (truncate.dimensions, truncate.normalize) == (512, True)
    assert (raw.dimensions, raw.normalize) == (1024, False)
    assert len({V2, truncate, raw}) == 3


QUICK = VectorFingerprint("jina-clip-v2", 1024, image_size=336)


def test_a_quick_look_is_kept_apart_and_the_own_size_is_as_before(make: Any) -> None:
    def of(model: str, size: int | None) -> VectorFingerprint:
        return VectorFingerprint.of(make(model=model, backend="local", image_size=size))

    assert of("jina-clip-v2", 336) == QUICK
    assert of("jina-clip-v2", 512) == of("jina-clip-v2", None) == V2
    assert of("demo", 64) == of("demo", None)
    assert of(str(GOLDEN), 75) == of(str(GOLDEN), None)
    assert (of("demo", 48).image_size, of("demo", 32).image_size) == (48, 32)
    assert "image_size" not in f"{V2.to_metadata()}{V2}{V2!r}", "stores and keys of before this option stay valid"
    assert "images of 336 pixels" in str(QUICK)
    for one, other in ((QUICK, V2), (V2, QUICK), (QUICK, replace(QUICK, image_size=224))):
        with pytest.raises(ConfigurationError, match="cannot be compared"):
            one.check(other.to_metadata(), where="the store")


def test_a_backend_object_says_at_which_size_it_looks(make: Any) -> None:
    quick = LocalBackend("demo", image_size=48)
    assert VectorFingerprint.of(make(backend=quick)).image_size == 48
    assert VectorFingerprint.of(JinaClipEmbeddings(backend=quick).for_images()).image_size == 48
    assert VectorFingerprint.of(make(backend=LocalBackend("demo", image_size=64))).image_size == 0


def test_the_view_for_images_is_the_same_space() -> None:
    embeddings = JinaClipEmbeddings(backend="local", dimensions=64)
    assert VectorFingerprint.of(embeddings.for_images()) == VectorFingerprint.of(embeddings)


def test_a_backend_of_ones_own_counts_by_its_name_and_width(make: Any) -> None:
    assert VectorFingerprint.of(make(backend=BlockingBackend())) == VectorFingerprint("fake", 8)


def test_a_checkpoint_is_known_by_its_content_not_its_place(make: Any, tmp_path: Path) -> None:
    copy = shutil.copytree(GOLDEN, tmp_path / "copy")
    here, there = (VectorFingerprint.of(make(model=str(folder), backend="local")) for folder in (GOLDEN, copy))
    assert here == there
    assert (here.name, there.name) == ("v2", "copy")
    with next(copy.glob("model*.safetensors")).open("r+b") as weights:
        weights.seek(-4, 2)
        weights.write(b"new.")
    assert VectorFingerprint.of(make(model=str(copy), backend="local")) != here


def test_an_unknown_model_is_known_by_its_name() -> None:
    assert model_identity("me/my-clip") == "me/my-clip"
    assert model_identity(str(GOLDEN)) == f"sha256:{checkpoint_digest(GOLDEN)[:32]}"


# The digest of a checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint folder with 64 MB of weights, most of them zero."""
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        (tmp_path / name).write_text(f'{{"name": "{name}"}}', "utf-8")
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write((16).to_bytes(8, "little") + b'{"__metadata__"}')
        file.truncate(64 << 20)
    return tmp_path


def test_a_digest_is_64_digits_and_the_same_for_a_copy_elsewhere(tmp_path: Path) -> None:
    digest = checkpoint_digest(GOLDEN)
    assert len(digest) == 64
    assert set(digest) <= set("0123456789abcdef")
    assert checkpoint_digest(Path(shutil.copytree(GOLDEN, tmp_path / "copy"))) == digest


@pytest.mark.parametrize("place", [8, (32 << 20) + 10, (64 << 20) - 1], ids=["header", "middle", "end"])
def test_a_digest_samples_the_whole_weight_file(folder: Path, place: int) -> None:
    before = checkpoint_digest(folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(place)
        file.write(b"!")
    assert checkpoint_digest(folder) != before


def test_a_digest_knows_how_long_the_weights_are(folder: Path) -> None:
    before = checkpoint_digest(folder)
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    assert checkpoint_digest(folder) != before


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
def test_a_digest_covers_what_else_decides_a_vector(folder: Path, name: str) -> None:
    before = checkpoint_digest(folder)
    text = (folder / name).read_text("utf-8")
    (folder / name).write_text(text.replace("name", "game"), "utf-8")
    changed = checkpoint_digest(folder)
    (folder / name).unlink()
    assert len({before, changed, checkpoint_digest(folder)}) == 3


def test_a_digest_ignores_what_decides_none(folder: Path) -> None:
    before = checkpoint_digest(folder)
    (folder / "README.md").write_text("words", "utf-8")
    assert checkpoint_digest(folder) == before


def test_bytes_do_not_move_from_one_file_into_the_next(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("ab", "utf-8")
    (tmp_path / "preprocessor_config.json").write_text("c", "utf-8")
    before = checkpoint_digest(tmp_path)
    (tmp_path / "config.json").write_text("a", "utf-8")
    (tmp_path / "preprocessor_config.json").write_text("bc", "utf-8")
    assert checkpoint_digest(tmp_path) != before


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 8], ids=["empty", "short", "endless header"])
def test_a_damaged_weight_file_has_a_digest_too(folder: Path, content: bytes) -> None:
    before = checkpoint_digest(folder)
    (folder / "model.safetensors").write_bytes(content)
    assert checkpoint_digest(folder) != before


def test_a_width_that_only_a_server_knows() -> None:
    options = {"model": "my-clip", "base_url": "http://127.0.0.1:9/v1"}
    with pytest.raises(ConfigurationError, match=r"width of 'my-clip'; give dimensions=\.\.\."):
        VectorFingerprint.of(JinaClipEncoder(**options))
    assert VectorFingerprint.of(JinaClipEncoder(**options, dimensions=64)).dimensions == 64


@pytest.mark.parametrize("stranger", [object(), "jina-clip-v2", BlockingBackend()])
def test_strangers_are_refused(stranger: object) -> None:
    with pytest.raises(ConfigurationError, match="neither an encoder nor an embedding model of ours"):
        VectorFingerprint.of(stranger)


# In a store's metadata


@pytest.mark.parametrize(
    "fingerprint", [V2, QUICK, VectorFingerprint("sha256:0123456789abcdef", 64, False, "demo")], ids=str
)
@pytest.mark.parametrize(
    "keep",
    [
        dict,
        lambda metadata: {key: str(value) for key, value in metadata.items()},
        lambda metadata: {key.encode(): str(value).encode() for key, value in metadata.items()},
        lambda metadata: {key: int(value) if isinstance(value, bool) else value for key, value in metadata.items()},
        lambda metadata: {**metadata, "hnsw:space": "cosine"},
    ],
    ids=["as it is", "text", "bytes", "numbers", "among others"],
)
def test_it_comes_back_from_whatever_a_store_keeps(fingerprint: VectorFingerprint, keep: Any) -> None:
    kept = keep(fingerprint.to_metadata())
    back = VectorFingerprint.from_metadata(kept)
    assert back == fingerprint
    assert back is not None
    assert back.name == fingerprint.name
    fingerprint.check(kept, where="the store")


@pytest.mark.framework("stores/other-width")
@pytest.mark.parametrize(
    "other",
    [
        VectorFingerprint("jina-clip-v1", 1024),
        VectorFingerprint("jina-clip-v2", 512),
        VectorFingerprint(V2.model, 1024, False),
    ],
    ids=str,
)
def test_a_refusal_names_both_sides_and_what_to_do(other: VectorFingerprint) -> None:
    with pytest.raises(ConfigurationError) as refused:
        V2.check(other.to_metadata(), where="collection 'images'")
    message = str(refused.value)
    assert message.startswith("collection 'images' holds vectors of")
    assert f"[{other}]" in message
    assert f"[{V2}]" in message
    assert "start a new one" in message


@pytest.mark.parametrize("metadata", [None, {}, {"hnsw:space": "cosine"}], ids=str)
def test_a_store_without_a_fingerprint_is_refused(metadata: Any) -> None:
    assert VectorFingerprint.from_metadata(metadata) is None
    with pytest.raises(ConfigurationError, match=r"does not say which model .* to_metadata"):
        V2.check(metadata, where="table 'images'")


@pytest.mark.parametrize(
    "damage",
    [{"jina_clip_dimensions": "wide"}, {"jina_clip_normalize": "perhaps"}, {"jina_clip_model": None}],
    ids=str,
)
def test_a_damaged_fingerprint_is_refused(damage: dict[str, Any]) -> None:
    kept = {key: value for key, value in {**V2.to_metadata(), **damage}.items() if value is not None}
    with pytest.raises(ConfigurationError, match="damaged"):
        V2.check(kept, where="the store")


def test_it_shows_a_digest_by_the_folders_name() -> None:
    shown = str(VectorFingerprint("sha256:0123456789abcdef", 64, False, "demo"))
    assert shown == "demo sha256:01234567, 64 dimensions, raw length"
