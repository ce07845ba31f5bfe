"""The middleware of every request: its id, its time, a log line without payloads, and a response to any failure."""

from __future__ import annotations

import logging
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import internal_error
from .metrics import Metrics
from .request_body import ClientGoneError
from .responses import new_id
from .service import describe_for_log

logger = logging.getLogger("jina_clip_integrations.server")
access = logging.getLogger("jina_clip_integrations.server.access")

REQUEST_ID = "jina_clip.request_id"
STARTED_S = "jina_clip.started_s"
ERROR_CODE = "jina_clip.error_code"
"""Where the scope of a request keeps its id, when it came, and the code of the error that it was answered with."""

CLIENT_CLOSED_REQUEST = 499
"""Status in logs and metrics for a client that closed the connection before it had a response (nginx's 499)."""

UNKNOWN_ROUTE = "other"


class RequestMiddleware:
    """ASGI middleware. Not a `BaseHTTPMiddleware` of Starlette, which would hide that a client has disconnected."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other kinds of scope pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[REQUEST_ID] = new_id()
        scope[STARTED_S] = time.monotonic()
        responded = False

        async def send_with_id(message: Message) -> None:
            nonlocal responded
            if message["type"] == "http.response.start":
                responded = True
                message["headers"] = [*message["headers"], (b"x-request-id", scope[REQUEST_ID].encode())]
                self._note(scope, message["status"])  # before the client can ask for the metrics
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientGoneError:
            self._note(scope, CLIENT_CLOSED_REQUEST)
        except Exception as error:
            logger.error("request %s failed: %s", scope[REQUEST_ID], describe_for_log(error))
            if not responded:
                failure = internal_error()
                scope[ERROR_CODE] = failure.code
                await JSONResponse(failure.body(scope[REQUEST_ID]), failure.status)(scope, receive, send_with_id)

    def _note(self, scope: Scope, status: int) -> None:
        seconds = time.monotonic() - scope[STARTED_S]
        route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
        self._metrics.count_response(route, status, seconds)
        if ERROR_CODE in scope:
            self._metrics.count_error(scope[ERROR_CODE])
        access.info(
            "%s %s %d %.1f ms %s %s",
            scope["method"], route, status, seconds * 1000, scope[REQUEST_ID], scope.get(ERROR_CODE, "-"),
        )  # fmt: skip
