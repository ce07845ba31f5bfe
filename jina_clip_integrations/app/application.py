"""The application: its routes, and the threads in which they search, decode and index."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import anyio.to_thread
import orjson
from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from .._version import __version__
from ..errors import JinaClipError
from ..server.errors import RequestError
from ..server.metrics import Metrics
from ..server.middleware import ERROR_CODE, REQUEST_ID, RequestMiddleware
from ..server.request_body import read_body
from .address import read_address, read_filters
from .assets import PAGE, load_assets
from .errors import invalid_parameter, to_request_error
from .guard import SESSION_PATH, Guard, Sessions
from .library import Library
from .settings import AppSettings
from .uploads import PREVIEW_TYPE, Uploads

if TYPE_CHECKING:
    from ..collections.folder import FolderCollection

SEARCHES_AT_ONCE = 4
THUMBNAILS_AT_ONCE = 4
"""Decoding takes a core each and, for a large photo, a few hundred megabytes."""

THUMBNAIL_SIZES = (360, 720, 2048)
"""Longest sides that the page asks for, in pixels: a tile, a tile on a screen of double density, the single view."""

THUMBNAIL_AGE_S = 7 * 24 * 3600
"""How long a browser may keep a thumbnail; its address changes with the file."""

BLOCK_BYTES = 1 << 20
"""Read at a time of a file that is saved."""

T = TypeVar("T")


def build_app(collection: FolderCollection, settings: AppSettings) -> FastAPI:
    """The application that shows `collection`; its `Library` is `app.state.library`."""
    library = Library(collection, settings)
    sessions = Sessions(settings.token)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        library.start()
        yield
        await anyio.to_thread.run_sync(library.stop)

    # No schema and no interactive documentation, which would load scripts from elsewhere.
    app = FastAPI(title="jina-clip", version=__version__, lifespan=lifespan, openapi_url=None)
    app.state.library = library
    app.add_exception_handler(RequestError, _handle_request_error)
    app.add_exception_handler(JinaClipError, _handle_package_error)
    app.add_exception_handler(HTTPException, _handle_unknown_route)
    Routes(library, sessions, settings).add_to(app)
    app.add_middleware(Guard, settings=settings, sessions=sessions)
    app.add_middleware(RequestMiddleware, metrics=Metrics())
    return app


class Routes:
    """The handlers of one application."""

    def __init__(self, library: Library, sessions: Sessions, settings: AppSettings) -> None:
        self.library = library
        self.sessions = sessions
        self.settings = settings
        self.uploads = Uploads(settings.max_uploads_bytes)
        self.assets = load_assets()
        self.searching = CapacityLimiter(SEARCHES_AT_ONCE)
        self.decoding = CapacityLimiter(THUMBNAILS_AT_ONCE)

    def add_to(self, app: FastAPI) -> None:
        """Register every route."""
        app.get("/")(self.page)
        app.get("/assets/{name}")(self.asset)
        app.post(SESSION_PATH)(self.open_session)
        app.get("/api/status")(self.status)
        app.post("/api/index")(self.index)
        app.get("/api/search")(self.search)
        app.get("/api/duplicates")(self.duplicates)
        app.post("/api/uploads")(self.upload)
        app.get("/api/uploads/{key}")(self.uploaded)
        app.get("/api/thumbnail")(self.thumbnail)
        app.get("/api/original")(self.original)

    async def page(self, request: Request) -> Response:
        """The page itself, which holds nothing of the folder."""
        return self.assets[PAGE].respond(request)

    async def asset(self, name: str, request: Request) -> Response:
        """A file of the page."""
        asset = self.assets.get(name)
        if asset is None:
            raise RequestError(404, "NOT_FOUND", "There is no such file of the page", nested=False)
        return asset.respond(request)

    async def open_session(self, request: Request) -> Response:
        """Exchange the token for a cookie that scripts cannot read and other sites cannot send."""
        self.sessions.open(request.headers.get("authorization"))
        response = Response(status_code=204)
        if self.sessions.required:
            response.set_cookie(self.sessions.cookie, self.sessions.secret, httponly=True, samesite="strict")
        return response

    async def status(self) -> Response:
        """The folder, what it holds, and how far indexing is."""
        return _json(await self._run(self.library.status, limiter=self.searching))

    async def index(self) -> Response:
        """Look for changes in the folder."""
        return _json({"started": self.library.job.start()})

    async def search(self, request: Request) -> Response:
        """Images by words, images and filters; without a query all of them."""
        asked = read_address(request.query_params, self.uploads, self.settings)
        return _json(await self._run(self.library.search, asked, limiter=self.searching))

    async def duplicates(self, request: Request) -> Response:
        """Groups of images that are nearly the same, each with the one to keep."""
        filters = read_filters(request.query_params)
        threshold = _read_threshold(request.query_params.get("threshold", ""))
        return _json(await self._run(self.library.duplicates, threshold, filters, limiter=self.searching))

    async def upload(self, request: Request) -> Response:
        """Take an image to search with: its bytes are the body, with a media type of images."""
        # Such a type keeps a page elsewhere from sending one without asking first.
        if not request.headers.get("content-type", "").lower().startswith("image/"):
            raise RequestError(415, "UNSUPPORTED_MEDIA_TYPE", "Send an image, with its media type", nested=False)
        body = await read_body(request, limit=self.settings.max_upload_bytes, count_bytes=_count_nothing)
        return _json({"id": await self._run(self.uploads.add, body, limiter=self.decoding)})

    async def uploaded(self, key: str) -> Response:
        """A small version of an image that was dropped in."""
        return Response(self.uploads.get(key).preview, media_type=PREVIEW_TYPE)

    async def thumbnail(self, request: Request) -> Response:
        """A small version of an image of the folder."""
        pixels = request.query_params.get("px", str(THUMBNAIL_SIZES[0]))
        if pixels not in map(str, THUMBNAIL_SIZES):
            raise invalid_parameter("px", f"none of {', '.join(map(str, THUMBNAIL_SIZES))}")
        version = request.query_params.get("v", "")
        content = await self._run(
            self.library.thumbnail, _read_name(request), int(pixels), version, limiter=self.decoding
        )
        keep = f"private, max-age={THUMBNAIL_AGE_S}, immutable" if version else "no-store"
        return Response(content, media_type=_thumbnail_type(content), headers={"Cache-Control": keep})

    async def original(self, request: Request) -> Response:
        """An image of the folder as it is, to be saved; never shown in place, as its type is the file's own claim."""
        file, headers = await self._run(self.library.original, _read_name(request), limiter=self.decoding)
        # A file of any size: a block at a time, each read in a thread.
        return StreamingResponse(_blocks(file), media_type="application/octet-stream", headers=headers)

    async def _run(self, work: Callable[..., T], *arguments: Any, limiter: CapacityLimiter) -> T:
        return await anyio.to_thread.run_sync(functools.partial(work, *arguments), limiter=limiter)


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


def _count_nothing(_size: int) -> None:
    pass


def _read_name(request: Request) -> str:
    name = request.query_params.get("name", "")
    if not name:
        raise invalid_parameter("name", "missing")
    return name


def _read_threshold(text: str) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        number = -1.0
    if number is not None and not 0.5 <= number <= 1:
        raise invalid_parameter("threshold", "not a number from 0.5 to 1")
    return number


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK_BYTES):
            yield block


def _thumbnail_type(content: bytes) -> str:
    return "image/webp" if content[8:12] == b"WEBP" else "image/jpeg"


async def _handle_request_error(request: Request, error: Any) -> Response:
    request.scope[ERROR_CODE] = error.code  # for the middleware, which logs it
    return JSONResponse(error.body(request.scope[REQUEST_ID]), error.status, error.headers)


async def _handle_package_error(request: Request, error: Any) -> Response:
    return await _handle_request_error(request, to_request_error(error))


async def _handle_unknown_route(request: Request, error: Any) -> Response:
    code = "NOT_FOUND" if error.status_code == 404 else "METHOD_NOT_ALLOWED"
    message = "There is nothing at this address" if error.status_code == 404 else str(error.detail)
    return await _handle_request_error(
        request, RequestError(error.status_code, code, message, nested=False, headers=error.headers)
    )
