"""Image documents that a record manager recognises by what their image shows, not by its path."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from langchain_core.documents import Document

from ..adapter.image_digests import DIGEST_KEY, content_digest, digest_each
from ..images.sources import SourcePolicy
from ..inputs import InputParser
from ..types import OnError


def with_image_digests(
    documents: Iterable[Document],
    *,
    uri_key: str | None = None,
    sources: SourcePolicy | None = None,
    on_error: OnError = "raise",
) -> list[Document]:
    """Copies of the documents with a digest of their image's content in `metadata["image_digest"]`.

    For `langchain_core.indexing.index`, which compares page content and metadata: with the digest among them, an image
    that changed under its path is embedded again, and one that did not is not.

    Args:
        documents: Documents of images; they stay as they are.
        uri_key: Metadata entry that holds the image's URI; documents without it are texts and get no digest. None =
            the page content of every document is a URI.
        sources: What may be read (None = `SourcePolicy()`, for paths that your own code names).
        on_error: `skip` leaves out documents whose image cannot be read, with a warning that names each.

    Raises:
        ImageError: an image that cannot be read; `index` says which document.
    """
    parser = InputParser(sources=sources or SourcePolicy())
    return list(digest_each(documents, partial(_add_digest, parser=parser, uri_key=uri_key), on_error))


def _add_digest(document: Document, *, parser: InputParser, uri_key: str | None) -> Document:
    uri = document.page_content if uri_key is None else document.metadata.get(uri_key)
    if uri is None:
        return document
    digest = content_digest(parser.image(uri))
    return document.model_copy(update={"metadata": {**document.metadata, DIGEST_KEY: digest}})
