"""Every planted mistake is named, alone and with a second one, and nothing right is ever called wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations.backends.remote.dialects import DIALECTS
from jina_clip_integrations.verification.diagnosis import diagnose
from jina_clip_integrations.verification.recipes import IMAGE_MISTAKES, TEXT_MISTAKES
from jina_clip_integrations.verification.reference import Reference
from jina_clip_integrations.verification.targets import Target
from jina_clip_integrations.verification.verify import Report, compare, verify
from tests.exports import GOLDEN, exported
from tests.verification.wrong_server import WrongModel, serving

pytestmark = pytest.mark.filterwarnings("ignore:.*as in the published preprocessing:UserWarning")


@pytest.fixture(scope="module", params=["v1", "v2"])
def reference(request: pytest.FixtureRequest) -> Reference:
    return Reference(str(GOLDEN / request.param))


@pytest.fixture(scope="module")
def v2() -> Reference:
    return Reference(str(GOLDEN / "v2"))


def examine(model: WrongModel, reference: Reference, dialect: str = "jina") -> Report:
    with serving(model) as url:
        target = Target(url, model=reference.spec.name, dialect=dialect)
        try:
            return verify(target, reference)
        finally:
            target.close()


class TestNothingIsAlarmedFalsely:
    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_a_right_server(self, reference: Reference, dialect: str) -> None:
        assert examine(WrongModel(reference.folder), reference, dialect).findings == []

    @pytest.mark.parametrize("format", ["onnx", "openvino"])
    def test_an_export(self, format: str, v2: Reference) -> None:
        target = Target(str(exported("v2", format)), model="")
        assert verify(target, v2).findings == []
        target.close()

    def test_the_checkpoint_on_this_machine(self, reference: Reference) -> None:
        target = Target(reference.model, model="", dtype="float32")
        assert verify(target, reference).findings == []
        target.close()

    def test_half_precision_is_a_remark(self, reference: Reference) -> None:
        target = Target(reference.model, model="", dtype="bfloat16")
        report = verify(target, reference)
        target.close()
        assert report.faults == []
        assert {finding.name.split(" (")[0] for _, finding in report.findings} <= {"half precision"}

    @pytest.mark.parametrize("dtype", ["float16", "int8"])
    def test_smaller_exports(self, dtype: str, v2: Reference) -> None:
        target = Target(str(exported("v2", "onnx", dtype)), model="")
        assert verify(target, v2).faults == []
        target.close()


def squash(model: WrongModel) -> None:
    model.fit = lambda image: np.asarray(image.resize((model.size, model.size), Image.Resampling.BICUBIC))


def pad(model: WrongModel) -> None:
    def fit(image: Image.Image) -> Any:
        scale = model.size / max(image.size)
        small = image.resize([int(side * scale) for side in image.size], Image.Resampling.BICUBIC)
        canvas = np.zeros((model.size, model.size, 3), np.uint8)
        top, left = (model.size - small.height) // 2, (model.size - small.width) // 2
        canvas[top : top + small.height, left : left + small.width] = np.asarray(small)
        return canvas

    model.fit = fit


def crop_the_corner(model: WrongModel) -> None:
    def fit(image: Image.Image) -> Any:
        scale = model.size / min(image.size)
        small = image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
        return np.asarray(small)[: model.size, : model.size]

    model.fit = fit


def resize_with(filter: int) -> Callable[[WrongModel], None]:
    def plant(model: WrongModel) -> None:
        def fit(image: Image.Image) -> Any:
            scale = model.size / min(image.size)
            small = np.asarray(image.resize([round(side * scale) for side in image.size], filter))
            top, left = (round((side - model.size) / 2) for side in small.shape[:2])
            return small[top : top + model.size, left : left + model.size]

        model.fit = fit

    return plant


def cubic(distance: Any) -> Any:
    """Keys' kernel with a = -0.75, as OpenCV and PyTorch have it."""
    x = np.abs(distance)
    near = (1.25 * x - 2.25) * x * x + 1
    far = ((-0.75 * x + 3.75) * x - 6) * x + 3
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def without_antialiasing(model: WrongModel) -> None:
    """Four neighbours of each point, however much the image shrinks."""

    def along_rows(pixels: Any, length: int) -> Any:
        points = (np.arange(length) + 0.5) * pixels.shape[0] / length - 0.5
        first = np.floor(points).astype(int) - 1
        total = 0.0
        for tap in range(4):
            weight = cubic(points - (first + tap))[:, None, None]
            total = total + weight * pixels[np.clip(first + tap, 0, pixels.shape[0] - 1)]
        return total

    def fit(image: Image.Image) -> Any:
        scale = model.size / min(image.size)
        wide, high = (round(side * scale) for side in image.size)
        tall = along_rows(np.asarray(image, np.float64), high)
        small = along_rows(tall.transpose(1, 0, 2), wide).transpose(1, 0, 2)
        small = np.clip(np.round(small), 0, 255).astype(np.uint8)
        top, left = (round((side - model.size) / 2) for side in small.shape[:2])
        return small[top : top + model.size, left : left + model.size]

    model.fit = fit


def swap_channels(model: WrongModel) -> None:
    right = model.fit
    model.fit = lambda image: right(Image.merge("RGB", image.split()[::-1]))


def on(color: str) -> Callable[[WrongModel], None]:
    def plant(model: WrongModel) -> None:
        from io import BytesIO

        from PIL import ImageOps

        def opened(data: bytes) -> Image.Image:
            image = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGBA")
            canvas = Image.new("RGBA", image.size, color)
            canvas.alpha_composite(image)
            return canvas.convert("RGB")

        model.open = opened

    return plant


def ignore_exif(model: WrongModel) -> None:
    from io import BytesIO

    model.open = lambda data: Image.open(BytesIO(data)).convert("RGB")


def set_normal(normal: Callable[[Any], Any]) -> Callable[[WrongModel], None]:
    def plant(model: WrongModel) -> None:
        model.normal = normal

    return plant


IMAGENET = np.float32([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])

IN_IMAGES: dict[str, Callable[[WrongModel], None]] = {
    "mean and std are missing": set_normal(lambda pixels: pixels / 255),
    "mean and std of 0.5": set_normal(lambda pixels: pixels / 127.5 - 1),
    "mean and std of ImageNet": set_normal(lambda pixels: (pixels / 255 - IMAGENET[0]) / IMAGENET[1]),
    "levels are not divided by 255": set_normal(lambda pixels: pixels),
    "red and blue are swapped": swap_channels,
    "images are squashed": squash,
    "images are padded": pad,
    "the corner is cropped instead of the middle": crop_the_corner,
    "EXIF orientation is ignored": ignore_exif,
    "bilinear instead of bicubic": resize_with(Image.Resampling.BILINEAR),
    "nearest neighbour instead of bicubic": resize_with(Image.Resampling.NEAREST),
    "Lanczos instead of bicubic": resize_with(Image.Resampling.LANCZOS),
    "bicubic without antialiasing": without_antialiasing,
    "white under transparency": on("white"),
    "black under transparency": on("black"),
}


def truncate(length: int) -> Callable[[WrongModel], None]:
    def plant(model: WrongModel) -> None:
        right = model.ids

        def ids(text: str) -> list[int]:
            whole = right(text)
            return whole if len(whole) <= length else [*whole[: length - 1], whole[-1]]

        model.ids = ids

    return plant


def drop_special_tokens(model: WrongModel) -> None:
    right = model.ids
    model.ids = lambda text: right(text)[1:-1]


def pool(how: Callable[[Any], Any]) -> Callable[[WrongModel], None]:
    def plant(model: WrongModel) -> None:
        model.pool = how

    return plant


def pool_padding(model: WrongModel) -> None:
    """Every text is padded to the longest probe, and the mean is over all positions."""
    import torch

    pad_id = model.model.config.text_config.settings.pad_token_id

    def words(text: str, task: str | None) -> Any:
        ids = model.ids(model.text(text, task))
        longest = max(len(ids), model.longest)
        row = torch.full((1, longest), pad_id)
        row[0, : len(ids)] = torch.tensor(ids)
        with torch.inference_mode():
            return model.model.text_model(row).last_hidden_state[0].mean(dim=0).numpy()

    model.words = words


IN_TEXTS: dict[str, Callable[[WrongModel], None]] = {
    "pooled by the first token": pool(lambda states: states[0]),
    "pooled by the last token": pool(lambda states: states[-1]),
    "texts are cut at 512 tokens": truncate(512),
    "texts are cut at 77 tokens": truncate(77),
    "special tokens are missing": drop_special_tokens,
}

OF_V2: dict[str, Callable[[WrongModel], None]] = {
    "the query instruction is missing": lambda model: setattr(model, "text", lambda text, task: text),
    "the query instruction comes twice": lambda model: setattr(
        model, "text", lambda text, task: 2 * model.instructions.get(task or "", "") + text
    ),
    "documents get the query instruction": lambda model: setattr(
        model, "text", lambda text, task: next(iter(model.instructions.values())) + text
    ),
    "texts are lowercased": lambda model: setattr(
        model, "text", lambda text, task: model.instructions.get(task or "", "") + text.lower()
    ),
}


def normalize_first(row: Any, dimensions: int | None) -> Any:
    return (row / np.linalg.norm(row))[:dimensions]


def keep_the_last(row: Any, dimensions: int | None) -> Any:
    row = row if dimensions is None else row[-dimensions:]
    return row / np.linalg.norm(row)


class TestPlantedMistakes:
    @pytest.mark.parametrize("name", IN_IMAGES)
    def test_in_images(self, reference: Reference, name: str) -> None:
        model = WrongModel(reference.folder)
        IN_IMAGES[name](model)
        assert examine(model, reference).faults == [name]

    @pytest.mark.parametrize("name", IN_TEXTS)
    def test_in_texts(self, reference: Reference, name: str) -> None:
        model = WrongModel(reference.folder)
        IN_TEXTS[name](model)
        assert examine(model, reference).faults == [name]

    @pytest.mark.parametrize("name", OF_V2)
    def test_with_instructions(self, v2: Reference, name: str) -> None:
        model = WrongModel(v2.folder)
        OF_V2[name](model)
        assert examine(model, v2).faults == [name]

    def test_padding_in_the_mean(self, reference: Reference) -> None:
        from jina_clip_integrations.verification.probes import long_text

        model = WrongModel(reference.folder)
        model.longest = reference.count_tokens(long_text(reference.count_tokens))
        pool_padding(model)
        assert examine(model, reference).faults[0] == "padding takes part in the mean"

    def test_a_missing_adapter(self, v2: Reference) -> None:
        model = WrongModel(v2.folder, default_lora_task=None)
        assert examine(model, v2).faults == ["the adapter is missing"]

    def test_not_normalised(self, reference: Reference) -> None:
        model = WrongModel(reference.folder)
        model.finish = lambda row, dimensions: row[:dimensions]
        assert examine(model, reference).faults == ["vectors are not normalised"]

    def test_normalised_before_the_cut(self, v2: Reference) -> None:
        model = WrongModel(v2.folder)
        model.finish = normalize_first
        assert examine(model, v2).faults == ["normalised before the cut"]

    def test_another_end_is_kept(self, v2: Reference) -> None:
        model = WrongModel(v2.folder)
        model.finish = keep_the_last
        assert examine(model, v2).faults == ["cut vectors keep other values"]

    def test_rows_out_of_order(self, reference: Reference) -> None:
        model = WrongModel(reference.folder)
        model.order = lambda rows: rows[1:] + rows[:1]
        assert examine(model, reference).faults == ["rows come out of order"]

    def test_noise(self, reference: Reference) -> None:
        model, random = WrongModel(reference.folder), np.random.default_rng(0)

        def finish(row: Any, dimensions: int | None) -> Any:
            noisy = row[:dimensions] + random.normal(0, 0.2 * row.std(), row[:dimensions].shape)
            return noisy / np.linalg.norm(noisy)

        model.finish = finish
        [name] = {each.split(" (")[0] for each in examine(model, reference).faults}
        assert name == "low-precision noise"

    def test_another_model(self, reference: Reference) -> None:
        random = np.random.default_rng(1).normal(size=(reference.spec.embed_dim,) * 2)
        model = WrongModel(reference.folder)
        model.finish = lambda row, dimensions: (random @ row)[:dimensions] / np.linalg.norm((random @ row)[:dimensions])
        names = {each.split(" (")[0] for each in examine(model, reference).faults}
        assert "another model" in names

    def test_two_at_once_in_one_modality_and_one_in_the_other(self, reference: Reference) -> None:
        model = WrongModel(reference.folder)
        squash(model)
        IN_IMAGES["mean and std of 0.5"](model)
        IN_TEXTS["pooled by the first token"](model)
        found = set(examine(model, reference).faults)
        assert found == {"images are squashed", "mean and std of 0.5", "pooled by the first token"}


def test_at_least_twenty_mistakes_are_planted() -> None:
    planted = {*IN_IMAGES, *IN_TEXTS, *OF_V2}
    assert planted <= {each.name for each in (*IMAGE_MISTAKES, *TEXT_MISTAKES)}
    assert len(planted) + 8 >= 30


def test_two_targets_are_compared_without_weights(v2: Reference) -> None:
    good, bad = WrongModel(v2.folder), WrongModel(v2.folder)
    squash(bad)
    with serving(good) as one, serving(bad) as other:
        targets = [Target(url, model=v2.spec.name) for url in (one, other)]
        assert compare(targets[0], targets[0], model=v2.spec).findings == []
        report = compare(targets[1], targets[0], model=v2.spec)
        for target in targets:
            target.close()
    assert {kind for kind, _ in report.findings} == {"images"}


def test_what_is_the_same_asks_for_no_mistake() -> None:
    asked: list[Any] = []

    def compute(recipe: Any) -> Any:
        asked.append(recipe)
        return np.eye(3, dtype=np.float32)

    assert diagnose(np.eye(3, dtype=np.float32), compute, "right", IMAGE_MISTAKES).findings == []
    assert asked == ["right"]


def test_a_place_that_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="is not a checkpoint folder"):
        Target(str(tmp_path), model="")
