"""What `jina-clip bench` measures: a checkpoint that is here already, or a model of the published size without one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.local.checkpoint_files import check_is_model_name, find_checkpoint, read_spec
from ...backends.local.devices import DeviceChoice
from ...catalog import find_model
from ...errors import CheckpointError
from ...settings import LocalSettings

if TYPE_CHECKING:
    from ...backends.local.engine import Engine
    from ...modeling import JinaClipConfig, JinaClipImageProcessor, JinaClipModel

WEIGHT_BLOCK = 2**20
"""Random weights drawn once and repeated all over the model: drawing a billion takes longer than measuring."""

WEIGHT_SPREAD = 0.02
"""Standard deviation of random weights, as before training. Zeros would let some processors cheat."""


@dataclass(frozen=True)
class BenchmarkModel:
    """A model to be measured. Only its architecture decides how long it takes, so that random weights will do."""

    name: str
    folder: Path | None
    """Where its weights are; None for random ones of the published size."""
    config: JinaClipConfig

    @property
    def image_tokens(self) -> float:
        """How many tokens of text cost as much arithmetic as one image."""
        text, vision = self.config.text_config.settings, self.config.vision_config
        per_token = text.num_hidden_layers * _multiplications(
            text.hidden_size, text.intermediate_size, 3 if text.is_alibi else 2
        )
        per_patch = vision.layers * _multiplications(vision.width, vision.intermediate_size, 3)
        return float((vision.grid_size**2 + 1) * per_patch / per_token)

    def engine(self, choice: DeviceChoice) -> Engine:
        """The model, ready to compute. Raises `CheckpointError` for damaged weights."""
        from ...backends.local.engine import Engine

        if self.folder is not None:
            return Engine(self.folder, choice, attn_implementation=LocalSettings.attn_implementation, compile=False)
        return Engine.from_model(random_model(self.config, choice), choice)

    def image_processor(self) -> JinaClipImageProcessor:
        """The checkpoint's image geometry, or the published one."""
        from ...modeling import JinaClipImageProcessor

        # Random weights come without preprocessor_config.json.
        published = JinaClipImageProcessor(size=self.config.vision_config.image_size)
        return published if self.folder is None else JinaClipImageProcessor.from_pretrained(self.folder)


def find_benchmark_model(model: str) -> BenchmarkModel:
    """The model called `model`, with its weights if they are here. Nothing is downloaded.

    Raises:
        CheckpointError: a folder that is no checkpoint, or a Hub id of unknown size whose files are not here.
    """
    from ...modeling import JinaClipConfig
    from ...modeling.published import PUBLISHED

    name, known = check_is_model_name(model), find_model(model)
    try:
        # A benchmark never starts a download of gigabytes.
        folder = find_checkpoint(name, LocalSettings(local_files_only=True))
    except CheckpointError as error:
        if known is None and name.count("/") == 1:
            raise CheckpointError(
                f"the files of {name} are not here, and a benchmark downloads nothing; embed something with it first, "
                f"or measure one of {', '.join(PUBLISHED)}, which needs no weights"
            ) from error
        if known is None:
            raise
    else:
        if known is None or any(folder.glob("*.safetensors")):
            read_spec(folder)  # refuses what is no checkpoint
            return BenchmarkModel(name, folder, JinaClipConfig.from_pretrained(folder))
    return BenchmarkModel(known.name, None, JinaClipConfig(**PUBLISHED[known.name]))


def random_model(config: JinaClipConfig, choice: DeviceChoice) -> JinaClipModel:
    """A model of that size made on the device of `choice`, in its precision. No file is read or written."""
    import torch

    from ...modeling import JinaClipModel

    dtype: torch.dtype = getattr(torch, choice.dtype)
    with torch.device("meta"):  # no memory is taken for the initial weights, which are thrown away
        model: JinaClipModel = JinaClipModel._from_config(
            config, dtype=dtype, attn_implementation=LocalSettings.attn_implementation
        )
    model.to_empty(device=choice.device)
    # Drawn on the CPU with a seed, so that every device gets the same weights.
    block = torch.randn(WEIGHT_BLOCK, generator=torch.Generator().manual_seed(0)).mul_(WEIGHT_SPREAD)
    block = block.to(choice.device, dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            for part in parameter.view(-1).split(WEIGHT_BLOCK):
                part.copy_(block[: len(part)])
    return model


def _multiplications(width: int, inner: int, mlp_matrices: int) -> int:
    """Multiplications of one token in one block: four projections of attention, and the MLP."""
    return 4 * width**2 + mlp_matrices * width * inner
