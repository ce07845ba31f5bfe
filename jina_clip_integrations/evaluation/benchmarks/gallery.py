"""The demo gallery as tasks of mteb, so that a benchmark can be tried offline and mteb's figures checked with ours."""

from __future__ import annotations

from typing import Any

from datasets import Dataset, Image
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata

from ...demo import gallery
from ...demo.gallery import GalleryImage
from .meta import LANGUAGES


def gallery_languages() -> tuple[str, ...]:
    """The languages in which every image has a name."""
    return tuple(gallery()[0].names)


def describe(name: str, category: str, what: str) -> TaskMetadata:
    """What mteb wants to know of a task over the gallery."""
    return TaskMetadata(
        name=name,
        description=f"{what} of the demo gallery: Noto Emoji and their names by Unicode CLDR.",
        type="Any2AnyMultilingualRetrieval",
        category=category,
        modalities=["text", "image"],
        dataset={"path": "jina-clip-integrations/demo-gallery", "revision": "1"},
        eval_splits=["test"],
        eval_langs={language: [LANGUAGES[language]] for language in gallery_languages()},
        main_score="ndcg_at_10",
    )


class GalleryTask(AbsTaskRetrieval):  # type: ignore[misc]  # mteb is untyped here
    """Names and images of the gallery, whichever of them is the query."""

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:  # noqa: ARG002  # mteb's signature
        """Read the gallery, which is a file of the package."""
        images = gallery()
        image_rows = Dataset.from_dict(
            {"id": [image.id for image in images], "image": [{"bytes": image.data()} for image in images]},
        ).cast_column("image", Image())
        self.dataset = {
            language: {"test": self.split(image_rows, names(language, images), images)} for language in self.hf_subsets
        }
        self.data_loaded = True

    def split(self, image_rows: Dataset, texts: Dataset, images: tuple[GalleryImage, ...]) -> RetrievalSplitData:
        """One language: who asks, who answers, and which answer is right."""
        raise NotImplementedError


class DemoGalleryT2IRetrieval(GalleryTask):
    """From a name to its image."""

    metadata = describe("DemoGalleryT2IRetrieval", "t2i", "From a name to its image")

    def split(self, image_rows: Dataset, texts: Dataset, images: tuple[GalleryImage, ...]) -> RetrievalSplitData:
        right = {f"name-{image.id}": {image.id: 1} for image in images}
        return RetrievalSplitData(queries=texts, corpus=image_rows, relevant_docs=right, top_ranked=None)


class DemoGalleryI2TRetrieval(GalleryTask):
    """From an image to its name."""

    metadata = describe("DemoGalleryI2TRetrieval", "i2t", "From an image to its name")

    def split(self, image_rows: Dataset, texts: Dataset, images: tuple[GalleryImage, ...]) -> RetrievalSplitData:
        right = {image.id: {f"name-{image.id}": 1} for image in images}
        return RetrievalSplitData(queries=image_rows, corpus=texts, relevant_docs=right, top_ranked=None)


GALLERY_TASKS: dict[str, type[GalleryTask]] = {
    kind.metadata.name: kind for kind in (DemoGalleryT2IRetrieval, DemoGalleryI2TRetrieval)
}
"""The tasks by their names."""


def names(language: str, images: tuple[GalleryImage, ...]) -> Dataset:
    """The names in one language."""
    return Dataset.from_dict(
        {"id": [f"name-{image.id}" for image in images], "text": [image.names[language] for image in images]}
    )
