"""The tools and resources as the protocol has them: names, arguments, descriptions, annotations, content blocks."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, TypeVar

from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent, ToolAnnotations
from pydantic import Field

from ..collections.duplicates import NEAR_DUPLICATE
from ..errors import JinaClipError
from .arguments import FilterArguments
from .limits import CallLimits
from .names import hide_folder, read_name
from .schema import CollectionResult, DuplicatesResult, EmbedResult, SearchResult
from .service import AgentService, Answer, Look, SearchArguments
from .settings import DEFAULT_PIXELS, MAX_EMBEDDED, MAX_IMAGES, MAX_PIXELS, MAX_TERMS, MAX_TOP, MIN_PIXELS
from .source import describe_failure

T = TypeVar("T")

NAMES = "names as a result gave them"
Words: TypeAlias = Annotated[
    str,
    Field(
        description="Words to search for, in any language of the model. +word adds and -word takes away, "
        '"quotes" keep words together: red car +beach -snow -"two people".'
    ),
]
Image: TypeAlias = Annotated[
    str,
    Field(description="An image to search with: the name of one in the folder, or data:image/png;base64,… (no URL)."),
]
Texts: TypeAlias = Annotated[list[str], Field(description=f"Up to {MAX_TERMS} texts.")]
Names: TypeAlias = Annotated[list[str], Field(description=f"Up to {MAX_TERMS} {NAMES}.")]
Top: TypeAlias = Annotated[int, Field(ge=1, le=MAX_TOP, description="Most results.")]
Images: TypeAlias = Annotated[
    int, Field(ge=0, le=MAX_IMAGES, description="How many of the first results to show as images. 0 = names only.")
]
Pixels: TypeAlias = Annotated[
    int, Field(ge=MIN_PIXELS, le=MAX_PIXELS, description="Longest side of the shown images, in pixels.")
]
Folder: TypeAlias = Annotated[str, Field(description="Only what lies in this subfolder, at any depth.")]
Since: TypeAlias = Annotated[
    str, Field(description="Only images taken (or, where they do not say, changed) since 2024, 2024-05 or 2024-05-31.")
]
Until: TypeAlias = Annotated[str, Field(description="The same, up to the end of that year, month or day.")]
Formats: TypeAlias = Annotated[list[str], Field(description="Only these file formats, such as jpeg.")]
Camera: TypeAlias = Annotated[str, Field(description="Only images whose camera's name has this in it.")]
Bytes: TypeAlias = Annotated[int | None, Field(ge=0, description="Bound of the file's size, in bytes.")]
Latitude: TypeAlias = Annotated[
    float | None, Field(ge=-90, le=90, description="Only images taken around a place: degrees north.")
]
Longitude: TypeAlias = Annotated[float | None, Field(ge=-180, le=180, description="Degrees east.")]
Radius: TypeAlias = Annotated[float | None, Field(gt=0, le=20_038, description="Distance from that place, in km.")]
Diversity: TypeAlias = Annotated[
    float, Field(ge=0, le=1, description="0 = the best ones, 1 = as different from each other as can be.")
]
ShowWeak: TypeAlias = Annotated[bool, Field(description="List images too that are hardly like the query.")]
Threshold: TypeAlias = Annotated[
    float, Field(ge=0.5, le=1, description="Similarity from which two images count as the same.")
]


class Tools:
    """The handlers. The SDK runs each in a thread of its own, as none of them is a coroutine."""

    def __init__(self, service: AgentService, limits: CallLimits) -> None:
        self._service = service
        self._limits = limits

    def search_images(
        self,
        query: Words = "",
        image: Image = "",
        plus: Texts = [],  # noqa: B006  # read, never changed; the schema shows the default
        minus: Texts = [],  # noqa: B006
        more_like: Names = [],  # noqa: B006
        less_like: Names = [],  # noqa: B006
        top: Top = 10,
        images: Images = 0,
        image_pixels: Pixels = DEFAULT_PIXELS,
        folder: Folder = "",
        since: Since = "",
        until: Until = "",
        formats: Formats = [],  # noqa: B006
        camera: Camera = "",
        min_bytes: Bytes = None,
        max_bytes: Bytes = None,
        latitude: Latitude = None,
        longitude: Longitude = None,
        radius_km: Radius = None,
        diversity: Diversity = 0.0,
        show_weak: ShowWeak = False,
    ) -> Annotated[CallToolResult, SearchResult]:
        """Find images of the folder by words, by an image, or both; several wishes and dislikes are added up.

        Answers with names, scores and facts, best first, and with the images themselves if `images` says how many.
        """
        filters = FilterArguments(
            folder=folder,
            since=since,
            until=until,
            formats=formats,
            camera=camera,
            min_bytes=min_bytes,
            max_bytes=max_bytes,
            latitude=latitude,
            longitude=longitude,
            radius_km=radius_km,
        )
        given = SearchArguments(
            query=query,
            image=image,
            plus=plus,
            minus=minus,
            more_like=more_like,
            less_like=less_like,
            filters=filters,
            diversity=diversity,
            show_weak=show_weak,
        )
        look = Look(top=top, images=images, image_pixels=image_pixels)
        return self._answer(lambda: self._service.search(given, look))

    def find_similar(
        self,
        name: Annotated[str, Field(description="An image of the folder, by its name in a result.")],
        top: Top = 10,
        images: Images = 0,
        image_pixels: Pixels = DEFAULT_PIXELS,
        folder: Folder = "",
        since: Since = "",
        until: Until = "",
    ) -> Annotated[CallToolResult, SearchResult]:
        """Find images like one of the folder, which is not among the results."""
        filters = FilterArguments(folder=folder, since=since, until=until)
        look = Look(top=top, images=images, image_pixels=image_pixels)
        return self._answer(lambda: self._service.find_similar(name, filters, look))

    def find_duplicates(
        self,
        threshold: Threshold = NEAR_DUPLICATE,
        top: Top = 10,
        images: Images = 0,
        image_pixels: Pixels = DEFAULT_PIXELS,
        folder: Folder = "",
    ) -> Annotated[CallToolResult, DuplicatesResult]:
        """List groups of images that are the same or nearly so, each with the one to keep and why. Deletes nothing."""
        look = Look(top=top, images=images, image_pixels=image_pixels)
        return self._answer(lambda: self._service.find_duplicates(threshold, FilterArguments(folder=folder), look))

    def describe_collection(self) -> Annotated[CallToolResult, CollectionResult]:
        """Tell what there is to search: how many images, from when, subfolders, cameras, and how far the index is."""
        return self._answer(self._service.describe)

    def embed(
        self,
        texts: Annotated[list[str], Field(description=f"Texts; with the images at most {MAX_EMBEDDED}.")] = [],  # noqa: B006
        images: Annotated[list[str], Field(description="Names of images in the folder, or data URIs.")] = [],  # noqa: B006
    ) -> Annotated[CallToolResult, EmbedResult]:
        """Vectors of texts and images in the space of the collection, in the structured result; texts first."""
        return self._answer(lambda: self._service.embed(texts, images), summary=_summarize_vectors)

    def thumbnail(self, name: str, pixels: int = DEFAULT_PIXELS) -> bytes:
        """A small version of an image of the folder; `pixels` is its longest side."""
        return self._read(lambda: self._service.thumbnail(read_name(name), pixels))

    def full(self, name: str) -> bytes:
        """An image file of the folder as it is, up to a size."""
        return self._read(lambda: self._service.file(read_name(name)))

    def _answer(self, work: Callable[[], Answer], summary: Callable[[Any], str] | None = None) -> CallToolResult:
        answer = self._run(work, ToolError)
        structured = answer.result.model_dump(mode="json", exclude_none=True)
        # Hosts that know nothing of structured results read the same in a text.
        text = summary(answer.result) if summary else json.dumps(structured, ensure_ascii=False)
        blocks: list[ContentBlock] = [TextContent(text=text)]
        for shown in answer.images:
            blocks.append(TextContent(text=f"Image block {shown.number}:"))
            data = base64.b64encode(shown.data).decode("ascii")
            blocks.append(ImageContent(data=data, mime_type=shown.mime_type))
        return CallToolResult(content=blocks, structured_content=structured)

    def _read(self, work: Callable[[], bytes]) -> bytes:
        return self._run(work, ResourceError)

    def _run(self, work: Callable[[], T], failure: type[ToolError] | type[ResourceError]) -> T:
        """Do `work` when it is its turn. What this package and the system raise on purpose becomes `failure`."""
        try:
            with self._limits.one_call():
                return work()
        except (JinaClipError, OSError) as error:
            # An ordinary exception would reach the agent without its message.
            raise failure(hide_folder(describe_failure(error), self._service.source.folder)) from error


def _summarize_vectors(result: EmbedResult) -> str:
    return f"{len(result.vectors)} vectors of {result.dimensions} numbers ({result.model}), in the structured result."


def describe_effects(title: str, *, open_world: bool) -> ToolAnnotations:
    """What a host may know of a tool before it asks a person: nothing here changes anything."""
    return ToolAnnotations(
        title=title, read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=open_world
    )
