"""Texts per second on this machine: our engine, the published computation, and the matrix products alone.

    python benchmarks/local_text.py [--version v2] [--texts 1024] [--every 8] [--plot] [--write]

Full-size models with random weights (seed 0). The texts are made of the demo gallery's words in twenty languages, their
lengths log-normal with a median of 30 tokens and at most 512, cut by the demo model's tokenizer. The reference is
`reference.py`: float32, eager attention, batches of 32 sorted by characters. For v2 the framework's own
`jina_embeddings_v3`, which is the text tower without adapters, runs beside them with its fused attention and the same
batches as the reference. A job of `--texts` is cut into the reference's batches, and every `--every`-th of them is
measured, so that padding is that of the large job. Contenders run in turns. The share is that of useful floating-point
operations in the rate of the linear layers alone, measured in the same run with distinct weights for every layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from full_size import (
    GIGA,
    MODEL_OPTIONS,
    checkpoint,
    choices,
    engine,
    plain_model,
    products_alone,
    text_flops,
    worst_cosine,
)
from plots import rates_figure
from reference import Reference, text_batches
from reporting import Option, heading, run, table
from timing import best_of, in_turns

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.batching import by_token_budget
from jina_clip_integrations.backends.local.engine import Engine
from jina_clip_integrations.backends.local.preprocess import load_preprocessor
from jina_clip_integrations.backends.running import TEXTS_PER_BATCH, TOKENS_PER_BATCH
from jina_clip_integrations.demo import gallery

MEDIAN, SIGMA, LONGEST = 30, 1.0, 512
LENGTHS = (8, 16, 32, 64, 128, 256, 512)
TOKENS_PER_PASS = 512
"""Of the curve by length; on a CPU without bfloat16 that takes seconds."""
QUERY = "a red bicycle leaning against a wall by the canal"


@dataclass(frozen=True)
class Workload:
    """Texts and their token ids."""

    texts: list[str]
    rows: list[list[int]]

    @property
    def tokens(self) -> int:
        return sum(map(len, self.rows))


def workload(folder: Path, count: int, *, every: int) -> Workload:
    """Texts in many languages whose lengths in tokens are log-normal: every so many batches of a job of `count`."""
    chance = np.random.default_rng(0)
    names = [name for image in gallery() for name in image.names.values()]
    chance.shuffle(names)
    words = cycle(names)
    wanted = np.clip(np.exp(chance.normal(np.log(MEDIAN), SIGMA, count)), 4, LONGEST).astype(int)
    preprocessor = load_preprocessor(folder, max_length=LONGEST)
    texts = [" ".join(islice(words, int(length))) for length in wanted]
    rows = [ids[:length] for ids, length in zip(preprocessor.tokenize(texts).ids, wanted, strict=True)]
    shares = [len(row) / len(ids) for row, ids in zip(rows, preprocessor.tokenize(texts).ids, strict=True)]
    texts = [text[: max(1, int(len(text) * share))] for text, share in zip(texts, shares, strict=True)]
    places = [place for batch in [*text_batches(texts)][every // 2 :: every] for place in batch]
    return Workload([texts[place] for place in places], [rows[place] for place in places])


def report(version: str, device: str, folder: str | None, texts: int, every: int, rounds: int, plot: bool) -> str:
    """All tables."""
    parts = [heading(f"Texts on this machine, jina-clip-{version}", __file__)]
    with checkpoint(version, folder) as path:
        work = workload(path, texts, every=every)
        reference = Reference(plain_model(path, choices(device)[0]))
        others: dict[str, Callable[[], Any]] = {"reference": partial(published_texts, reference, work)}
        if version == "v2":
            others["transformers"] = partial(_framework, _framework_tower(device), work)
        parts.append(_introduction(work))
        rows, curves = [], {}
        for choice in choices(device):
            ours = engine(path, choice)
            ceilings = products_alone(
                plain_model(path, choice).text_model,
                ours.model.text_model,
                TOKENS_PER_BATCH[ours.device.type] // 2,
                ours.device,
            )
            rows.append(_row(ours, others, work, ceilings, rounds))
            curves[choice.dtype] = {length: _rate_at(ours, length, rounds) for length in LENGTHS}
        columns = [
            "type",
            ">texts/s",
            *(f">× {name}" for name in others),
            ">GFLOP/s",
            ">layers alone",
            ">share",
            ">cosine",
        ]
        parts += [table(columns, rows), f"Tokens per second by length, {TOKENS_PER_PASS} tokens per pass:\n"]
        parts.append(
            table(
                ["type", *(f">{n}" for n in LENGTHS)],
                [[t, *(f"{r:,.0f}" for r in c.values())] for t, c in curves.items()],
            )
        )
        if plot:
            parts.append(rates_figure(f"local_text_{version}", curves, "tokens per text", "tokens per second"))
        parts.append(_one_query(path, device))
    return "\n".join(parts)


def _introduction(work: Workload) -> str:
    padded = sum(len(batch) * max(len(work.rows[n]) for n in batch) for batch in text_batches(work.texts))
    return (
        f"{len(work.rows)} texts, {work.tokens:,} tokens. The reference's batches hold {padded:,} tokens, "
        f"{100 * (1 - work.tokens / padded):.0f}% of them padding; ours hold none.\n"
        '"×" is how many times as fast ours is; "layers alone" the better of plain and packed weights; "share" the\n'
        'useful operations of the whole model in it; "cosine" the smallest one with the reference\'s vectors.\n'
    )


def _row(
    ours: Engine, others: dict[str, Callable[[], Any]], work: Workload, ceilings: dict[str, float], rounds: int
) -> list[str]:
    works = {"ours": partial(embed_texts, ours, work.rows), **others}
    taken = in_turns(works, rounds=rounds, warm_up=False)
    flops = sum(text_flops(ours.model.config, len(row)) for row in work.rows)
    rate, ceiling = flops / taken["ours"] / GIGA, max(ceilings.values())
    cosine = worst_cosine(torch.from_numpy(embed_texts(ours, work.rows)), others["reference"]())
    return [
        str(ours.dtype).removeprefix("torch."),
        f"{len(work.rows) / taken['ours']:.2f}",
        *(f"{taken[name] / taken['ours']:.2f}" for name in others),
        f"{rate:,.0f}",
        " / ".join(f"{name} {value:,.0f}" for name, value in ceilings.items()),
        f"{100 * rate / ceiling:.0f}%",
        f"{cosine:.5f}",
    ]


def embed_texts(ours: Engine, rows: Sequence[list[int]]) -> np.ndarray:
    """All rows, grouped as the local backend does."""
    vectors = np.empty((len(rows), ours.embed_dim), np.float32)
    lengths = [len(row) for row in rows]
    budget = TOKENS_PER_BATCH[ours.device.type]
    for group in by_token_budget(lengths, budget=budget, max_texts=TEXTS_PER_BATCH, pads=ours.pads):
        vectors[group] = ours.embed_ids([rows[place] for place in group])
    return vectors


def published_texts(reference: Reference, work: Workload) -> torch.Tensor:
    vectors = torch.empty(len(work.rows), reference.config.embed_dim)
    with torch.inference_mode():
        for batch in text_batches(work.texts):
            vectors[batch] = reference.texts([work.rows[place] for place in batch]).cpu()
    return vectors


def _framework_tower(device: str) -> torch.nn.Module:
    """The framework's text tower of that size; its weights are random too, which time does not depend on."""
    from transformers import JinaEmbeddingsV3Config, JinaEmbeddingsV3Model

    settings = JinaEmbeddingsV3Config(attn_implementation="sdpa")
    return JinaEmbeddingsV3Model(settings, add_pooling_layer=False).eval().to(choices(device)[0].device)


def _framework(tower: Any, work: Workload) -> None:
    with torch.inference_mode():
        for batch in text_batches(work.texts):
            longest = max(len(work.rows[place]) for place in batch)
            ids = torch.ones(len(batch), longest, dtype=torch.long)
            for row, place in zip(ids, batch, strict=True):
                row[: len(work.rows[place])] = torch.tensor(work.rows[place])
            ids = ids.to(tower.device)
            tower(input_ids=ids, attention_mask=(ids != 1).long()).last_hidden_state.mean(1).cpu()


def _rate_at(ours: Engine, length: int, rounds: int) -> float:
    """Tokens per second of texts of one length."""
    rows = [list(range(5, 5 + length)) for _ in range(TOKENS_PER_PASS // length)]
    return TOKENS_PER_PASS / best_of(partial(ours.embed_ids, rows), runs=rounds)


def _one_query(folder: Path, device: str) -> str:
    """One short query through the encoder, beside the bare forward pass of the model at that length."""
    rows = []
    for choice in choices(device):
        bare = plain_model(folder, choice)
        with JinaClipEncoder(folder, backend="local", device=choice.device, dtype=choice.dtype) as encoder:
            ids = torch.tensor(load_preprocessor(folder, max_length=LONGEST).tokenize([QUERY]).ids).to(choice.device)
            works = {"encoder": partial(encoder.encode_text, QUERY), "bare": partial(_bare, bare, ids)}
            taken = in_turns(works, rounds=9)
        times = (f"{taken[name] * 1000:.0f} ms" for name in works)
        rows.append([choice.dtype, ids.shape[1], *times, f"{taken['encoder'] / taken['bare']:.2f}"])
    columns = ["type", ">tokens", ">`encode_text`", ">bare forward pass, plain weights", ">ratio"]
    return "One short query:\n\n" + table(columns, rows)


def _bare(model: Any, ids: torch.Tensor) -> None:
    with torch.inference_mode():
        model.get_text_features(ids).pooler_output.cpu()


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        **MODEL_OPTIONS,
        texts=Option(1024, "texts of the job"),
        every=Option(8, "measure every so many batches of it"),
        rounds=Option(2, "times that every contender runs"),
        plot=Option(False, "draw the curve into benchmarks/results"),
    )
