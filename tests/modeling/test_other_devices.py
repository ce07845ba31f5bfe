"""The towers on a device that is not the CPU: every tensor that they make is made there.

The `meta` device computes shapes and nothing else, and is on every machine. It takes the ways that a GPU takes; but
PyTorch lets some operators mix it with the CPU, which no GPU would, so every single operator is watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from jina_clip_integrations.modeling import JinaClipConfig, JinaClipModel
from jina_clip_integrations.modeling.aligned import align

MOVES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class OneDevice(TorchDispatchMode):
    """Fails where an operator takes tensors of two devices, single numbers of the CPU excepted."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.ndim or tensor.device.type != "cpu"}
        assert len(devices) < 2 or func in MOVES, f"{func} mixes {devices}"
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=[torch.bfloat16, torch.float32], ids=str)
def elsewhere(golden_folder: Any, request: pytest.FixtureRequest) -> Iterator[JinaClipModel]:
    with torch.device("meta"):
        model = JinaClipModel(JinaClipConfig.from_pretrained(golden_folder)).eval().to(request.param)
    align(model)
    with torch.inference_mode(), OneDevice():
        yield model


def ids(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.long, device="meta")


def test_packed_texts(elsewhere: JinaClipModel) -> None:
    width = elsewhere.config.text_config.settings.hidden_size
    vectors = elsewhere.text_model.embed_packed(ids(35), [20, 5, 5, 5])
    assert (vectors.shape, vectors.device.type, vectors.dtype) == ((4, width), "meta", torch.float32)


def test_padded_texts(elsewhere: JinaClipModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # asks no tensor for its values, as meta has none
    result = elsewhere.text_model(ids(3, 10), attention_mask=ids(3, 10), output_hidden_states=True)
    assert {state.device.type for state in result.hidden_states} == {"meta"}
    assert (result.pooler_output.shape[0], result.pooler_output.dtype) == (3, torch.float32)


@pytest.mark.parametrize("way", ["embed", "forward", "some patches"])
def test_images(elsewhere: JinaClipModel, way: str) -> None:
    tower, size = elsewhere.vision_model, elsewhere.config.vision_config.image_size
    pixels = torch.zeros(2, 3, size, size, device="meta")
    ways: dict[str, Callable[[], Tensor]] = {
        "embed": lambda: tower.embed(pixels),
        "forward": lambda: tower(pixels).pooler_output,
        "some patches": lambda: tower(pixels, ids_keep=ids(2, 3)).pooler_output,
    }
    vectors = ways[way]()
    assert (vectors.shape, vectors.device.type) == ((2, elsewhere.config.vision_config.width), "meta")


def test_a_tensor_of_the_cpu_is_noticed() -> None:
    with OneDevice(), pytest.raises(AssertionError, match="mixes"):
        torch.nn.functional.linear(torch.ones(2, 3, device="meta"), torch.ones(2, 3))
