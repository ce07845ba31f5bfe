"""Full-size models with random weights, their arithmetic, and the rate of their matrix products alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from random_checkpoint import add_processor, write_random_checkpoint
from reporting import Option
from timing import best_of
from torch import nn
from torch.nn import functional as F  # noqa: N812  # the customary name

from jina_clip_integrations.backends.local.devices import DeviceChoice, choose_devices, cpu_has_native_bfloat16
from jina_clip_integrations.backends.local.engine import Engine
from jina_clip_integrations.modeling import JinaClipConfig, JinaClipModel
from jina_clip_integrations.modeling.aligned import AlignedGatedLinear, AlignedLinear
from jina_clip_integrations.modeling.packed import PackedGatedLinear, PackedLinear

GIGA = 1e9

MODEL_OPTIONS = {
    "version": Option("v2", "v1 or v2"),
    "device": Option("auto", "auto, cpu, cuda"),
    "folder": Option(None, "a random checkpoint to use, or to keep there"),
}
"""Of every script that measures a full-size model."""


@contextmanager
def checkpoint(version: str, folder: str | None = None) -> Iterator[Path]:
    """A random checkpoint of `"v1"` or `"v2"` with a tokenizer: in `folder` if it is there, else temporary."""
    with TemporaryDirectory() as temporary:
        path = Path(folder or temporary)
        if not (path / "model.safetensors").exists():
            write_random_checkpoint(path, version)
        add_processor(path, version)
        yield path


def choices(device: str) -> list[DeviceChoice]:
    """Float32, and bfloat16 where the device multiplies it natively."""
    float32 = choose_devices(device, "float32")[0]
    native = not float32.device.startswith("cpu") or cpu_has_native_bfloat16()
    return [float32, choose_devices(device, "bfloat16")[0]] if native else [float32]


def engine(folder: Path, choice: DeviceChoice) -> Engine:
    """The engine of the local backend, as it stands by default."""
    return Engine(folder, choice, attn_implementation="sdpa", compile=False)


def plain_model(folder: Path, choice: DeviceChoice) -> JinaClipModel:
    """The model without packed weights."""
    model = JinaClipModel.from_pretrained(folder, dtype=choice.dtype).eval()
    return model.to(choice.device)  # type: ignore[no-any-return]


def image_flops(config: JinaClipConfig) -> float:
    """Floating-point operations that one image needs: the last block's queries and MLP for CLS alone."""
    vision = config.vision_config
    tokens, width, inner = vision.grid_size**2 + 1, vision.width, vision.intermediate_size
    attention = 4.0 * tokens * width  # per query
    per_query = 2.0 * (2 * width**2 + 3 * width * inner) + attention
    keys_and_values = 2.0 * tokens * 2 * width**2
    patches = 2.0 * (tokens - 1) * 3 * vision.patch_size**2 * width
    return patches + vision.layers * keys_and_values + ((vision.layers - 1) * tokens + 1) * per_query


def text_flops(config: JinaClipConfig, length: int) -> float:
    """Floating-point operations that one text of `length` tokens needs."""
    s = config.text_config.settings
    products = 4 * s.hidden_size**2 + (3 if s.is_alibi else 2) * s.hidden_size * s.intermediate_size
    return s.num_hidden_layers * (2.0 * length * products + 4.0 * length**2 * s.hidden_size)


def products_alone(tower: nn.Module, packed: nn.Module, tokens: int, device: torch.device) -> dict[str, float]:
    """Rate in GFLOP/s of a tower's linear layers alone, each with its own weights, `tokens` rows at a time.

    `tower` has plain weights, `packed` those of the engine: blocks on a CPU, rows that are in part wider on a GPU. The
    ceiling is the better of the two.
    """
    kinds = (nn.Linear, PackedLinear, PackedGatedLinear, AlignedLinear, AlignedGatedLinear)
    inputs: dict[int, torch.Tensor] = {}
    plain: list[Callable[[], object]] = []
    blocks: list[Callable[[], object]] = []
    flops = 0.0
    for (_, layer), (_, replica) in zip(_layers(tower, kinds), _layers(packed, kinds), strict=True):
        out_features, in_features = layer.weight.shape
        if in_features not in inputs:
            inputs[in_features] = torch.randn(tokens, in_features, dtype=layer.weight.dtype, device=device)
        x = inputs[in_features]
        plain.append(partial(F.linear, x, layer.weight, layer.bias))
        blocks.append(partial(replica, x))
        flops += 2.0 * tokens * in_features * out_features
    rates = {"plain": plain}
    if any(not isinstance(layer, nn.Linear) for _, layer in _layers(packed, kinds)):
        rates["packed" if device.type == "cpu" else "aligned"] = blocks
    return {name: flops / best_of(partial(_call_all, calls, device), runs=2) / GIGA for name, calls in rates.items()}


def _layers(tower: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[tuple[str, nn.Module]]:
    blocks: nn.Module = tower.blocks  # type: ignore[assignment]
    return [(name, module) for name, module in blocks.named_modules() if isinstance(module, kinds)]


def _call_all(calls: list[Callable[[], object]], device: torch.device) -> None:
    with torch.inference_mode():
        for call in calls:
            call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def worst_cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    """Smallest cosine of corresponding rows."""
    return float(F.cosine_similarity(one.float(), other.float(), dim=-1).min())
