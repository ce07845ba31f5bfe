"""Attention as plain products, which is how bfloat16 is computed on a CPU without AMX."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jina_clip_integrations.modeling import attention
from jina_clip_integrations.modeling.attention import attend

Qkv = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Results of `_as_products`, which is taken on this machine as on one without AMX."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    results: list[Tensor] = []
    compute = attention._as_products

    def spy(*qkv: Tensor) -> Tensor:
        results.append(compute(*qkv))
        return results[-1]

    monkeypatch.setattr(attention, "_as_products", spy)
    return results


def random_qkv(batch: int, heads: int, length: int, width: int = 16) -> Qkv:
    """Values of about 1, laid out as the towers do: tokens before heads."""
    generator = torch.Generator().manual_seed(length)
    q, k, v = torch.randn(3, batch, length, heads, width, generator=generator).bfloat16().transpose(2, 3)
    return q, k, v


def exact(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """In float32, all scores at once."""
    return attend(q.float(), k.float(), v.float(), implementation="eager")


@pytest.mark.parametrize("shape", [(1, 3, 1297), (2, 3, 520), (40, 4, 16), (3, 2, 77), (1, 1, 200)], ids=str)
@pytest.mark.parametrize("blocks", [(2**18, 2**21), (100 * 77, 2**14), (64, 64)], ids=str)
def test_products_in_blocks_of_any_size(
    shape: tuple[int, int, int], blocks: tuple[int, int], calls: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that hold everything, that divide neither heads nor rows, and the smallest that there are."""
    monkeypatch.setattr(attention, "CACHED_SCORES", blocks[0])
    monkeypatch.setattr(attention, "GROUP_SCORES", blocks[1])
    q, k, v = random_qkv(*shape)
    fast = attend(q, k, v)
    assert len(calls) == 1
    assert fast.shape == q.shape
    assert fast.dtype == torch.bfloat16
    difference = fast.float() - exact(q, k, v)
    assert difference.norm() < 0.008 * fast.float().norm()  # measured 0.005, 0.0044 with weights that are divided first
    assert difference.abs().max() < 0.04


@pytest.mark.parametrize(("factor", "sign"), [(40.0, 1.0), (40.0, -1.0), (150.0, None)], ids=["high", "low", "both"])
def test_scores_beyond_the_range_of_powers(factor: float, sign: float | None, calls: list[Tensor]) -> None:
    """A trained model may have heads that look at one token with a score of hundreds; some rows of one head do here."""
    q, k, v = random_qkv(1, 4, 200)
    q[:, 1, 50:60] *= factor
    if sign is not None:  # all scores of a row far above, or far below zero
        q[:, 1, 50:60], k[:, 1] = q[:, 1, 50:60].abs() * sign, k[:, 1].abs()
    result = attend(q, k, v).float()
    assert len(calls) == 1
    assert (result - exact(q, k, v)).abs().max() < 0.05


def test_a_value_that_is_no_number_stays_none(calls: list[Tensor]) -> None:
    q, k, v = random_qkv(1, 2, 200)
    q[0, 1, 7, 3] = torch.nan
    result = attend(q, k, v)
    assert len(calls) == 1
    assert result[0, 1, 7].isnan().all()
    assert not result[0, 0].isnan().any()


def test_what_is_computed_by_the_fused_kernel(calls: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = random_qkv(1, 4, 200)
    attend(q.float(), k.float(), v.float())  # has products of its own
    attend(q, k, v, mask=torch.ones(1, 200, dtype=torch.bool))
    attend(q.clone().requires_grad_(), k, v)
    attend(*random_qkv(1, 4, 20))  # a few scores
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    attend(q, k, v)
    assert calls == []
