"""Replicas behind Ray's proxy: what clients get, a killed replica, the drained end, and a config file."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import yaml

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.cli import serve_on_ray
from tests.ray.conftest import RAY_ENVIRONMENT, RayCluster
from tests.ray.stand_in import Backend, row

BACKEND = "tests.ray.stand_in:Backend"
HEADERS = {"Authorization": f"Bearer {RAY_ENVIRONMENT['TEAM_KEY']}"}
START_S = 120
"""Ray's processes on a machine that does other things too."""


@dataclass
class Program:
    """A program that serves."""

    process: subprocess.Popen[str]
    said: str
    """Its output so far; the last line is the one that was waited for."""

    def stop(self, number: signal.Signals) -> str:
        """Send a signal and wait for the end; what was said until then."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=START_S)
        return self.said + out


@contextmanager
def program(environment: dict[str, str], *words: str, until: str) -> Iterator[Program]:
    """A program that has said `until`; killed at the end if need be."""
    command = [sys.executable, "-u", "-m", *words]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        give_up = threading.Timer(START_S, process.kill)
        give_up.start()
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if until in line:
                    break
            give_up.cancel()
            assert until in said, said
            yield Program(process, said)
        finally:
            give_up.cancel()
            process.kill()


def ask(url: str, *texts: str) -> requests.Response:
    body = {"model": "jina-clip-v2", "input": [{"text": text} for text in texts], "normalized": False}
    return requests.post(f"{url}/embeddings", json=body, headers=HEADERS, timeout=START_S)


def rows(answer: requests.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return np.array([each["embedding"] for each in answer.json()["data"]], np.float32)


def serving(cluster: RayCluster, *options: str, until: str = "serving ") -> Any:
    words = ["serve", "--ray", "--address", cluster.address, "--replica-cpus", "0.2", "--port", "0", *options]
    return program(cluster.environment, "jina_clip_integrations.cli", *words, until=until)


def test_replicas_behind_one_address(ray_cluster: RayCluster) -> None:
    """One service for all that can be asked of it: the start of replicas is what takes the time."""
    with serving(ray_cluster, "--backend", BACKEND, "--replicas", "2", "--api-key-env", "TEAM_KEY") as service:
        url = re.search(r"at (http://127\.0\.0\.1:\d+/v1) ", service.said)[1]
        check_probes(url)
        check_rows_and_order(url)
        check_a_second_service_is_refused(ray_cluster)
        check_a_killed_replica(url)
        said = check_drain(url, service)
    assert service.process.returncode == 0, said
    assert RAY_ENVIRONMENT["TEAM_KEY"] not in said
    assert "Traceback" not in said
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url[:-3]}/live", timeout=5)


def check_probes(url: str) -> None:
    for path, status in (("/live", 200), ("/health", 200), ("/ready", 200), ("/metrics", 200), ("/v1/models", 401)):
        assert requests.get(f"{url[:-3]}{path}", timeout=START_S).status_code == status, path
    wrong = {"Authorization": "Bearer another"}
    for headers in ({}, wrong):
        assert requests.post(f"{url}/embeddings", json={}, headers=headers, timeout=START_S).status_code == 401


def check_rows_and_order(url: str) -> None:
    requested = [[f"text {n} of request {request}" for n in range(1 + request)] for request in range(24)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda texts: rows(ask(url, *texts)), requested))
    with JinaClipEncoder(backend=Backend(), normalize=False) as local:
        for texts, answer in zip(requested, answers, strict=True):
            np.testing.assert_array_equal(answer, local.encode_text(texts))


def check_a_second_service_is_refused(cluster: RayCluster) -> None:
    with serving(cluster, "--backend", BACKEND, until="Ray Serve runs already in this cluster") as second:
        assert "(applications: jina-clip)" in second.said
        assert second.process.wait(START_S) == 2


def pids(url: str) -> set[int]:
    """Processes of the replicas that answer."""
    with ThreadPoolExecutor(8) as pool:
        return {int(rows(answer)[0, 0]) for answer in pool.map(lambda _: ask(url, "pid"), range(40))}


def check_a_killed_replica(url: str) -> None:
    before = pids(url)
    assert len(before) == 2
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    give_up_at = time.monotonic() + START_S
    while len(alive := pids(url) - {victim}) < 2:  # asks all the while: no request may fail
        assert time.monotonic() < give_up_at, "no replica in the place of the one that was killed"
        time.sleep(0.2)
    assert alive > before - {victim}


def check_drain(url: str, service: Program) -> str:
    """Requests that a replica works on are answered, though the service is told to end."""
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(ask, url, f"slow text {n}") for n in range(4)]
        time.sleep(0.7)
        assert not any(each.done() for each in slow)
        said = service.stop(signal.SIGTERM)
        for n, each in enumerate(slow):
            np.testing.assert_array_equal(rows(each.result())[0], row(f"slow text {n}"))
    return said


def test_no_replica_no_service(ray_cluster: RayCluster) -> None:
    with serving(ray_cluster, "--backend", "tests.ray.stand_in:Missing", until="no replica could be started") as tried:
        assert tried.process.wait(START_S) == 1
    assert "Missing" in tried.said.splitlines()[-1]


def test_a_config_file_for_a_cluster(ray_cluster: RayCluster, tmp_path: Path) -> None:
    port = serve_on_ray.free_port("127.0.0.1")
    args = {"backend": BACKEND, "num_cpus": 0.2, "api_key_env": "TEAM_KEY", "server": {"max_items": 3}}
    application = {"name": "jina-clip", "route_prefix": "/", "args": args}
    application["import_path"] = "jina_clip_integrations.ray.serving:build"
    config = {"http_options": {"host": "127.0.0.1", "port": port}, "applications": [application]}
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(config))
    words = ["ray.serve.scripts", "run", "--address", ray_cluster.address, str(path)]
    url = f"http://127.0.0.1:{port}/v1"
    with program(ray_cluster.environment, *words, until="Submitted deploy config") as service:
        wait_until_ready(url)
        np.testing.assert_array_equal(rows(ask(url, "a", "b")), [row("a"), row("b")])
        refused = ask(url, "a", "b", "c", "d")
        service.stop(signal.SIGINT)
    assert refused.status_code == 422
    assert "at most 3 items" in refused.text


def wait_until_ready(url: str) -> None:
    """Until the proxy has heard of the application."""
    give_up_at = time.monotonic() + START_S
    while True:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{url[:-3]}/ready", timeout=START_S).status_code == 200:
                return
        assert time.monotonic() < give_up_at
        time.sleep(0.2)
