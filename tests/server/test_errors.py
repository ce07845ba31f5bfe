"""Error responses and the log: failures of the backend, and nothing of what a client sent."""

from __future__ import annotations

import base64
import logging

import pytest

from jina_clip_integrations.errors import RateLimitError
from jina_clip_integrations.server.errors import strip_image_label
from tests.server.bodies import MARKER, ask, check_nested, read_log


class TestFailures:
    async def test_a_failure_of_the_backend_tells_nothing(self, client_of, backend, caplog) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask(f"explode {MARKER}"))
        assert response.status_code == 500
        check_nested(response.json(), "INTERNAL_ERROR")
        assert "RuntimeError" in caplog.text
        assert MARKER not in response.text + caplog.text

    async def test_a_busy_backend_passes_its_wait_on(self, client_of, backend, monkeypatch) -> None:
        async def busy(_batch: object) -> None:
            raise RateLimitError("slow down", retry_after_s=7)

        monkeypatch.setattr(backend, "aembed", busy)
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask())
        assert (response.status_code, response.headers["Retry-After"]) == (429, "7")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param("https://host/a.png: HTTP 404", "the image: HTTP 404", id="URL"),
        pytest.param("http://[::1]:8080/a: b: HTTP 404", "the image: b: HTTP 404", id="URL with an address"),
        pytest.param("image/png 12 kB sha256:ab12cd34: cut short", "the image: cut short", id="digest"),
        pytest.param("an image: more than 5 bytes", "the image: more than 5 bytes", id="unread"),
        pytest.param("a data URI without a comma: no", "a data URI without a comma: no", id="no label"),
    ],
)
def test_image_errors_lose_their_label(message: str, expected: str) -> None:
    assert strip_image_label(message) == expected


class TestSilence:
    """Nothing that a client sent comes back in an error or stands in a log."""

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(ask(f"bad {MARKER}"), id="text that the backend refuses"),
            pytest.param(ask({"image": f"https://localhost/{MARKER}.png?key={MARKER}"}), id="https URL"),
            pytest.param(ask({"image": f"http://{MARKER}/"}), id="http URL"),
            pytest.param(ask({"image": MARKER}), id="image that is no base64"),
            pytest.param(ask({"image": f"data:image/png;base64,{MARKER}!!"}), id="broken data URI"),
            pytest.param(ask({"image": "data:text/plain," + MARKER}), id="data URI of text"),
            pytest.param(ask({"image": base64.b64encode(MARKER.encode()).decode()}), id="base64 of text"),
            pytest.param(ask({"url": f"{MARKER}://x"}), id="URL of another scheme"),
            pytest.param(ask({MARKER: MARKER}), id="unknown key"),
            pytest.param(ask(dimensions=MARKER), id="dimensions"),
            pytest.param(ask(embedding_type=MARKER), id="embedding_type"),
            pytest.param(ask(normalized=MARKER), id="normalized"),
            pytest.param(ask(task=MARKER), id="task"),
            pytest.param(ask({"text": [MARKER]}), id="text as a list"),
            pytest.param({"model": "jina-clip-v2", "text": MARKER}, id="unknown field"),
        ],
    )
    async def test_of_errors_and_logs(self, client_of, backend, caplog, body) -> None:
        caplog.set_level(logging.DEBUG)
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=body, params={"q": MARKER})
        assert response.status_code in (400, 422), response.text
        assert MARKER.lower() not in response.text.lower()
        assert MARKER.lower() not in read_log(caplog).lower()
