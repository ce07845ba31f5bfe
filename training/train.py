"""Train the demo model.

    python training/train.py --steps 26000

Seeded, with a budget in steps. A checkpoint is kept every `--save-every` steps in `training/.cache/run`; starting the
same command again goes on from there. The log is `training/results/train_log.csv`.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from architecture import CONFIG, IMAGE_SIZE, PATCH_SIZE, WIDTH
from augment import MEAN, STD, PictureSource
from captions import CaptionSource
from catalogue import load_emoji
from fetch import CACHE
from jina_clip_integrations.modeling.configuration_jina_clip import JinaClipConfig
from jina_clip_integrations.modeling.text_tower import TextTower
from jina_clip_integrations.modeling.vision_tower import VisionTower
from objective import Muon, Objective
from render import HELD_OUT_STYLE, on_white
from vocabulary import TOKENIZER_FOLDER

SEED = 20
RESULTS = Path(__file__).parent / "results"
CAPTIONS_PER_PICTURE = 4
TEXT_CHUNKS = 4
MAX_TOKENS = 48
PATCHES = (IMAGE_SIZE // PATCH_SIZE) ** 2
#: Share of the run with half of the patches dropped.
DROPPING_SHARE = 0.85
EMA_EVERY = 4


class Towers(nn.Module):
    """The two towers of the package with the objective's own parameters beside them."""

    def __init__(self, emoji: int) -> None:
        super().__init__()
        config = JinaClipConfig(**CONFIG)
        self.vision = VisionTower(config.vision_config)
        self.text = TextTower(config.text_config.settings)
        self.objective = Objective(emoji, WIDTH)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2 and "embeddings" not in name and "proxies" not in name:
                nn.init.xavier_uniform_(parameter)
        for table in (self.vision.pos_embed, self.vision.cls_token, self.text.token_type_embeddings.weight):
            nn.init.normal_(table, std=0.02)
        nn.init.normal_(self.text.word_embeddings.weight, std=WIDTH**-0.5)


def optimisers(model: Towers, lr: float, kind: str) -> list[torch.optim.Optimizer]:
    """Matrices get Muon (or AdamW) with weight decay, everything else AdamW without."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embedd" not in n and "proxies" not in n]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    adam = torch.optim.AdamW([{"params": rest, "weight_decay": 0.0}], lr=lr, betas=(0.9, 0.98), fused=True)
    if kind == "adamw":
        adam.add_param_group({"params": matrices, "weight_decay": 0.1})
        return [adam]
    return [adam, Muon(matrices, lr=lr, weight_decay=0.1)]


def schedule(step: int, steps: int, warmup: int = 150) -> float:
    """Return the factor on the learning rate: linear warm-up, then a cosine to 1% of the peak."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


class Batches:
    """Everything random about step `n`, made from `SEED` and `n` alone, so that a resumed run sees the same batches."""

    def __init__(self, pictures: PictureSource, captions: CaptionSource, tokenizer: Tokenizer, batch: int) -> None:
        self.pictures, self.captions, self.tokenizer, self.batch = pictures, captions, tokenizer, batch
        self.count = len(captions.emoji)
        self.held_out = torch.tensor([emoji.keywords_held_out for emoji in captions.emoji])

    def rows(self, step: int) -> list[int]:
        """Return the emoji of a step: consecutive pieces of one permutation per epoch."""
        per_epoch = self.count // self.batch
        epoch, part = divmod(step, per_epoch)
        order = random.Random(f"{SEED} epoch {epoch}").sample(range(self.count), self.count)
        return order[part * self.batch : (part + 1) * self.batch]

    def __call__(self, step: int) -> tuple[Tensor, Tensor, list[Tensor], Tensor, Tensor]:
        """Return rows, pixels, token ids in chunks sorted by length, and both `(C, emoji)` tables of truth."""
        rng, torch_rng = random.Random(f"{SEED} step {step}"), torch.Generator().manual_seed(SEED * 10**6 + step)
        rows = self.rows(step)
        drawn = [self.captions.draw(row, rng) for row in rows for _ in range(CAPTIONS_PER_PICTURE)]
        encoded = [encoding.ids for encoding in self.tokenizer.encode_batch([caption.text for caption in drawn])]
        order = sorted(range(len(drawn)), key=lambda index: len(encoded[index]))
        drawn, encoded = [drawn[index] for index in order], [encoded[index] for index in order]
        true_for = torch.zeros(len(drawn), self.count, dtype=torch.bool)
        for index, caption in enumerate(drawn):
            true_for[index, list(caption.true_for)] = True
        by_keyword = torch.tensor([caption.by_keyword for caption in drawn])
        unknown = by_keyword[:, None] & self.held_out[None]
        size = len(drawn) // TEXT_CHUNKS
        chunks = [padded(encoded[start : start + size]) for start in range(0, len(drawn), size)]
        return torch.tensor(rows), self.pictures.draw(torch.tensor(rows), torch_rng), chunks, true_for, unknown


def padded(encoded: list[list[int]]) -> Tensor:
    """Pad token ids to a multiple of 4 (few shapes, so few compilations), cutting what exceeds `MAX_TOKENS`."""
    length = min(MAX_TOKENS, -(-max(map(len, encoded)) // 4) * 4)
    out = torch.ones(len(encoded), length, dtype=torch.long)
    for row, ids in enumerate(encoded):
        kept = ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
        out[row, : len(kept)] = torch.tensor(kept)
    return out


class Probe:
    """A quick look at recall during training: a quarter of the emoji as queries, against all pictures."""

    def __init__(self, tokenizer: Tokenizer, archive: Path) -> None:
        emoji = load_emoji()
        with np.load(archive) as arrays:
            self.pixels = {style: _pixels(on_white(arrays[style])) for style in ("noto", HELD_OUT_STYLE)}
        self.targets: list[int] = []
        texts: list[str] = []
        for row in range(0, len(emoji), 4):
            for name in emoji[row].names.values():
                texts.append(name)
                self.targets.append(row)
        encoded = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        order = sorted(range(len(texts)), key=lambda index: len(encoded[index]))
        self.targets = [self.targets[index] for index in order]
        self.chunks = [padded([encoded[i] for i in order[s : s + 512]]) for s in range(0, len(order), 512)]

    @torch.inference_mode()
    def __call__(self, vision: nn.Module, text: nn.Module) -> dict[str, float]:
        """Return R@1 and R@5 in percent for the gallery style and the held-out style."""
        with torch.autocast("cpu", torch.bfloat16):
            queries = torch.cat([F.normalize(text(chunk).pooler_output.float(), dim=-1) for chunk in self.chunks])
            found = {}
            for style, pixels in self.pixels.items():
                vectors = torch.cat([vision(part).pooler_output.float() for part in pixels.split(256)])
                found[style] = queries.float() @ F.normalize(vectors, dim=-1).T.float()
        results = {}
        for style, scores in found.items():
            own = scores.float().gather(1, torch.tensor(self.targets)[:, None])
            rank = (scores >= own).sum(dim=1)
            results |= {f"{style}_r{k}": round(100 * float((rank <= k).float().mean()), 1) for k in (1, 5)}
        return results


def _pixels(pictures: np.ndarray) -> Tensor:
    resized = [Image.fromarray(p).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC) for p in pictures]
    return (torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def kept_patches(batch: int, rng: torch.Generator) -> Tensor:
    """Return `(batch, PATCHES / 2)` indices of the patches that are computed."""
    return torch.rand(batch, PATCHES, generator=rng).argsort(dim=1)[:, : PATCHES // 2].contiguous()


def save(path: Path, **state: Any) -> None:
    """Write a checkpoint so that an interruption never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.with_suffix(".new").write_bytes(buffer.getvalue())
    path.with_suffix(".new").replace(path)


def train(args: argparse.Namespace) -> None:
    """Run the steps that are left."""
    torch.manual_seed(SEED)
    emoji = load_emoji()
    tokenizer = Tokenizer.from_file(str(TOKENIZER_FOLDER / "tokenizer.json"))
    batches = Batches(PictureSource(CACHE / "styles.npz"), CaptionSource(emoji), tokenizer, args.batch)
    probe = Probe(tokenizer, CACHE / "styles.npz")
    model, average = Towers(len(emoji)), Towers(len(emoji)).requires_grad_(False)
    average.load_state_dict(model.state_dict())
    optims = optimisers(model, args.lr, args.optimiser)
    start, log = 0, []
    checkpoint = args.run / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        for optim, saved in zip(optims, state["optims"], strict=True):
            optim.load_state_dict(saved)
        start, log = state["step"], state["log"]
        print("resuming at step", start, flush=True)
    vision, text = model.vision, model.text
    objective = model.objective
    if args.compile:
        vision, text = torch.compile(vision, dynamic=False), torch.compile(text, dynamic=False)
        objective = torch.compile(objective, dynamic=False)
    peaks = [[group["lr"] * 0 + args.lr for group in optim.param_groups] for optim in optims]
    seconds_before = log[-1]["seconds"] if log else 0.0
    began, recent = time.perf_counter(), []
    for step in range(start, args.steps):
        rows, pixels, chunks, true_for, unknown = batches(step)
        factor = schedule(step, args.steps)
        for optim, lrs in zip(optims, peaks, strict=True):
            for group, peak in zip(optim.param_groups, lrs, strict=True):
                group["lr"] = peak * factor
        keep = None
        if step < DROPPING_SHARE * args.steps:
            keep = kept_patches(len(rows), torch.Generator().manual_seed(SEED * 10**7 + step))
        with torch.autocast("cpu", torch.bfloat16):
            pictures = vision(pixels, patch_keep=keep).pooler_output
            captions = torch.cat([text(chunk).pooler_output for chunk in chunks])
        loss = objective(pictures.float(), captions.float(), rows, true_for, unknown)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        for optim in optims:
            optim.step()
            optim.zero_grad(set_to_none=True)
        recent.append(loss.detach())
        if (step + 1) % EMA_EVERY == 0:
            weight = min(0.002 * EMA_EVERY / 4, 1.0) if step > 400 else 0.2
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), weight)
        if (step + 1) % args.log_every == 0:
            elapsed = time.perf_counter() - began
            print(f"{step + 1} loss {torch.stack(recent).mean():.3f} {elapsed / (step + 1 - start):.3f} s/step", flush=True)
        if (step + 1) % args.probe_every == 0 or step + 1 == args.steps:
            row = {
                "step": step + 1,
                "pictures": (step + 1) * args.batch,
                "seconds": round(seconds_before + time.perf_counter() - began, 1),
                "loss": round(float(torch.stack(recent).mean()), 4),
                "scale": round(float(model.objective.scale.detach().exp()), 2),
                **probe(model.vision, model.text),
            }
            row |= {f"ema_{name}": value for name, value in probe(average.vision, average.text).items()}
            recent = []
            log.append(row)
            print(row, flush=True)
            write_log(args.log, log)
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            save(
                checkpoint,
                step=step + 1,
                model=model.state_dict(),
                average=average.state_dict(),
                optims=[optim.state_dict() for optim in optims],
                log=log,
            )


def write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the whole log as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, required=True, help="budget of the whole run")
    parser.add_argument("--batch", type=int, default=96, help="pictures per step")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--optimiser", choices=("muon", "adamw"), default="muon")
    parser.add_argument("--compile", action="store_true", help="compile the towers and the loss")
    parser.add_argument("--run", type=Path, default=CACHE / "run", help="folder of the checkpoint")
    parser.add_argument("--log", type=Path, default=RESULTS / "train_log.csv")
    parser.add_argument("--log-every", type=int, default=100)
    parser.add_argument("--probe-every", type=int, default=1000)
    parser.add_argument("--save-every", type=int, default=1000)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
