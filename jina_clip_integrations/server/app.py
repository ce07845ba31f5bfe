"""The application: its routes, and the steps of an embedding request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from .._version import __version__
from .errors import RequestError
from .invocations import CSV_TYPE, Invocation, read_csv, read_invocation
from .metrics import CONTENT_TYPE
from .middleware import ERROR_CODE, REQUEST_ID, RequestMiddleware
from .request_body import cancel_on_disconnect, check_is_json, parse_json, read_body
from .responses import embeddings_body, invocations_body
from .service import SERVICE_PREFIX, Service
from .settings import ServerSettings

if TYPE_CHECKING:
    from ..backends.base import EmbeddingBackend
    from ..encoder import JinaClipEncoder
    from ..types import Vectors

LARGE_RESPONSE = 65_536
"""Values from which a response is serialised in a thread; for smaller ones the switch costs more than it saves."""

PREFLIGHT_AGE_S = 600
"""How long a browser may remember what pages of an origin may send, in seconds: Starlette's default."""


def build_app(source: JinaClipEncoder | EmbeddingBackend, settings: ServerSettings) -> FastAPI:
    """The application that serves `source`; its `Service` is `app.state.service`."""
    service = Service(source, settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    # No interactive documentation: its pages load scripts from a CDN, which a private network may not reach.
    app = FastAPI(title="jina-clip", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.add_exception_handler(RequestError, _handle_request_error)
    app.add_exception_handler(HTTPException, _handle_unknown_route)
    Routes(service).add_to(app)
    app.add_middleware(RequestMiddleware, metrics=service.metrics)
    if settings.cors_origins:
        _allow_origins(app, settings.cors_origins)
    return app


def _allow_origins(app: FastAPI, origins: tuple[str, ...]) -> None:
    """Let pages of these origins ask. The outermost layer: a browser shows a page no error without these headers."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=["Retry-After", "X-Request-ID"],
        max_age=PREFLIGHT_AGE_S,
    )


class Routes:
    """The handlers of one application."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def add_to(self, app: FastAPI) -> None:
        """Register every route."""
        body = {"content": {"application/json": {"schema": self.service.schema.json_schema()}}, "required": True}
        app.post("/v1/embeddings", openapi_extra={"requestBody": body})(self.embeddings)
        app.post("/invocations")(self.invocations)
        app.get("/v1/models")(self.models)
        app.get("/v1/models/{name:path}")(self.model)  # a path: the names that hubs give have slashes
        for path, handler in (
            ("/health", self.live),
            ("/live", self.live),
            ("/ready", self.ready),
            ("/ping", self.ready),
            ("/metrics", self.metrics),
        ):
            app.get(path)(handler)
            app.head(path, include_in_schema=False)(handler)  # what load balancers and monitors ask by default

    async def embeddings(self, request: HttpRequest) -> Response:
        """Embed texts and images, as the Jina API does."""

        async def respond(body: bytes) -> bytes:
            parsed = self.service.schema.read(await parse_json(body))
            rows, usage = await self.service.embed(parsed)
            return await _serialize(
                rows,
                lambda: embeddings_body(rows, model=parsed.model, embedding_type=parsed.embedding_type, usage=usage),
            )

        return await self._handle(request, respond)

    async def invocations(self, request: HttpRequest) -> Response:
        """Embed texts and images, as Jina's container images in the clouds do."""
        is_csv = request.headers.get("content-type", "").partition(";")[0].strip().lower() == CSV_TYPE

        async def respond(body: bytes) -> bytes:
            invocation = await self._read_invocation(body, is_csv=is_csv)
            rows, usage = await self.service.embed(invocation.request)
            return await _serialize(
                rows, lambda: invocations_body(rows, ids=invocation.ids, usage=usage, parameters=invocation.parameters)
            )

        return await self._handle(request, respond, is_csv=is_csv)

    async def _read_invocation(self, body: bytes, *, is_csv: bool) -> Invocation:
        if not is_csv:
            return read_invocation(await parse_json(body), self.service.schema)
        # Lenient: a stray byte costs its row a character, not the whole batch transform job.
        return read_csv(body.decode("utf-8", "replace"), self.service.schema)

    async def _handle(
        self, request: HttpRequest, respond: Callable[[bytes], Coroutine[Any, Any, bytes]], *, is_csv: bool = False
    ) -> Response:
        """One embedding request: authentication, admission, body and response, all within the time limit."""
        service, settings = self.service, self.service.settings
        # What costs least is checked first, and nothing of the body is read for a request that is refused anyway.
        service.auth.check(request.headers.get("authorization"))
        service.check_open()
        if not is_csv:
            check_is_json(request)

        async def work() -> Response:
            with service.admission.request(), service.admission.buffer() as count_bytes:
                body = await read_body(request, limit=settings.max_body_bytes, count_bytes=count_bytes)
                content = await cancel_on_disconnect(request, respond(body))
                return Response(content, media_type="application/json")

        try:
            return await asyncio.wait_for(work(), settings.request_timeout_s)
        except asyncio.TimeoutError:
            message = f"Request timed out after {settings.request_timeout_s:g} seconds; send smaller inputs"
            raise RequestError(504, "SERVICE_TIMEOUT", message) from None

    async def models(self, request: HttpRequest) -> Response:
        """List the one model that is served."""
        self.service.auth.check(request.headers.get("authorization"))
        return JSONResponse({"object": "list", "data": [self._model_entry()]})

    async def model(self, name: str, request: HttpRequest) -> Response:
        """The model that is served, by any of its names; 404 for another."""
        self.service.auth.check(request.headers.get("authorization"))
        self.service.schema.check_model(name, status=404)
        return JSONResponse({**self._model_entry(), "id": name})

    def _model_entry(self) -> dict[str, Any]:
        spec, names = self.service.spec, self.service.names
        return {
            "id": next(name for name in names if name.startswith(SERVICE_PREFIX)) if spec.hub_id else names[0],
            "object": "model",
            "created": self.service.created_s,
            "owned_by": "jina-ai" if spec.hub_id else "local",
            "names": list(names),
            "dimensions": spec.embed_dim,
            "matryoshka_dimensions": list(spec.matryoshka_dimensions),
            "max_length": self.service.embedder.max_length,
            "tasks": list(spec.tasks),
            "input_modalities": ["text", "image"],
        }

    async def live(self) -> Response:
        """Liveness: 503 only after a failed start, which a restart may cure."""
        failed = self.service.state == "failed"
        return JSONResponse({"status": "failed" if failed else "ok"}, 503 if failed else 200)

    async def ready(self) -> Response:
        """Readiness: 200 while embedding requests are accepted."""
        state = self.service.state
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    async def metrics(self) -> Response:
        """Metrics in Prometheus' text format."""
        return Response(self.service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


async def _serialize(rows: Vectors, serialize: Callable[[], bytes]) -> bytes:
    return await asyncio.to_thread(serialize) if rows.size > LARGE_RESPONSE else serialize()


async def _handle_request_error(request: HttpRequest, error: Any) -> Response:
    request.scope[ERROR_CODE] = error.code  # for the middleware, which counts and logs it
    return JSONResponse(error.body(request.scope[REQUEST_ID]), error.status, error.headers)


async def _handle_unknown_route(request: HttpRequest, error: Any) -> Response:
    # Starlette raises these two before any handler runs; the API answers them in its own flat shape.
    message = "Not found; embeddings are at /v1/embeddings" if error.status_code == 404 else str(error.detail)
    code = "RESOURCE_NOT_FOUND" if error.status_code == 404 else "METHOD_NOT_ALLOWED"
    return await _handle_request_error(
        request, RequestError(error.status_code, code, message, nested=False, headers=error.headers)
    )
