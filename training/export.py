"""Write the trained model in the published layout, with adapters, to `jina_clip_integrations/demo/data/model`.

    python training/export.py

Weights are stored in bfloat16. Each adapter holds the best rank-4 approximation of what that rounding took from its
matrix, so merging it, as loading does, gives back a part of the lost precision.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from architecture import CONFIG, LORA_RANK, write_config
from fetch import CACHE
from render import DEMO_DATA
from torch import Tensor
from vocabulary import TOKENIZER_FOLDER

from jina_clip_integrations.modeling import JinaClipConfig, JinaClipModel, save_published


def low_rank(lost: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return factors `(rows, rank)` and `(rank, columns)` of the best approximation, evenly scaled."""
    u, s, v = torch.linalg.svd(lost.double(), full_matrices=False)
    root = s[:rank].sqrt()
    tall, wide = (u[:, :rank] * root).float(), (root[:, None] * v[:rank]).float()
    if (missing := rank - tall.shape[1]) > 0:  # the token type table has fewer rows than the rank
        tall = torch.cat((tall, tall.new_zeros(len(tall), missing)), dim=1)
        wide = torch.cat((wide, wide.new_zeros(missing, wide.shape[1])))
    return tall, wide


def rounding_adapters(state: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return `lora_A` and `lora_B` for every matrix of the text tower (see section 5.2 of the layout's description).

    A linear layer merges `B @ A`, an embedding `A @ B`.
    """
    adapters = {}
    for name, weight in state.items():
        if name.startswith("text_model.") and name.endswith("weight") and weight.ndim == 2:
            tall, wide = low_rank(weight - weight.bfloat16().float(), LORA_RANK)
            adapters[name] = (tall, wide) if "embeddings" in name else (wide, tall)
    return adapters


def trained_model(run: Path, average: bool) -> JinaClipModel:
    """Return the model of a training checkpoint in float32, with the averaged weights if `average`."""
    saved = torch.load(run / "checkpoint.pt", weights_only=True)
    towers = saved["average" if average else "model"]
    model = JinaClipModel(JinaClipConfig(**CONFIG))
    state = {"logit_scale": towers["objective.scale"]}
    for name, tensor in towers.items():
        tower, _, rest = name.partition(".")
        if tower != "objective":
            state[f"{tower}_model.{rest}"] = tensor
    model.load_state_dict(state)
    return model


def export(model: JinaClipModel, folder: Path) -> None:
    """Write weights, configurations and tokenizer."""
    adapters = rounding_adapters(model.state_dict())
    save_published(model.bfloat16(), folder, adapters=adapters)
    write_config(folder)  # the published layout to the letter, in place of the framework's spelling
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(TOKENIZER_FOLDER / name, folder / name)


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=CACHE / "run")
    parser.add_argument("--folder", type=Path, default=DEMO_DATA / "model")
    parser.add_argument("--average", action="store_true", help="the averaged weights, better before the run has ended")
    args = parser.parse_args()
    export(trained_model(args.run, args.average), args.folder)
    for path in sorted(args.folder.iterdir()):
        print(f"{path.stat().st_size:>9,} {path.name}")


if __name__ == "__main__":
    main()
