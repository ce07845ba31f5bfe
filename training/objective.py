"""The Matryoshka contrastive loss, and the optimiser for the matrices."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the customary name

#: Widths at which the loss is taken, with their weights; the proxies take part at some of them.
WIDTHS = {16: 0.5, 32: 0.75, 64: 1.0, 128: 1.25}
PROXY_WIDTHS = {32: 1.0, 128: 1.5}
MAX_SCALE = math.log(80.0)


def soft_cross_entropy(logits: Tensor, target: Tensor, ignored: Tensor) -> Tensor:
    """Mean over rows of the mean `-log p` of each row's positives; rows without a positive do not count.

    `target` `(R, K)` holds one over the number of positives at each positive, `ignored` `(R, K)` is 0, or very
    negative where a column is neither positive nor negative.
    """
    counted = target.sum(dim=1)  # 1, or 0 without a positive
    gain = (logits * target).sum(dim=1)
    return ((logits + ignored).logsumexp(dim=1) * counted - gain).sum() / counted.sum().clamp(min=1)


def _shares(positive: Tensor) -> Tensor:
    return positive / positive.sum(dim=1, keepdim=True).clamp(min=1)


class Objective(nn.Module):
    """Images and captions against each other and against one proxy vector per emoji.

    The proxies give every sample all emoji as negatives; they are thrown away after training. `scale` and
    `proxy_scale` are logarithms of the factors on the cosines.
    """

    def __init__(self, emoji: int, width: int) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(emoji, width) * width**-0.5)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.proxy_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images: Tensor, captions: Tensor, rows: Tensor, true_for: Tensor, unknown: Tensor) -> Tensor:
        """Return the loss of `(B, W)` images of the emoji in `rows` and `(C, W)` captions.

        `true_for` and `unknown` are `(C, emoji)` bool: which emoji a caption names, and for which that is undecided.
        """
        hidden = torch.where(unknown, -1e4, 0.0)
        target, pair_true, pair_hidden = _shares(true_for), true_for[:, rows], hidden[:, rows]
        pair_target, turned_target = _shares(pair_true), _shares(pair_true.T)
        scale, proxy_scale = self.scale.clamp(max=MAX_SCALE).exp(), self.proxy_scale.clamp(max=MAX_SCALE).exp()
        loss = images.new_zeros(())
        for width, weight in WIDTHS.items():
            image, caption = (F.normalize(x[:, :width], dim=-1) for x in (images, captions))
            pairs = scale * caption @ image.T  # (C, B)
            both = soft_cross_entropy(pairs, pair_target, pair_hidden)
            both = both + soft_cross_entropy(pairs.T, turned_target, pair_hidden.T)
            loss = loss + weight / sum(WIDTHS.values()) * both
        for width, weight in PROXY_WIDTHS.items():
            image, caption, proxy = (F.normalize(x[:, :width], dim=-1) for x in (images, captions, self.proxies))
            both = F.cross_entropy(proxy_scale * image @ proxy.T, rows, label_smoothing=0.05)
            both = both + soft_cross_entropy(proxy_scale * caption @ proxy.T, target, hidden)
            loss = loss + weight / sum(PROXY_WIDTHS.values()) * both
        return loss


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal by a Newton-Schulz iteration (Jordan et al., 2024), batched by shape.

    Matrices of one shape are stacked, so that a step is a few batched products. The update is scaled to the size
    that AdamW's would have, so both optimisers share one learning rate.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(list(params), {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Update every matrix that has a gradient; `closure` is there for the framework."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                updates = []
                for parameter in parameters:
                    momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                    momentum.lerp_(parameter.grad, 1 - group["momentum"])
                    updates.append(parameter.grad.lerp(momentum, group["momentum"]))  # Nesterov
                step = group["lr"] * 0.2 * max(shape) ** 0.5
                for parameter, update in zip(parameters, orthogonalised(torch.stack(updates)), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-step)


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return `(n, a, b)` matrices with all singular values moved close to 1, in float32."""
    x = matrices.bfloat16()
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x if wide else x.mT).float()
