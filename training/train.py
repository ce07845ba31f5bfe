"""Train the demo model.

    python training/train.py --steps 5000

Seeded, with a budget in steps. A checkpoint is kept every `--save-every` steps in `training/.cache/run`; starting the
same command again goes on from there. The log is `training/results/train_log.csv`.

The two towers and the preparation of the next batch run in three threads with one core each: on few, shared cores
that is faster than splitting every small operation, where each would wait for the slower half.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from architecture import CONFIG, IMAGE_SIZE, PATCH_SIZE, WIDTH
from augment import MEAN, STD, ImageSource
from captions import CaptionSource
from catalogue import load_emoji
from fetch import CACHE
from objective import Muon, Objective
from PIL import Image
from render import HELD_OUT_STYLE, on_white
from speed import use_fast_attention
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the customary name
from vocabulary import TOKENIZER_FOLDER

from jina_clip_integrations.modeling.configuration_jina_clip import JinaClipConfig
from jina_clip_integrations.modeling.text_tower import TextTower
from jina_clip_integrations.modeling.vision_tower import VisionTower

SEED = 20
#: Learning rates of the matrices, and of the word table and the proxies, as multiples of the base rate.
MUON_RATE, TABLE_RATE = 3.5, 2.5
RESULTS = Path(__file__).parent / "results"
MAX_TOKENS = 32
PATCHES = (IMAGE_SIZE // PATCH_SIZE) ** 2
#: Share of the run in which only `KEPT_PATCHES` random patches are computed.
DROPPING_SHARE = 0.92
KEPT_PATCHES = 22
#: The averaged weights move this share of the way per step, in one go every few steps.
EMA_RATE, EMA_EVERY = 0.002, 4


class Towers(nn.Module):
    """The two towers of the package with the objective's own parameters beside them."""

    def __init__(self, emoji: int) -> None:
        super().__init__()
        config = JinaClipConfig(**CONFIG)
        self.vision = VisionTower(config.vision_config)
        self.text = TextTower(config.text_config)
        self.objective = Objective(emoji, WIDTH)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2 and "embeddings" not in name and "proxies" not in name:
                nn.init.xavier_uniform_(parameter)
        for table in (self.vision.pos_embed, self.vision.cls_token, self.text.token_type_embeddings.weight):
            nn.init.normal_(table, std=0.02)
        nn.init.normal_(self.text.word_embeddings.weight, std=WIDTH**-0.5)


def optimisers(model: Towers, lr: float) -> list[torch.optim.Optimizer]:
    """Matrices get Muon with weight decay, one instance per tower; tables and the rest AdamW, at their own rates.

    Every group keeps its peak rate under `peak`.
    """
    tables = [model.text.word_embeddings.weight, model.objective.proxies]
    towers = [
        [p for n, p in tower.named_parameters() if p.ndim == 2 and "embeddings" not in n]
        for tower in (model.vision, model.text)
    ]
    chosen = {id(p) for group in (tables, *towers) for p in group}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    groups = [{"params": tables, "lr": TABLE_RATE * lr}, {"params": rest, "lr": lr}]
    adam = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    optims = [adam, *(Muon(tower, lr=MUON_RATE * lr, weight_decay=0.04) for tower in towers)]
    for optim in optims:
        for group in optim.param_groups:
            group["peak"] = group["lr"]
    return optims


def schedule(step: int, steps: int, warmup: int = 100) -> float:
    """Return the factor on the learning rate: linear warm-up, then a cosine to 1% of the peak."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@dataclass(frozen=True)
class Phase:
    """Size of a step. Texts go through the tower in `text_chunks` parts sorted by length, to spare padding."""

    images: int
    captions_per_image: int
    text_chunks: int


#: Words are learned much faster than images, so after the start the time goes into images.
FIRST_PHASE, FIRST_STEPS = Phase(images=96, captions_per_image=3, text_chunks=6), 1500
LATER_PHASE = Phase(images=128, captions_per_image=1, text_chunks=4)


def phase_of(step: int) -> Phase:
    """Return the phase that `step` belongs to."""
    return FIRST_PHASE if step < FIRST_STEPS else LATER_PHASE


class Batches:
    """Everything random about step `n`, made from `SEED` and `n` alone, so that a resumed run sees the same batches."""

    def __init__(self, images: ImageSource, captions: CaptionSource, tokenizer: Tokenizer) -> None:
        self.images, self.captions, self.tokenizer = images, captions, tokenizer
        self.count = len(captions.emoji)
        self.held_out = torch.tensor([emoji.keywords_held_out for emoji in captions.emoji])

    def rows(self, step: int) -> list[int]:
        """Return the emoji of a step: consecutive pieces of one permutation per epoch."""
        size = phase_of(step).images
        epoch, part = divmod(step, self.count // size)
        order = random.Random(f"{SEED} epoch {epoch}").sample(range(self.count), self.count)
        return order[part * size : (part + 1) * size]

    def __call__(self, step: int) -> tuple[Tensor, Tensor, list[Tensor], Tensor, Tensor]:
        """Return rows, pixels, token ids in chunks sorted by length, and both `(C, emoji)` tables of truth."""
        rng, torch_rng = random.Random(f"{SEED} step {step}"), torch.Generator().manual_seed(SEED * 10**6 + step)
        rows, phase = self.rows(step), phase_of(step)
        drawn = [self.captions.draw(row, rng) for row in rows for _ in range(phase.captions_per_image)]
        encoded = [encoding.ids for encoding in self.tokenizer.encode_batch([caption.text for caption in drawn])]
        order = sorted(range(len(drawn)), key=lambda index: len(encoded[index]))
        drawn, encoded = [drawn[index] for index in order], [encoded[index] for index in order]
        true_for = torch.zeros(len(drawn), self.count, dtype=torch.bool)
        for index, caption in enumerate(drawn):
            true_for[index, list(caption.true_for)] = True
        by_keyword = torch.tensor([caption.by_keyword for caption in drawn])
        unknown = by_keyword[:, None] & self.held_out[None]
        size = len(drawn) // phase.text_chunks
        chunks = [padded(encoded[start : start + size]) for start in range(0, len(drawn), size)]
        return torch.tensor(rows), self.images.draw(torch.tensor(rows), torch_rng), chunks, true_for, unknown


def padded(encoded: list[list[int]]) -> Tensor:
    """Pad token ids to the longest row, cutting what exceeds `MAX_TOKENS`."""
    length = min(MAX_TOKENS, max(map(len, encoded)))
    out = torch.ones(len(encoded), length, dtype=torch.long)
    for row, ids in enumerate(encoded):
        kept = ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
        out[row, : len(kept)] = torch.tensor(kept)
    return out


class Probe:
    """A quick look at recall during training: a quarter of the emoji as queries, against all images."""

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


def _pixels(images: np.ndarray) -> Tensor:
    resized = [Image.fromarray(p).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC) for p in images]
    return (torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def kept_patches(batch: int, rng: torch.Generator) -> Tensor:
    """Return `(batch, KEPT_PATCHES)` indices of the patches that are computed."""
    return torch.rand(batch, PATCHES, generator=rng).argsort(dim=1)[:, :KEPT_PATCHES].contiguous()


def save(path: Path, **state: Any) -> None:
    """Write a checkpoint so that an interruption never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.with_suffix(".new").write_bytes(buffer.getvalue())
    path.with_suffix(".new").replace(path)


def train(args: argparse.Namespace) -> None:
    """Run the steps that are left."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    emoji = load_emoji()
    tokenizer = Tokenizer.from_file(str(TOKENIZER_FOLDER / "tokenizer.json"))
    batches = Batches(ImageSource(CACHE / "styles.npz"), CaptionSource(emoji), tokenizer)
    probe = Probe(tokenizer, CACHE / "styles.npz")
    model, average = Towers(len(emoji)), Towers(len(emoji)).requires_grad_(False)
    average.load_state_dict(model.state_dict())
    optims = optimisers(model, args.lr)
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
    use_fast_attention()
    towers = [model.vision, model.text]
    half = copy.deepcopy(nn.ModuleList(towers)).bfloat16()  # computes; the float32 weights it copies are trained
    masters, halves = [p for tower in towers for p in tower.parameters()], list(half.parameters())
    vision, text = half
    seconds_before = log[-1]["seconds"] if log else 0.0
    began, recent = time.perf_counter(), []
    pool = ThreadPoolExecutor(3, initializer=torch.set_num_threads, initargs=(1,))
    upcoming = pool.submit(batches, start)
    for step in range(start, args.steps):
        rows, pixels, chunks, true_for, unknown = upcoming.result()
        upcoming = pool.submit(batches, step + 1)
        for optim in optims:
            for group in optim.param_groups:
                group["lr"] = group["peak"] * schedule(step, args.steps)
        keep = None
        if step < DROPPING_SHARE * args.steps:
            keep = kept_patches(len(rows), torch.Generator().manual_seed(SEED * 10**7 + step))
        with torch.no_grad():
            torch._foreach_copy_(halves, masters)
        seen = pool.submit(lambda pixels, keep: vision(pixels, ids_keep=keep).pooler_output, pixels, keep)
        read = pool.submit(lambda chunks: torch.cat([text(chunk).pooler_output for chunk in chunks]), chunks)
        outputs = [seen.result(), read.result()]
        inputs = [output.detach().requires_grad_() for output in outputs]
        loss = model.objective(*inputs, rows, true_for, unknown)
        loss.backward()
        list(pool.map(lambda output, given: output.backward(given.grad), outputs, inputs))
        for master, computed in zip(masters, halves, strict=True):
            master.grad = computed.grad.float()
            computed.grad = None
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        list(pool.map(lambda optim: optim.step(), optims))
        for optim in optims:
            optim.zero_grad(set_to_none=True)
        recent.append(loss.detach())
        if (step + 1) % EMA_EVERY == 0:
            weight = EMA_RATE * EMA_EVERY if step > 400 else 0.2
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), weight)
        if (step + 1) % args.log_every == 0:
            elapsed = time.perf_counter() - began
            pace = elapsed / (step + 1 - start)
            print(f"{step + 1} loss {torch.stack(recent).mean():.3f} {pace:.3f} s/step", flush=True)
        if (step + 1) % args.probe_every == 0 or step + 1 == args.steps:
            row = {
                "step": step + 1,
                "images": sum(phase_of(n).images for n in range(step + 1)),
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
    parser.add_argument("--lr", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--run", type=Path, default=CACHE / "run", help="folder of the checkpoint")
    parser.add_argument("--log", type=Path, default=RESULTS / "train_log.csv")
    parser.add_argument("--log-every", type=int, default=100)
    parser.add_argument("--probe-every", type=int, default=500)
    parser.add_argument("--save-every", type=int, default=500)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
