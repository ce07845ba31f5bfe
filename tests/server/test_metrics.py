"""Metrics for Prometheus."""

from __future__ import annotations

import base64
import re

import requests

from tests.server.bodies import (
    ask,
)
from tests.serving import send_request


class TestMetrics:
    def test_they_count_what_happened(self, serve, counting_backend, png) -> None:
        serving = serve(counting_backend)
        image = {"image": base64.b64encode(png(600, 600)).decode()}
        for body in (ask(["two words", "x", image]), ask(["x"]), ask([]), {"model": "no", "input": "x"}):
            requests.post(f"{serving.url}/v1/embeddings", json=body, timeout=10)
        requests.get(f"{serving.url}/no/such/route", timeout=10)
        text = serving.metrics()
        values = dict(re.findall(r"^(jina_clip_\S+) (\S+)$", text, re.MULTILINE))
        assert values['jina_clip_requests_total{route="/v1/embeddings",status="200"}'] == "2.0"
        assert values['jina_clip_requests_total{route="/v1/embeddings",status="422"}'] == "1.0"
        assert values['jina_clip_requests_total{route="/v1/embeddings",status="400"}'] == "1.0"
        assert values['jina_clip_requests_total{route="other",status="404"}'] == "1.0"
        assert values['jina_clip_refusals_total{code="INPUT_MODEL_NOT_FOUND"}'] == "1.0"
        assert values['jina_clip_inputs_total{modality="text"}'] == "3.0"
        assert values['jina_clip_inputs_total{modality="image"}'] == "1.0"
        assert values['jina_clip_tokens_total{modality="text"}'] == "18.0"
        assert values['jina_clip_tokens_total{modality="image"}'] == "16000.0"
        assert values['jina_clip_batch_inputs_count{modality="image"}'] == "1.0"
        assert values['jina_clip_batch_inputs_sum{modality="text"}'] == "3.0"
        assert values['jina_clip_request_seconds_count{route="/v1/embeddings"}'] == "4.0"
        assert values["jina_clip_inputs_in_hand"] == "0.0"
        assert values["jina_clip_inputs_waiting"] == "0.0"
        assert values["jina_clip_buffered_bytes"] == "0.0"
        assert values["jina_clip_ready"] == "1.0"

    def test_gauges_show_the_present(self, serve, backend, eventually) -> None:
        serving = serve(backend, max_batch=2)
        backend.held = True
        connection = send_request(serving.port, ask([f"text {n}" for n in range(9)]))
        eventually(lambda: serving.service.admission.inputs == 9)
        text = serving.metrics()
        assert "jina_clip_inputs_in_hand 9.0" in text
        assert "jina_clip_inputs_waiting 5.0" in text
        assert "jina_clip_requests_in_hand 1.0" in text
        backend.held = False
        assert b"200 OK" in connection.recv(100)
        connection.close()

    def test_two_apps_do_not_share_figures(self, serve, backend, counting_backend) -> None:
        one, other = serve(backend), serve(counting_backend)
        requests.post(f"{one.url}/v1/embeddings", json=ask("x"), timeout=10)
        assert 'route="/v1/embeddings"' in one.metrics()
        assert 'route="/v1/embeddings"' not in other.metrics()
