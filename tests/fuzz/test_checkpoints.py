"""Checkpoints that a stranger made: whatever their files say, a `CheckpointError`, and nothing of theirs is run."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jina_clip_integrations import LocalBackend
from jina_clip_integrations.backends.base import Batch
from jina_clip_integrations.errors import CheckpointError
from jina_clip_integrations.modeling import JinaClipModel
from jina_clip_integrations.modeling.checkpoint import Checkpoint
from jina_clip_integrations.modeling.checkpoint_header import MAX_HEADER_BYTES
from jina_clip_integrations.modeling.configuration_jina_clip import JinaClipConfig
from tests.fuzz.box import run_boxed
from tests.fuzz.mutations import Seed, mutant

GOLDEN = Path(__file__).parents[1] / "golden"
SETTINGS = ("config.json", "preprocessor_config.json", "tokenizer_config.json", "tokenizer.json")
MODEL = "model.safetensors"

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 999, 10**30, 1.5, 1e300, float("nan"), float("inf"), -float("inf")),
    *("", "x", "../../x", "/etc/passwd", "C:\\x", "a\0b", "\ud800", "é" * 999, "float32", "gelu", "org/kernel"),
    *([], {}, [1], [[]], {"a": 1}, ["x"] * 3, [0] * 99),
)
"""What a value of a JSON file may be replaced by."""


@cache
def sandbox(version: str) -> Path:
    """A copy of a golden checkpoint in which this process may damage files."""
    folder = Path(tempfile.mkdtemp())
    for file in (GOLDEN / version).iterdir():
        if file.is_file() and not file.name.startswith("golden"):
            shutil.copy(file, folder / file.name)
    return folder


# Targets of the boxes: each puts one mutant in place, reads it, and puts the file back.


VERSIONS = ("v1", "v2")
"""Golden checkpoints that mutants are made of, in turn: one process for both, since its start takes seconds."""


def read_header(number: int) -> str:
    """A weight file whose header lies."""
    number, version = number // 2, VERSIONS[number % 2]
    rng = random.Random(number)
    content = (GOLDEN / version / MODEL).read_bytes()
    length = int.from_bytes(content[:8], "little")
    head, data = content[8 : 8 + length], memoryview(content)[8 + length :]
    if number % 2:  # of the structure: another value, type, name, range
        head = change_json(rng, head)
        start = struct.pack("<Q", rng.choice((len(head),) * 8 + (0, len(head) - 1, len(head) + 1, 2**40, 2**64 - 1)))
    else:  # of the bytes
        head, start = mutant([Seed(head)], number), struct.pack("<Q", length)
    return with_file(sandbox(version), MODEL, start + head, read_weights, sparse_bytes=len(data))


read_config = cache(JinaClipConfig.from_pretrained)


def read_weights(folder: Path) -> None:
    config = read_config(folder)
    with Checkpoint([folder / MODEL]) as checkpoint:
        checkpoint.check(config)


def read_settings(number: int) -> str:
    """A JSON file that lies; the whole way to a vector, as the local backend takes it."""
    number, version = number // 2, VERSIONS[number % 2]
    rng = random.Random(number)
    name = SETTINGS[number % 3 if number % 10 else 3]  # the tokenizer's is long and slow to read
    original = (GOLDEN / version / name).read_bytes()
    content = change_json(rng, original) if rng.random() < 0.8 else mutant([Seed(original)], number)
    return with_file(sandbox(version), name, content, embed_one)


def embed_one(folder: Path) -> None:
    with LocalBackend(folder, device="cpu", dtype="float32", max_length=16) as backend:
        rows = backend.embed(Batch(modality="text", texts=["a red bicycle"], images=(), task=None)).vectors
    assert rows.dtype == np.float32


def with_file(folder: Path, name: str, content: bytes, read: Callable[[Path], None], *, sparse_bytes: int = 0) -> str:
    """What became of a folder in which one file is another, with so many zeros behind it."""
    before = (folder / name).read_bytes() if name != MODEL else None
    try:
        (folder / name).write_bytes(content)
        os.truncate(folder / name, len(content) + sparse_bytes)
        read(folder)
    except CheckpointError as error:
        if len(str(error)) > 5000:
            raise ValueError("the message has no bound") from error
        return type(error).__name__
    finally:
        if before is not None:
            (folder / name).write_bytes(before)
    return "read"


def change_json(rng: random.Random, content: bytes) -> bytes:
    """The document with one to three of its values, names or parts changed."""
    document = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        parent, key = rng.choice(list(places(document)))
        action = rng.randrange(6)
        if action == 0 and isinstance(parent, dict):
            parent[rng.choice(("x", "../x", "a\x1b[2J", "é" * 500, "__metadata__"))] = parent.pop(key)
        elif action == 1:
            del parent[key]
        elif action == 2 and isinstance(parent[key], int):
            parent[key] += rng.choice((-1, 1, 8, 2**31, -(2**40)))
        elif action == 3:
            parent[key] = copy.deepcopy(rng.choice([other[name] for other, name in places(document)]))
        else:
            parent[key] = rng.choice(ODD)
        if not document:
            break
    text = json.dumps(document)
    if rng.random() < 0.05:  # a name twice, nesting, what is not UTF-8
        text = rng.choice((text[:-1] + ', "a": 1, "a": 2}', "[" * 100_000, '{"a":' * 5000, text + "\ud800", "[]", "7"))
    return text.encode("utf-8", "surrogatepass")


def places(value: Any) -> Any:
    """Every (container, key) of a document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from places(inner)


def test_headers_that_lie(effort: int) -> None:
    result = run_boxed("tests.fuzz.test_checkpoints:read_header", count=2400 * effort)
    assert not result.failures, result
    assert result.outcomes["CheckpointError"] > result.tried // 2


def test_settings_that_lie(effort: int) -> None:
    result = run_boxed("tests.fuzz.test_checkpoints:read_settings", count=200 * effort)
    assert not result.failures, result
    assert {"read", "CheckpointSettingsError"} <= result.outcomes.keys()


# Single cases, each with what has to be said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the golden checkpoint of v2 in a folder of its own."""
    shutil.copytree(GOLDEN / "v2", tmp_path / "checkpoint", ignore=shutil.ignore_patterns("golden*", "images"))
    return tmp_path / "checkpoint"


def refuse(folder: Path, match: str) -> CheckpointError:
    """The error that loading ends with, by the model's own method and by the backend."""
    with pytest.raises(CheckpointError, match=match):
        JinaClipModel.from_pretrained(folder)
    with pytest.raises(CheckpointError, match=match) as caught:
        embed_one(folder)
    return caught.value


def write_tensors(folder: Path, head: Any, data: bytes = b"") -> None:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    (folder / MODEL).write_bytes(struct.pack("<Q", len(text)) + text + data)


def entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("head", "match"),
    [
        ({"a": entry([2], 0, 99)}, "a: its values would be the bytes 0 to 99 of 8"),
        ({"a": entry([2], 8, 0)}, "a: its values would be"),
        ({"a": entry([2**40, 2**40], 0, 8)}, "a: 8 bytes are not a F32 tensor"),
        ({"a": entry([-1], 0, 8)}, "a: its entry has no shape"),
        ({"a": entry([10**400], 0, 8)}, "a: its entry has no shape"),
        ({"a": {"dtype": 7, "shape": [2], "data_offsets": [0, 8]}}, "a: its entry has no shape"),
        ({"a": 7}, "a: its entry is not an object"),
        ({"a": entry([2], 0, 8, "F99")}, "not a complete safetensors file"),
        ({"a": entry([1], 0, 4), "b": entry([1], 2, 6)}, "not a complete safetensors file"),
        ([1, 2], "not a JSON object"),
        (b'{"a": 1, "a": 2}', "a stands twice"),
        (b"[" * 100_000, "not a complete safetensors file"),
        (b'{"\xff": 1}', "not a complete safetensors file"),
        (b"", "not a complete safetensors file"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else None,
)
def test_a_header_that_lies(folder: Path, head: Any, match: str) -> None:
    write_tensors(folder, head, b"\0" * 8)
    error = refuse(folder, match)
    assert str(folder / MODEL) in str(error)
    if match.startswith("a: "):
        assert error.tensors == ("a",)


def test_a_header_without_end_is_not_read(folder: Path) -> None:
    with (folder / MODEL).open("wb") as file:
        file.write(struct.pack("<Q", MAX_HEADER_BYTES + 1))
        file.truncate(8 * MAX_HEADER_BYTES)  # sparse
    refuse(folder, "longer than the")


def test_a_name_does_not_reach_the_terminal(folder: Path) -> None:
    write_tensors(folder, {"\x1b[2J" + "n" * 5000: entry([2], 0, 8)}, b"\0" * 8)
    with pytest.raises(CheckpointError, match="unexpected: 1") as caught:
        JinaClipModel.from_pretrained(folder)
    assert "\x1b" not in str(caught.value)
    assert "n" * 200 not in str(caught.value)


@pytest.mark.parametrize("special", ["pipe", "device"])
@pytest.mark.parametrize("name", [MODEL, "config.json", "tokenizer.json"])
def test_what_could_be_read_for_ever(folder: Path, name: str, special: str) -> None:
    (folder / name).unlink()
    if special == "pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to("/dev/zero")
    refuse(folder, name)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"])
def test_settings_of_an_absurd_size(folder: Path, name: str) -> None:
    with (folder / name).open("r+b") as file:
        file.truncate(2**31)  # sparse
    with pytest.raises(CheckpointError, match=name):
        embed_one(folder)


@pytest.mark.parametrize(
    "name",
    [
        *("../outside.safetensors", "/etc/passwd", "sub/x.safetensors", "..\\x.safetensors", "C:x.safetensors"),
        *("x.bin", ".safetensors", "", 7, None, "a\0.safetensors", "n" * 999 + ".safetensors"),
    ],
    ids=lambda name: ascii(name)[:30],
)
def test_an_index_leads_nowhere_else(folder: Path, name: Any) -> None:
    shutil.copy(folder / MODEL, folder.parent / "outside.safetensors")
    (folder / MODEL).unlink()
    index = {"weight_map": {"tensor": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    refuse(folder, "outside its folder")


@pytest.mark.parametrize("content", ["[" * 100_000, "{}", "[]", '{"weight_map": 7}', '{"weight_map": {"a": []}}', "\0"])
def test_an_index_that_is_none(folder: Path, content: str) -> None:
    (folder / MODEL).unlink()
    (folder / "model.safetensors.index.json").write_text(content, encoding="utf-8")
    refuse(folder, "not an index of weights|outside its folder")


def test_a_shard_that_is_missing(folder: Path) -> None:
    (folder / MODEL).unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    refuse(folder, "model-00001-of-00002.safetensors, which is not there")


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("kind", ["pickle", "zip", "old pickle"])
@pytest.mark.parametrize("name", [MODEL, "tokenizer.json", "config.json", "preprocessor_config.json", "vocab.txt"])
def test_a_pickle_under_another_name_is_not_run(folder: Path, name: str, kind: str) -> None:
    proof = folder / "ran"
    data = pickle.dumps(Payload(proof), protocol=0 if kind == "old pickle" else 5)
    (folder / name).write_bytes(data)
    if kind == "zip":
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("archive/data.pkl", data)
    if name == "vocab.txt":  # of another kind of tokenizer, so it is not even opened
        embed_one(folder)
    else:
        with pytest.raises(CheckpointError):
            embed_one(folder)
    assert not proof.exists()


def test_the_message_says_what_a_pickle_is(folder: Path) -> None:
    (folder / MODEL).write_bytes(pickle.dumps({"a": list(range(1000))}))
    refuse(folder, "it is a pickle; such files are not read, because unpickling runs code")


def test_code_and_kernels_that_settings_name_are_not_loaded(folder: Path) -> None:
    """`auto_map` of every file, a tokenizer's class, and the settings by which the framework fetches kernels."""
    proof = folder / "ran"
    (folder / "evil.py").write_text(f"open({str(proof)!r}, 'w').close()\nclass Evil: pass\n", encoding="utf-8")
    for name in ("config.json", "preprocessor_config.json", "tokenizer_config.json"):
        settings = json.loads((folder / name).read_text("utf-8"))
        settings |= {"auto_map": dict.fromkeys(("AutoConfig", "AutoModel", "AutoTokenizer"), "evil.Evil")}
        settings |= {"attn_implementation": "evil/kernel", "_attn_implementation": "evil/kernel", "custom_code": "evil"}
        settings |= {"kernel_config": {"a": "evil/kernel"}, "experts_implementation": "evil/kernel"}
        (folder / name).write_text(json.dumps(settings), encoding="utf-8")
    assert JinaClipModel.from_pretrained(folder).config._attn_implementation == "sdpa"
    embed_one(folder)
    assert not proof.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_named(folder: Path, value: float) -> None:
    tensors = {name: np.array(rows) for name, rows in load_numpy(folder / MODEL).items()}
    name = "vision_model.norm.weight"
    tensors[name].reshape(-1)[3] = value
    save_file(tensors, folder / MODEL)
    assert refuse(folder, f"NaN or infinity in the weights: 1 .{name}").tensors == (name,)


def test_weights_that_do_not_fit_the_precision_are_named(folder: Path) -> None:
    tensors = {name: np.array(rows) for name, rows in load_numpy(folder / MODEL).items()}
    tensors["vision_model.norm.weight"][3] = 1e6
    save_file(tensors, folder / MODEL)
    JinaClipModel.from_pretrained(folder, dtype="float32")
    with pytest.raises(CheckpointError, match=r"vision_model.norm.weight\) does not fit into float16"):
        JinaClipModel.from_pretrained(folder, dtype="float16")


def load_numpy(file: Path) -> dict[str, Any]:
    """The tensors of a file in float32, whatever they are stored in."""
    from safetensors.torch import load_file as load_torch

    try:
        return load_file(file)
    except (TypeError, KeyError, ValueError):
        return {name: tensor.float().numpy() for name, tensor in load_torch(file).items()}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("text_config", "hf_model_config_kwargs", "num_hidden_layers"), 10**9),
        (("text_config", "hf_model_config_kwargs", "hidden_size"), 10**12),
        (("text_config", "hf_model_config_kwargs", "layer_norm_eps"), float("nan")),
        (("text_config", "hf_model_config_kwargs", "layer_norm_eps"), float("inf")),
        (("text_config", "hf_model_config_kwargs", "pad_token_id"), -1),
        (("text_config", "hf_model_config_kwargs", "task_instructions"), {"retrieval.query": "\ud800"}),
        (("text_config", "hf_model_config_kwargs", "hidden_act"), "eval"),
        (("vision_config", "layers"), 10**9),
        (("vision_config", "image_size"), -1),
        (("vision_config", "mlp_ratio"), 1e308),
        (("logit_scale_init_value",), "x"),
        (("quantization_config",), {"quant_method": "bitsandbytes"}),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else repr(value)[:20],
)
def test_configurations_that_lie(folder: Path, path: tuple[str, ...], value: Any) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    inner = config
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    refuse(folder, path[-1])
