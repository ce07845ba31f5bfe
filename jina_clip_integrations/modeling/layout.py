"""Which published tensors make up each parameter of the model: their names and shapes.

A parameter of `JinaClipModel` is made of one or more published tensors: q, k and v of the vision tower, and the two
halves of its SwiGLU, are stacked into one matrix. Text layers of v2 carry a low-rank adapter next to the original
weight, or have it merged already.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .configuration_jina_clip import JinaClipConfig

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """One published tensor, or one adapted weight (`layer` is set), that goes into a parameter."""

    name: str
    """Published name; of an adapted weight the layer's name, without `.weight`."""
    shape: Shape
    adapter: str | None = None
    """`"linear"` or `"embedding"`: how the factors of the adapter are laid out; None without one."""

    @property
    def plain_name(self) -> str:
        """Name of the tensor where no adapter is stored, or where it has been merged already."""
        return self.name if self.adapter is None else f"{self.name}.weight"

    def published_tensors(self, adapters: int, rank: int) -> dict[str, Shape]:
        """Names and shapes as published, with `adapters` adapters of rank `rank`."""
        if self.adapter is None or adapters == 0:
            return {self.plain_name: self.shape}
        rows, columns = self.shape
        a, b = ((rank, columns), (rows, rank)) if self.adapter == "linear" else ((rows, rank), (rank, columns))
        weight = f"{self.name}.parametrizations.weight"
        return {
            f"{weight}.original": self.shape,
            f"{weight}.0.lora_A": (adapters, *a),
            f"{weight}.0.lora_B": (adapters, *b),
        }


@dataclass(frozen=True)
class Parameter:
    """One parameter of `JinaClipModel` and the published tensors that are stacked along its first axis."""

    name: str
    parts: tuple[Part, ...]

    @property
    def shape(self) -> Shape:
        """Shape in the model: the parts stacked, a patch convolution flattened to a matrix."""
        if not self.parts[0].shape:
            return ()
        rows = sum(part.shape[0] for part in self.parts)
        rest = self.parts[0].shape[1:]
        return (rows, math.prod(rest)) if len(rest) == 3 else (rows, *rest)


def layout(config: JinaClipConfig) -> list[Parameter]:
    """Every parameter of the model, with its published parts."""
    return [Parameter("logit_scale", (Part("logit_scale", ()),)), *_text_layout(config), *_vision_layout(config)]


def _text_layout(config: JinaClipConfig) -> Iterator[Parameter]:
    s = config.text_config.settings
    width, inner = s.hidden_size, s.intermediate_size
    root = "text_model.transformer." + ("" if s.is_alibi else "roberta.")

    def weight(native: str, published: str, rows: int, columns: int, adapter: str = "linear") -> Parameter:
        part = Part(root + published, (rows, columns), adapter)
        if s.is_alibi:
            part = Part(f"{root}{published}.weight", (rows, columns))
        return Parameter(f"text_model.{native}.weight", (part,))

    def vector(native: str, published: str, size: int) -> Parameter:
        return Parameter(f"text_model.{native}", (Part(root + published, (size,)),))

    def norm(native: str, published: str) -> list[Parameter]:
        return [vector(f"{native}.{kind}", f"{published}.{kind}", width) for kind in ("weight", "bias")]

    for name, rows in (("word_embeddings", s.vocab_size), ("token_type_embeddings", s.type_vocab_size)):
        yield weight(name, f"embeddings.{name}", rows, width, "embedding")
    yield from norm("norm", "emb_ln")
    up, down = ("gated_layers", "wo") if s.is_alibi else ("fc1", "fc2")
    for i in range(s.num_hidden_layers):
        native, published = f"blocks.{i}", f"encoder.layers.{i}"
        yield weight(f"{native}.attn.qkv", f"{published}.mixer.Wqkv", 3 * width, width)
        yield vector(f"{native}.attn.qkv.bias", f"{published}.mixer.Wqkv.bias", 3 * width)
        yield weight(f"{native}.attn.out", f"{published}.mixer.out_proj", width, width)
        yield vector(f"{native}.attn.out.bias", f"{published}.mixer.out_proj.bias", width)
        yield from norm(f"{native}.norm1", f"{published}.norm1")
        yield weight(f"{native}.mlp.up", f"{published}.mlp.{up}", 2 * inner if s.is_alibi else inner, width)
        if not s.is_alibi:
            yield vector(f"{native}.mlp.up.bias", f"{published}.mlp.{up}.bias", inner)
        yield weight(f"{native}.mlp.down", f"{published}.mlp.{down}", width, inner)
        yield vector(f"{native}.mlp.down.bias", f"{published}.mlp.{down}.bias", width)
        yield from norm(f"{native}.norm2", f"{published}.norm2")


def _vision_layout(config: JinaClipConfig) -> Iterator[Parameter]:
    v = config.vision_config
    width, inner, patch = v.width, v.intermediate_size, v.patch_size

    def entry(native: str, shape: Shape, *published: str) -> Parameter:
        parts = tuple(Part(f"vision_model.{name}", shape) for name in published or (native,))
        return Parameter(f"vision_model.{native}", parts)

    def norm(native: str, size: int, published: str | None = None) -> list[Parameter]:
        return [entry(f"{native}.{kind}", (size,), f"{published or native}.{kind}") for kind in ("weight", "bias")]

    def linear(native: str, rows: int, columns: int, *published: str) -> list[Parameter]:
        shapes: tuple[tuple[str, Shape], ...] = (("weight", (rows, columns)), ("bias", (rows,)))
        return [entry(f"{native}.{kind}", shape, *(f"{p}.{kind}" for p in published)) for kind, shape in shapes]

    yield entry("cls_token", (1, 1, width))
    yield entry("pos_embed", (1, 1 + v.grid_size**2, width))
    yield entry("patch_embed.weight", (width, 3, patch, patch), "patch_embed.proj.weight")
    yield entry("patch_embed.bias", (width,), "patch_embed.proj.bias")
    for i in range(v.layers):
        attn, mlp = f"blocks.{i}.attn", f"blocks.{i}.mlp"
        yield from norm(f"blocks.{i}.norm1", width)
        yield entry(f"{attn}.qkv.weight", (width, width), *(f"{attn}.{x}_proj.weight" for x in "qkv"))
        yield entry(f"{attn}.qkv.q_bias", (width,), f"{attn}.q_bias")
        yield entry(f"{attn}.qkv.v_bias", (width,), f"{attn}.v_bias")
        yield from norm(f"{attn}.norm", width, f"{attn}.inner_attn_ln")
        yield from linear(f"{attn}.out", width, width, f"{attn}.proj")
        yield from norm(f"blocks.{i}.norm2", width)
        yield from linear(f"{mlp}.up", inner, width, f"{mlp}.w1", f"{mlp}.w2")
        yield from norm(f"{mlp}.norm", inner, f"{mlp}.ffn_ln")
        yield from linear(f"{mlp}.down", width, inner, f"{mlp}.w3")
    yield from norm("norm", width)


def expected_tensors(config: JinaClipConfig) -> dict[str, Shape]:
    """Names and shapes of the tensors in a published checkpoint of this configuration. Nothing is allocated."""
    settings = config.text_config.settings
    adapters = len(settings.lora_adaptations)
    parts = (part for parameter in layout(config) for part in parameter.parts)
    return {
        name: shape for part in parts for name, shape in part.published_tensors(adapters, settings.lora_rank).items()
    }
