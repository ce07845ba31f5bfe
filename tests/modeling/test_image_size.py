"""The vision tower for images of another size, against plain float64 arithmetic that shares nothing with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jina_clip_integrations.modeling.vision_tower import resize_positions, rotary_grid

Array = NDArray[np.float64]


def cubic(x: Array) -> Array:
    """The bicubic kernel with a = -1/2 (Keys, 1981)."""
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def resampling(own: int, grid: int) -> Array:
    """`(grid, own)`: the weights of the own positions in each new one. The kernel is as wide as what it sums up."""
    scale = own / grid
    centres = (np.arange(grid) + 0.5) * scale
    weights = cubic((np.arange(own)[None] + 0.5 - centres[:, None]) / max(scale, 1.0))
    return weights / weights.sum(axis=1, keepdims=True)


def resized(positions: Array, grid: int) -> Array:
    """`(1 + G * G, W)` to `(1 + grid * grid, W)`."""
    own = round((len(positions) - 1) ** 0.5)
    square, weights = positions[1:].reshape(own, own, -1), resampling(own, grid)
    return np.concatenate([positions[:1], np.einsum("ar,bc,rcw->abw", weights, weights, square).reshape(grid**2, -1)])


def angles(config: Any, grid: int) -> Array:
    """`(grid * grid, D / 2)`: where the centre of each patch lies on the grid of pre-training, times frequencies."""
    half = config.head_width // 2
    frequencies = 10000.0 ** -(np.arange(0, half, 2) / half)
    own = config.image_size // config.patch_size
    places = (np.arange(grid) + 0.5) / grid * own - 0.5
    if config.intp_freq:
        places = places * config.pt_hw_seq_len / own
    table = places[:, None] * frequencies
    rows, columns = np.repeat(table, grid, axis=0), np.tile(table, (grid, 1))
    return np.concatenate([rows, columns], axis=1)


def norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return (
        centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * weights[f"{name}.weight"]
        + weights[f"{name}.bias"]
    )


def attend(x: Array, turns: Array, weights: dict[str, Array], name: str, width: int) -> Array:
    """One image, `(1 + N, W)`; `turns` are complex numbers of length 1, `(N, D / 2)`."""
    bias = np.concatenate([weights[f"{name}.qkv.q_bias"], np.zeros(x.shape[1]), weights[f"{name}.qkv.v_bias"]])
    q, k, v = np.split(x @ weights[f"{name}.qkv.weight"].T + bias, 3, axis=1)
    out = np.empty_like(x)
    for start in range(0, x.shape[1], width):
        head = slice(start, start + width)
        turned = []
        for side in (q[:, head], k[:, head]):
            pairs = side[1:, 0::2] + 1j * side[1:, 1::2]
            both = np.stack([(pairs * turns).real, (pairs * turns).imag], axis=-1).reshape(len(side) - 1, width)
            turned.append(np.concatenate([side[:1], both]))
        scores = turned[0] @ turned[1].T / np.sqrt(width)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        out[:, head] = shares / shares.sum(-1, keepdims=True) @ v[:, head]
    return norm(out, weights, f"{name}.norm") @ weights[f"{name}.out.weight"].T + weights[f"{name}.out.bias"]


def see(pixels: Array, weights: dict[str, Array], config: Any) -> Array:
    """The raw vector `(W,)` of normalised pixels `(3, S, S)` of any size."""
    patch = config.patch_size
    grid = pixels.shape[1] // patch
    cut = pixels[:, : grid * patch, : grid * patch].reshape(3, grid, patch, grid, patch)
    patches = cut.transpose(1, 3, 0, 2, 4).reshape(grid * grid, -1)
    x = patches @ weights["patch_embed.weight"].T + weights["patch_embed.bias"]
    x = np.concatenate([weights["cls_token"][0], x]) + resized(weights["pos_embed"][0], grid)
    turns = np.exp(1j * angles(config, grid))
    for number in range(config.layers):
        name = f"blocks.{number}"
        x = x + attend(norm(x, weights, f"{name}.norm1"), turns, weights, f"{name}.attn", config.head_width)
        up = norm(x, weights, f"{name}.norm2") @ weights[f"{name}.mlp.up.weight"].T + weights[f"{name}.mlp.up.bias"]
        gate, value = np.split(up, 2, axis=1)
        inner = norm(gate / (1 + np.exp(-gate)) * value, weights, f"{name}.mlp.norm")
        x = x + inner @ weights[f"{name}.mlp.down.weight"].T + weights[f"{name}.mlp.down.bias"]
    return norm(x[:1], weights, "norm")[0]


@pytest.mark.parametrize(("own", "grid"), [(36, 24), (36, 16), (14, 7), (8, 5), (5, 5)])
def test_positions_are_resampled_as_in_float64(own: int, grid: int) -> None:
    positions = torch.randn(1, 1 + own * own, 12, generator=torch.Generator().manual_seed(own))
    found = resize_positions(positions, grid)[0].numpy()
    np.testing.assert_allclose(found, resized(positions[0].numpy().astype(np.float64), grid), atol=2e-6)
    np.testing.assert_array_equal(found[0], positions[0, 0].numpy())


@pytest.mark.parametrize("side", [3, 4])
def test_angles_are_those_of_the_centres(model: Any, side: int) -> None:
    config = model.config.vision_config
    cos, sin = rotary_grid(config, torch.device("cpu"), side)
    expected = angles(config, side)
    np.testing.assert_allclose(cos.numpy(), np.cos(expected), atol=1e-6)
    np.testing.assert_allclose(sin.numpy(), np.sin(expected), atol=1e-6)
    # Both lie over the same image: what is in the middle for one is there for the other.
    np.testing.assert_allclose(expected.mean(0), angles(config, config.grid_size).mean(0), atol=1e-12)


@pytest.mark.parametrize("share", [1.0, 0.75, 0.5])
def test_vectors_of_every_size_are_those_of_float64(golden: Any, model: Any, share: float) -> None:
    config = model.config.vision_config
    tower = model.vision_model
    size, images = config.image_size, golden.arrays["images.pixel_values"][:3]
    if share < 1:
        size = round(share * size / config.patch_size) * config.patch_size
        tower = tower.resized(size)
        images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(size))
    weights = {name: value.double().numpy() for name, value in model.vision_model.state_dict().items()}
    with torch.inference_mode():
        found, whole = tower.embed(images), tower(images).pooler_output
    expected = np.stack([see(image.double().numpy(), weights, config) for image in images])
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)
    np.testing.assert_allclose(whole.numpy(), expected, atol=2e-5)


def test_another_size_changes_nothing_for_the_own_one(golden: Any, model: Any) -> None:
    tower, images = model.vision_model, golden.arrays["images.pixel_values"][:2]
    own = model.config.vision_config
    with torch.inference_mode():
        before = tower.embed(images)
        other = tower.resized(2 * own.patch_size)
        other.embed(torch.zeros(1, 3, 2 * own.patch_size, 2 * own.patch_size))
        assert torch.equal(tower.embed(images), before)
        again = tower.resized(own.grid_size * own.patch_size)
    assert tower.pos_embed.shape[1] == own.grid_size**2 + 1
    assert other.patch_embed.weight is tower.patch_embed.weight
    assert torch.allclose(again.pos_embed, tower.pos_embed, atol=1e-6)
    for own_part, asked in zip(
        rotary_grid(own, torch.device("cpu")), rotary_grid(own, torch.device("cpu"), own.grid_size), strict=True
    ):
        assert torch.equal(own_part, asked)
