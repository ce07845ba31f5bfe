"""`compile=True`: whole graphs, few of them however many sizes and lengths come, and the same vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.local.devices import DeviceChoice
from jina_clip_integrations.backends.local.engine import Engine
from jina_clip_integrations.modeling import aligned

CPU = DeviceChoice(device="cpu", dtype="float32", reason="test")
MEAN, STD = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
TEXTS = [(3, 11), (4, 17), (2, 2), (8, 33), (2, 200), (1, 9), (1, 64), (16, 40)]
"""Texts per pass, and their longest in tokens."""
IMAGES = (2, 3, 5, 1, 4, 7)

Graphs = Counter[str]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graphs]:
    """Number of graphs by tower. They are traced and guarded as ever, then run as they are: generating code takes
    minutes. What cannot be traced as a whole raises, instead of being cut into pieces."""
    counted: Graphs = Counter()
    compile = torch.compile

    def counting(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        name = type(getattr(function, "__self__", function)).__name__

        def run_as_it_is(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
            counted[name] += 1
            return graph.forward

        return compile(function, backend=run_as_it_is, fullgraph=True, **options)

    monkeypatch.setattr(torch, "compile", counting)
    torch._dynamo.reset()
    yield counted
    torch._dynamo.reset()


def texts(count: int, longest: int) -> list[list[int]]:
    """Texts of different lengths, all of them token ids that mean nothing special."""
    chance = np.random.default_rng(count)
    return [chance.integers(5, 60, max(1, longest - place)).tolist() for place in range(count)]


def images(engine: Engine, count: int) -> np.ndarray:
    side = engine.model.config.vision_config.image_size
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def both(folder: Path) -> tuple[Engine, Engine]:
    """As it is, and compiled."""
    plain, compiled = (Engine(folder, CPU, attn_implementation="sdpa", compile=on) for on in (False, True))
    return plain, compiled


def test_texts_of_all_lengths_share_two_graphs(golden_folder: Path, graphs: Graphs) -> None:
    plain, compiled = both(golden_folder)
    for count, longest in TEXTS:
        rows = texts(count, longest)
        np.testing.assert_allclose(compiled.embed_ids(rows), plain.embed_ids(rows), atol=2e-5)
    is_alibi = plain.model.config.text_config.settings.is_alibi  # left as it is, without padding on a CPU
    assert graphs["TextTower"] == (0 if is_alibi else 2)  # several texts, and a single one
    assert compiled.pads is not is_alibi


@pytest.mark.parametrize("is_aligned", [False, True])
def test_images_in_all_numbers_share_three_graphs(
    golden_folder: Path, graphs: Graphs, is_aligned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, compiled = both(golden_folder)
    if is_aligned:  # as on a GPU, where only half precision is, and less wide layers are enough
        monkeypatch.setattr(aligned, "_pad_width", lambda features, dtype: 3)
        assert aligned.align(compiled.model) > 0
    for count in IMAGES:
        pixels = images(plain, count)
        expected = plain.embed_pixels(pixels, mean=MEAN, std=STD)
        np.testing.assert_allclose(compiled.embed_pixels(pixels, mean=MEAN, std=STD), expected, atol=2e-5)
    assert graphs["VisionTower"] == 3  # the first number, a single one, any other


def test_the_encoder_compiles_when_asked(golden_folder: Path, graphs: Graphs) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    open_encoder = partial(JinaClipEncoder, golden_folder, backend="local", device="cpu", dtype="float32")
    with open_encoder() as plain, open_encoder(compile=True) as compiled:
        np.testing.assert_allclose(compiled.encode_image(image), plain.encode_image(image), atol=2e-5)
    assert graphs["VisionTower"] == 1


@pytest.mark.long_run
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_generated_code_computes_the_same(golden_folder: Path, dtype: str) -> None:
    torch._dynamo.reset()
    choice = DeviceChoice(device="cpu", dtype=dtype, reason="test")
    plain, compiled = (Engine(golden_folder, choice, attn_implementation="sdpa", compile=on) for on in (False, True))
    atol = 2e-5 if dtype == "float32" else 0.1
    for count in (3, 2, 1):
        pixels, rows = images(plain, count), texts(count, 12)
        expected = plain.embed_pixels(pixels, mean=MEAN, std=STD)
        np.testing.assert_allclose(compiled.embed_pixels(pixels, mean=MEAN, std=STD), expected, atol=atol)
        np.testing.assert_allclose(compiled.embed_ids(rows), plain.embed_ids(rows), atol=atol)
