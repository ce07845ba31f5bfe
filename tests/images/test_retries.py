"""Hosts that are overloaded or fail for a while, and what a request to a host carries."""

from __future__ import annotations

import copy
import email.utils
import io
import pickle
import socket
import struct
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import ConfigurationError, ImageError, JinaClipEncoder, SourcePolicy
from jina_clip_integrations.images import fetch as fetching
from jina_clip_integrations.images.fetch import fetch
from tests.faces import both_faces
from tests.fakes import BlockingBackend, content_vector, unit
from tests.images.test_fetch import Handler, Server

SECRET = "hunter2"
TRUSTED = SourcePolicy.trusted()


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(seed)).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8)


class Moody(Handler):
    """Fails as often as the path has failures left: `/image/7`, with `server.failures["/image/7"] = [503, "reset"]`."""

    def do_GET(self) -> None:  # noqa: N802  # http.server calls it so
        with self.server.lock:
            self.server.seen.append((self.path, dict(self.headers)))
            waiting = self.server.failures.get(self.path, [])
            failure = waiting.pop(0) if waiting else None
        if failure is None:
            self.answer(body=png(int(self.path.rpartition("/")[2] or 0)), **self.server.labels)
        elif failure == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        elif failure == "cut":
            self.answer(body=b"abc", content_length="1000")
            self.close_connection = True
        elif failure == "hang":
            self.server.over.wait(5)
            self.close_connection = True
        elif isinstance(failure, tuple):
            self.answer(failure[0], b"", **failure[1])
        else:
            self.answer(failure, b"")


class MoodyServer(Server):
    handler = Moody

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = Moody
        self.failures: dict[str, list[Any]] = {}
        self.labels: dict[str, str] = {}
        self.lock = threading.Lock()
        self.over = threading.Event()

    def __exit__(self, *raised: object) -> None:
        self.over.set()
        self.shutdown()
        super().__exit__(*raised)


@pytest.fixture
def server() -> Iterator[MoodyServer]:
    with MoodyServer() as running:
        yield running


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which nobody waits for."""
    waited: list[float] = []
    monkeypatch.setattr(fetching, "sleep", waited.append)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return waited


class TestAttempts:
    @pytest.mark.parametrize("failure", [408, 425, 429, 500, 502, 503, 504, "reset", "cut"])
    def test_what_may_pass_is_tried_again(self, server: MoodyServer, waits: list[float], failure: Any) -> None:
        server.failures["/image/1"] = [failure, failure]
        assert fetch(f"{server.url}/image/1", policy=TRUSTED) == png(1)
        assert len(server.seen) == 3
        assert len(waits) == 2
        assert 0 < waits[0] < waits[1]

    def test_a_host_that_hangs(self, server: MoodyServer, waits: list[float]) -> None:
        server.failures["/image/1"] = ["hang"]
        assert fetch(f"{server.url}/image/1", policy=replace(TRUSTED, timeout=1.0)) == png(1)
        assert len(server.seen) == 2

    @pytest.mark.parametrize("failure", [400, 401, 403, 404, 405, 410, 418, 451, 501])
    def test_what_stays_so_is_not(self, server: MoodyServer, waits: list[float], failure: int) -> None:
        server.failures["/image/1"] = [failure]
        with pytest.raises(ImageError, match=f"answered {failure}"):
            fetch(f"{server.url}/image/1", policy=TRUSTED)
        assert (len(server.seen), waits) == (1, [])

    @pytest.mark.parametrize("retries", [0, 1, 4])
    def test_the_policy_says_how_often(self, server: MoodyServer, waits: list[float], retries: int) -> None:
        server.failures["/image/1"] = [503] * 9
        with pytest.raises(ImageError, match="answered 503") as caught:
            fetch(f"{server.url}/image/1", policy=replace(TRUSTED, max_retries=retries))
        assert len(server.seen) == retries + 1
        assert (f"given up after {retries + 1} attempts" in str(caught.value)) is (retries > 0)

    def test_nobody_listens(self, waits: list[float]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        with pytest.raises(ImageError, match="given up after 3 attempts"):
            fetch(f"http://127.0.0.1:{port}/a.png", policy=TRUSTED)
        assert len(waits) == 2

    @pytest.mark.parametrize(("code", "attempts"), [(socket.EAI_AGAIN, 3), (socket.EAI_NONAME, 1)])
    @pytest.mark.parametrize("policy", [TRUSTED, SourcePolicy()], ids=["trusted", "default"])
    def test_names_that_are_not_found(
        self, policy: SourcePolicy, code: int, attempts: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def look_up(host: Any, *args: Any, **options: Any) -> Any:
            asked.append(str(host))
            raise socket.gaierror(code, "no")

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        with pytest.raises(ImageError, match="cannot be fetched"):
            fetch("http://images.test/a.png", policy=policy)
        assert len(asked) == attempts

    def test_a_later_attempt_starts_from_the_url_that_was_given(self, server: MoodyServer) -> None:
        server.failures["/a/0"] = [(302, {"location": "/b/0"}), (302, {"location": "/image/1"})]
        server.failures["/b/0"] = [503]
        assert fetch(f"{server.url}/a/0", policy=TRUSTED) == png(1)
        assert [path for path, _ in server.seen] == ["/a/0", "/b/0", "/a/0", "/image/1"]


class TestRetryAfter:
    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize(("header", "value", "least"), [("retry-after", "7", 7), ("retry-after-ms", "2500", 2.5)])
    def test_is_honoured(
        self, server: MoodyServer, waits: list[float], status: int, header: str, value: str, least: float
    ) -> None:
        server.failures["/image/1"] = [(status, {header: value})]
        assert fetch(f"{server.url}/image/1", policy=TRUSTED) == png(1)
        assert least <= waits[0] <= least + 0.25

    def test_as_a_date(self, server: MoodyServer, waits: list[float]) -> None:
        now = time.time()
        dates = {"retry-after": email.utils.formatdate(now + 12), "date": email.utils.formatdate(now)}
        server.failures["/image/1"] = [(429, dates)]
        assert fetch(f"{server.url}/image/1", policy=TRUSTED) == png(1)
        assert 11 <= waits[0] <= 12.25

    def test_longer_than_the_policy_allows(self, server: MoodyServer, waits: list[float]) -> None:
        server.failures["/image/1"] = [(429, {"retry-after": "3600"})]
        with pytest.raises(ImageError, match=r"answered 429.*asks to wait 3600 s, longer than timeout=30"):
            fetch(f"{server.url}/image/1", policy=TRUSTED)
        assert (len(server.seen), waits) == (1, [])

    @pytest.mark.parametrize("value", ["soon", "-5", "nan", "inf", "1e400", "", "\xff"])
    def test_nonsense(self, server: MoodyServer, waits: list[float], value: str) -> None:
        server.failures["/image/1"] = [(429, {"retry-after": value})]
        assert fetch(f"{server.url}/image/1", policy=TRUSTED) == png(1)
        assert 2 <= waits[0] <= 2.5


@both_faces
class TestJobs:
    """A hundred URLs, some of which fail for a while, or for good."""

    def ask(self, face: Any, server: MoodyServer, **how: Any) -> tuple[Any, JinaClipEncoder]:
        encoder = JinaClipEncoder(backend=BlockingBackend(), sources=TRUSTED)
        return face(encoder).encode_image([f"{server.url}/image/{at}" for at in range(100)], **how), encoder

    expected = unit(np.stack([content_vector(b"image/5/4/" + pixels(at).tobytes()) for at in range(100)]))

    def test_passing_failures_cost_nothing(self, face: Any, server: MoodyServer) -> None:
        for at, failure in {3: 429, 50: 503, 51: "reset", 99: (429, {"retry-after": "3"}), 70: "cut"}.items():
            server.failures[f"/image/{at}"] = [failure]
        rows, encoder = self.ask(face, server)
        np.testing.assert_allclose(rows, self.expected, atol=1e-6)
        assert encoder.last_errors == {}
        assert len(server.seen) == 105

    def test_a_lasting_one_keeps_the_others(self, face: Any, server: MoodyServer) -> None:
        server.failures = {"/image/40": [503] * 9, "/image/60": [404]}
        with pytest.raises(ImageError, match="given up after 3 attempts") as caught:
            self.ask(face, server)
        assert caught.value.index == 40
        finished = ~np.isnan(caught.value.partial).any(axis=1)
        assert np.flatnonzero(~finished).tolist() == [40, 60]
        np.testing.assert_allclose(caught.value.partial[finished], self.expected[finished], atol=1e-6)

    def test_skipping(self, face: Any, server: MoodyServer) -> None:
        server.failures = {"/image/40": [503] * 9, "/image/60": [404]}
        rows, encoder = self.ask(face, server, on_error="skip")
        assert sorted(encoder.last_errors) == [40, 60]
        assert np.flatnonzero(np.isnan(rows).any(axis=1)).tolist() == [40, 60]


class TestLabels:
    @pytest.mark.parametrize(
        "label",
        ["text/plain", "application/json", "text/html; charset=utf-8", "application/pdf", "x", "", "image/jpeg"],
    )
    def test_a_right_image_under_a_wrong_label(self, server: MoodyServer, label: str) -> None:
        server.labels = {"content_type": label}
        encoder = JinaClipEncoder(backend=BlockingBackend(), sources=TRUSTED)
        expected = unit(content_vector(b"image/5/4/" + pixels(7).tobytes()))
        np.testing.assert_allclose(encoder.encode_image(f"{server.url}/image/7"), expected, atol=1e-6)


class TestHeaders:
    @pytest.fixture
    def other(self) -> Iterator[MoodyServer]:
        with MoodyServer() as running:
            yield running

    def policy(self, server: MoodyServer, **changes: Any) -> SourcePolicy:
        headers = {server.url: {"Authorization": f"Bearer {SECRET}", "X-Tenant": "seven"}}
        return SourcePolicy.trusted(headers=headers, **changes)

    def test_they_go_to_their_host(self, server: MoodyServer) -> None:
        assert fetch(f"{server.url}/image/1", policy=self.policy(server)) == png(1)
        assert server.seen[0][1]["Authorization"] == f"Bearer {SECRET}"
        assert server.seen[0][1]["X-Tenant"] == "seven"

    @pytest.mark.obligation("20")
    def test_and_to_no_other_by_a_redirect(self, server: MoodyServer, other: MoodyServer) -> None:
        server.failures["/a/0"] = [(302, {"location": f"{other.url}/b/0"})]
        other.failures["/b/0"] = [(302, {"location": f"{server.url}/image/1"})]
        assert fetch(f"{server.url}/a/0", policy=self.policy(server)) == png(1)
        assert not {"Authorization", "X-Tenant", "Cookie", "Referer"} & other.seen[0][1].keys()
        assert all("Authorization" in headers for _, headers in server.seen)

    def test_attempts_carry_them_too(self, server: MoodyServer) -> None:
        server.failures["/image/1"] = [503]
        assert fetch(f"{server.url}/image/1", policy=self.policy(server)) == png(1)
        assert all("Authorization" in headers for _, headers in server.seen)

    @pytest.mark.parametrize(
        ("host", "sent", "not_sent"),
        [
            (
                "images.test",
                [
                    "https://images.test/a",
                    "https://IMAGES.test:443/a",
                    "https://images.test./a",
                    "https://u:p@images.test/",
                ],
                [
                    "http://images.test/a",
                    "https://images.test:8443/a",
                    "https://a.images.test/a",
                    "https://images.test.evil.test/a",
                    "https://images.test@evil.test/a",
                    "https://evil.test/images.test",
                    "https://imаges.test/a",  # a Cyrillic a
                ],
            ),
            ("images.test:8443", ["https://images.test:8443/a"], ["https://images.test/a"]),
            ("http://nas.lan:8080", ["http://nas.lan:8080/a"], ["https://nas.lan:8080/a", "http://nas.lan/a"]),
            ("bücher.test", ["https://xn--bcher-kva.test/a", "https://BÜCHER.test/a"], ["https://bucher.test/a"]),
            ("[::1]:8443", ["https://[::1]:8443/", "https://[0:0:0:0:0:0:0:1]:8443/"], ["https://[::2]:8443/"]),
        ],
    )
    def test_what_a_host_means(self, host: str, sent: list[str], not_sent: list[str]) -> None:
        policy = SourcePolicy(headers={host: {"Authorization": SECRET}})
        assert [bool(policy.request_headers(url)) for url in sent] == [True] * len(sent)
        assert [bool(policy.request_headers(url)) for url in not_sent] == [False] * len(not_sent)

    def test_they_do_not_show(self, server: MoodyServer) -> None:
        policy = self.policy(server)
        server.failures["/image/1"] = [403] * 3
        with pytest.raises(ImageError, match="SourcePolicy can have headers") as caught:
            fetch(f"{server.url}/image/1", policy=policy)
        shown = [repr(policy), str(policy), repr(policy.headers), pickle.dumps(policy).decode("latin-1")]
        shown += [
            "".join(traceback.format_exception(caught.value)),
            repr(JinaClipEncoder(backend=BlockingBackend(), sources=policy)),
        ]
        assert not any(SECRET in text for text in shown)

    def test_copies_keep_them_and_pickles_say_that_they_are_gone(self, server: MoodyServer) -> None:
        policy = self.policy(server)
        for same in (copy.copy(policy), copy.deepcopy(policy), replace(policy, max_retries=1)):
            assert same.request_headers(server.url) == policy.request_headers(server.url)
        elsewhere = pickle.loads(pickle.dumps(policy))
        with pytest.raises(ImageError, match="Authorization is not pickled"):
            fetch(f"{server.url}/image/1", policy=elsewhere)
        assert server.seen == []
        assert elsewhere.request_headers("https://images.test/") == {}
        assert hash(policy) == hash(self.policy(server))

    @pytest.mark.parametrize(
        "headers",
        [
            {"Authorization": SECRET},
            [("images.test", {})],
            "images.test",
            {"images.test": {"a b": SECRET}},
            {"images.test": {"": SECRET}},
            {"images.test": {"X\r\nY": SECRET}},
            {"images.test": {"X": f"{SECRET}\r\nHost: evil.test"}},
            {"images.test": {"X": f"{SECRET}\0"}},
            {"images.test": {"X": f"ü{SECRET}"}},
            {"images.test": {"X": 7}},
            {"images.test": {"Host": SECRET}},
            {"images.test/path": {"X": SECRET}},
            {"": {"X": SECRET}},
            {"ftp://images.test": {"X": SECRET}},
            {"https://": {"X": SECRET}},
            {"images.test:port": {"X": SECRET}},
            {7: {"X": SECRET}},
        ],
    )
    def test_what_cannot_be_sent(self, headers: Any) -> None:
        with pytest.raises(ConfigurationError) as caught:
            SourcePolicy(headers=headers)
        assert SECRET not in str(caught.value)


class TestUserAgent:
    def test_the_usual_one_has_a_contact(self, server: MoodyServer) -> None:
        fetch(f"{server.url}/image/1", policy=TRUSTED)
        agent = server.seen[0][1]["User-Agent"]
        assert agent.startswith("jina-clip-integrations/")
        assert "(+https://" in agent

    def test_ones_own(self, server: MoodyServer) -> None:
        mine = "gallery/1.0 (https://example.org; me@example.org)"
        fetch(f"{server.url}/image/1", policy=SourcePolicy.trusted(user_agent=mine))
        assert server.seen[0][1]["User-Agent"] == mine

    @pytest.mark.parametrize("value", ["a\r\nX: y", "ü", 7, "\0"])
    def test_what_cannot_be_sent(self, value: Any) -> None:
        with pytest.raises(ConfigurationError, match="User-Agent"):
            SourcePolicy(user_agent=value)


def test_how_an_image_is_fetched_is_not_part_of_its_key(server: MoodyServer, tmp_path: Any) -> None:
    policies = [TRUSTED, SourcePolicy.trusted(user_agent="me/1", max_retries=0, headers={server.url: {"X": "y"}})]
    backend = BlockingBackend()
    for policy in policies:
        with JinaClipEncoder(backend=backend, sources=policy, cache=tmp_path / "cache") as encoder:
            encoder.encode_image([f"{server.url}/image/1"])
    assert len(backend.embedded) == 1
