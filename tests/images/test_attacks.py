"""What a stranger may try with the name of an image, against the default policy and the agent's."""

from __future__ import annotations

import gzip
import io
import os
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import ImageError, JinaClipEncoder, SourcePolicy
from jina_clip_integrations.images import fetch as fetching
from jina_clip_integrations.images import sources as policies
from jina_clip_integrations.images.addresses import is_public
from jina_clip_integrations.images.fetch import fetch
from jina_clip_integrations.inputs import InputParser
from tests.faces import both_faces
from tests.fakes import BlockingBackend
from tests.images.test_addresses import INNER, PRIVATE, SPELLINGS

_buffer = io.BytesIO()
Image.fromarray(np.arange(5 * 4 * 3, dtype=np.uint8).reshape(4, 5, 3)).save(_buffer, "PNG")
PNG = _buffer.getvalue()

DEFAULT = SourcePolicy(max_retries=0)
AGENT = SourcePolicy.agent(schemes=("http", "https"), max_retries=0)
"""Over http too, so that what is refused is refused for its address."""

every_policy = pytest.mark.parametrize("policy", [DEFAULT, AGENT], ids=["default", "agent"])


class Wire:
    """A server of bare bytes: `answer` is called with the request's head and a function that sends."""

    def __init__(self, answer: Callable[[bytes, Callable[[bytes], None]], None]) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head and (received := connection.recv(65536)):
                head += received
            self.heads.append(head)
            with suppress(OSError):  # the client hung up, as it should
                self.answer(head, connection.sendall)

    def close(self) -> None:
        # Closing alone does not wake the thread that accepts.
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


@pytest.fixture
def wire() -> Iterator[Callable[..., Wire]]:
    running: list[Wire] = []

    def start(answer: Any) -> Wire:
        sent = answer if callable(answer) else lambda head, send: send(answer)
        running.append(Wire(sent))
        return running[-1]

    yield start
    for server in running:
        server.close()


def response(body: bytes = PNG, status: str = "200 OK", **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = {"content-type": "image/png", "content-length": str(len(body)), "connection": "close", **named}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Addresses by host name; nobody else is asked. This machine counts as public where a test says `public_here`."""
    table: dict[str, Any] = {}

    def resolve(host: str, port: int) -> list[str]:
        if host not in table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = table[host]
        return found() if callable(found) else list(found)

    monkeypatch.setattr(fetching, "resolve", resolve)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return table


@pytest.fixture
def public_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "is_public", lambda address: address == "127.0.0.1" or is_public(address))


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test in which nothing may be connected to."""

    def connect(*args: Any, **options: Any) -> Any:
        raise AssertionError(f"connected to {args}")

    monkeypatch.setattr(socket, "create_connection", connect)


def in_url(address: str) -> str:
    return f"[{address.replace('%', '%25')}]" if ":" in address else address


def refused(url: str, policy: SourcePolicy) -> str:
    with pytest.raises(ImageError) as caught:
        InputParser(sources=policy).image(url).open()
    return str(caught.value)


@every_policy
@pytest.mark.usefixtures("no_connection")
@pytest.mark.obligation("20")
class TestAddresses:
    @pytest.mark.parametrize("address", PRIVATE)
    def test_as_the_host(self, address: str, policy: SourcePolicy) -> None:
        refused(f"http://{in_url(address)}/latest/meta-data/", policy)

    @pytest.mark.parametrize("address", PRIVATE)
    def test_behind_a_name(self, address: str, policy: SourcePolicy, names: dict[str, Any]) -> None:
        names["images.test"] = ["93.184.216.34", address]
        assert "public addresses only" in refused("http://images.test/a.png", policy)

    @pytest.mark.parametrize("host", [host for host, address in SPELLINGS.items() if address not in (None, "1.1.1.1")])
    def test_in_every_spelling(self, host: str, policy: SourcePolicy) -> None:
        assert "public addresses only" in refused(f"http://{host}/a.png", policy)

    @pytest.mark.parametrize("host", INNER)
    def test_names_of_ones_own_network(self, host: str, policy: SourcePolicy) -> None:
        assert "public addresses only" in refused(f"http://{host}/a.png", policy)

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:80@169.254.169.254/a",
            "http://example.org@127.0.0.1/a",
            "http://example.org:80@127.0.0.1:80/a",
            "http://127.0.0.1\\@example.org/a",
            "http://example.org\\@127.0.0.1/a",
            "http://example.org\\.evil.test/a",
            "http://127.0.0.1#@example.org/a",
            "http://127.0.0.1?@example.org/a",
            "http:///127.0.0.1/a",
            "http://@127.0.0.1/a",
            "http://[::ffff:127.0.0.1]@127.0.0.1/a",
            "http://[127.0.0.1]/a",
            "http://127.0.0.1%00.example.org/a",
            "http://127.0.0.1%2eexample.org@[::1]/a",
            "http://127。0。0。1/a",
            "http://１２７.０.０.１/a",
            "http://①②⑦.⓪.⓪.①/a",
            "http://ｌｏｃａｌｈｏｓｔ/a",
            "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/a",
            "http://localhoſt/a",
            "http://lоcalhost/a",  # a Cyrillic o
            "http://xn--lcalhost-m3f/a",
            "http://exam\u00adple.internal/a",
            "http://\u202e0.0.721/a",
        ],
    )
    def test_hosts_that_are_read_in_two_ways(self, url: str, policy: SourcePolicy, names: dict[str, Any]) -> None:
        for name in ("localhost", "xn--lcalhost-m3f"):
            names[name] = ["127.0.0.1"]
        refused(url, policy)

    @pytest.mark.parametrize("character", ["\r\n", "\n", "\t", "\0", "\x7f", "\r"])
    @pytest.mark.parametrize(
        "url", ["http://example.org/a{}Host: 127.0.0.1", "http://exam{}ple.org/a", "ht{}tp://example.org/a?b{}c"]
    )
    def test_line_breaks(self, url: str, character: str, policy: SourcePolicy) -> None:
        refused(url.replace("{}", character), policy)

    @pytest.mark.parametrize("scheme", ["ftp", "gopher", "jar", "dict", "ldap", "smb", "ssh", "netdoc", "s3", "ws"])
    def test_other_schemes(self, scheme: str, policy: SourcePolicy) -> None:
        assert "is not fetched here" in refused(f"{scheme}://127.0.0.1/a.png", policy)

    @pytest.mark.parametrize("url", ["jar:http://127.0.0.1!/a.png", "javascript:alert(1)", "view-source:http://[::1]/"])
    def test_what_only_looks_like_a_url_is_a_path(self, url: str, policy: SourcePolicy) -> None:
        refused(url, policy)

    def test_very_long_urls(self, policy: SourcePolicy) -> None:
        for url in (
            f"http://example.org/{'a' * 20_000}",
            f"http://{'a.' * 10_000}org/",
            f"http://example.org/?{'%' * 10**6}",
        ):
            assert len(refused(url, policy)) < 400

    def test_labels_that_no_resolver_takes(self, policy: SourcePolicy, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()  # the system's own resolver, which refuses them without asking anybody
        for host in ("a" * 64 + ".example.org", "a..example.org", ".example.org"):
            refused(f"http://{host}/a.png", policy)


def test_the_refusal_names_the_way_out_to_the_caller_and_not_to_a_stranger(names: dict[str, Any]) -> None:
    names["images.test"] = ["10.0.0.1"]
    for url in ("http://127.0.0.1/a.png", "http://images.test/a.png"):
        assert "SourcePolicy.trusted()" in refused(url, DEFAULT)
        said = refused(url, AGENT)
        assert "trusted" not in said
        assert "10.0.0.1" not in said  # or names could be looked up by asking for images


@every_policy
@pytest.mark.usefixtures("public_here")
class TestRedirects:
    @pytest.mark.obligation("20")
    @pytest.mark.parametrize(
        "target",
        [
            "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
            "http://metadata.google.internal/computeMetadata/v1/",
            "http://100.100.100.200/latest/meta-data/",
            "http://168.63.129.16/machine?comp=goalstate",
            "http://192.0.0.192/opc/v1/instance/",
            "http://[fd00:ec2::254]/latest/meta-data/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://2852039166/",
            "http://inner.test/a.png",
            "//169.254.169.254/a",
            "\\\\169.254.169.254\\a",
            "http://localhost/a",
            "file:///etc/passwd",
            "FILE:///etc/passwd",
            "ftp://example.org/a.png",
            "gopher://127.0.0.1:6379/_INFO",
            "data:image/png;base64,AAAA",
            "jar:file:///etc/passwd!/",
            "http://user:pass@10.0.0.1/a.png",
            "http://[::1",
            "http://exa mple.org/",
            "http://" + "a" * 20_000,
            "",
        ],
    )
    def test_they_lead_to_nothing_that_the_policy_refuses(
        self, wire: Any, names: dict[str, Any], policy: SourcePolicy, target: str
    ) -> None:
        server = wire(response(b"", "302 Found", location=target))
        names.update({"images.test": ["127.0.0.1"], "inner.test": ["192.168.0.1"]})
        refused(f"http://images.test:{server.port}/a.png", policy)
        assert server.heads
        assert all(b"\r\nHost: images.test:" in head for head in server.heads)

    def test_endless_ones(self, wire: Any, names: dict[str, Any], policy: SourcePolicy) -> None:
        server = wire(response(b"", "301 Moved", location="/again"))
        names["images.test"] = ["127.0.0.1"]
        assert "more than 3 redirects" in refused(f"http://images.test:{server.port}/a.png", policy)
        assert len(server.heads) == 4

    def test_rebinding(self, wire: Any, names: dict[str, Any], policy: SourcePolicy) -> None:
        """A name that points elsewhere from the second look on: there is none."""
        server = wire(response())
        looks: list[str] = []

        def rebind() -> list[str]:
            looks.append("look")
            return ["127.0.0.1"] if len(looks) == 1 else ["10.0.0.1"]

        names["images.test"] = rebind
        assert fetch(f"http://images.test:{server.port}/a.png", policy=policy) == PNG
        assert len(looks) == 1
        assert b"\r\nHost: images.test:" in server.heads[0]

    def test_rebinding_between_hops(self, wire: Any, names: dict[str, Any], policy: SourcePolicy) -> None:
        server = wire(response(b"", "302 Found", location="/again"))
        answers = iter([["127.0.0.1"], ["10.0.0.1"]])
        names["images.test"] = lambda: next(answers)
        assert "public addresses only" in refused(f"http://images.test:{server.port}/a.png", policy)
        assert len(server.heads) == 1

    def test_cookies_are_not_kept(self, wire: Any, names: dict[str, Any], policy: SourcePolicy) -> None:
        """Two hosts at one address would share them."""

        def answer(head: bytes, send: Any) -> None:
            onward = f"http://other.test:{server.port}/b"
            redirect = response(b"", "302 Found", location=onward, set_cookie="session=secret")
            send(redirect if head.startswith(b"GET /a") else response())

        server = wire(answer)
        names.update({"images.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
        assert fetch(f"http://images.test:{server.port}/a", policy=policy) == PNG
        assert b"cookie" not in server.heads[-1].lower()


def compressed(data: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        data = gzip.compress(data)
    return data


BOMB = compressed(bytes(100_000_000))


@every_policy
@pytest.mark.usefixtures("public_here")
class TestAnswers:
    """Bounded in time and memory."""

    def fetch(self, server: Wire, names: dict[str, Any], policy: SourcePolicy, **changes: Any) -> bytes:
        names["images.test"] = ["127.0.0.1"]
        return fetch(f"http://images.test:{server.port}/a.png?token=secret", policy=replace(policy, **changes))

    @pytest.mark.parametrize("part", ["nothing", "status", "headers", "one long header", "body", "chunks", "length"])
    def test_slow_and_endless_ones_end_with_the_time(
        self, wire: Any, names: dict[str, Any], policy: SourcePolicy, part: str
    ) -> None:
        first, again = {
            "nothing": (b"", b""),
            "status": (b"HTTP/1.1 2", b"0"),
            "headers": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
            "one long header": (b"HTTP/1.1 200 OK\r\nx: ", b"y"),
            "body": (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", b"x"),
            "chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
            "length": (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", b"x"),
        }[part]
        done = threading.Event()

        def drip(head: bytes, send: Any) -> None:
            send(first)
            while not done.wait(0.02):
                send(again)

        server = wire(drip)
        try:
            with pytest.raises(ImageError, match=r"not fetched within 0\.4 s") as caught:
                self.fetch(server, names, policy, timeout=0.4)
        finally:
            done.set()
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000_000,
            b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1_000_000,
            b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000,
            b"\0" * 1_000_000,
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffffffff\r\n",
            b"HTTP/1.1 999 \xff\xfe\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.7\r\n",
        ],
        ids=range(9),
    )
    def test_heads_that_are_none(self, wire: Any, names: dict[str, Any], policy: SourcePolicy, head: bytes) -> None:
        tracemalloc.start()
        try:
            with pytest.raises(ImageError):
                self.fetch(wire(head), names, policy, timeout=5)
            assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(
        ("body", "encoding"),
        [
            (BOMB, "gzip"),
            (zlib.compress(bytes(100_000_000)), "deflate"),
            (compressed(BOMB), "gzip, gzip"),
            (compressed(BOMB, 2), "gzip, gzip, gzip"),
            (b"x" * 1000, "br"),
            (b"x" * 1000, "zstd"),
            (b"\x1f\x8b\x08 no gzip", "gzip"),
        ],
        ids=["gzip", "deflate", "twice", "thrice", "br", "zstd", "broken"],
    )
    def test_bombs(self, wire: Any, names: dict[str, Any], policy: SourcePolicy, body: bytes, encoding: str) -> None:
        server = wire(response(body, content_encoding=encoding))
        tracemalloc.start()
        try:
            with pytest.raises(ImageError, match=r"more than 1,000,000 bytes|compressed") as caught:
                self.fetch(server, names, policy, max_bytes=1_000_000)
            assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        finally:
            tracemalloc.stop()
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("encoding", ["identity", "gzip", "x-gzip", "deflate"])
    def test_what_is_packed_honestly_is_unpacked(
        self, wire: Any, names: dict[str, Any], policy: SourcePolicy, encoding: str
    ) -> None:
        packed = {"identity": PNG, "deflate": zlib.compress(PNG)}.get(encoding, compressed(PNG))
        assert self.fetch(wire(response(packed, content_encoding=encoding)), names, policy) == PNG


@every_policy
class TestDataUris:
    @pytest.mark.parametrize("form", ["base64", "percent", "whitespace"])
    def test_bombs(self, policy: SourcePolicy, form: str) -> None:
        size = 2_000_000
        payload = {
            "base64": ";base64," + "A" * size,
            "percent": "," + "%41" * size,
            "whitespace": ";base64," + " " * size,
        }
        assert "max_bytes" in refused("data:image/png" + payload[form], replace(policy, max_bytes=1_000_000))

    @pytest.mark.parametrize(
        "uri",
        [
            "data:",
            "data:,",
            "data:image/png",
            "data:image/png;base64",
            "data:image/png;base64,",
            "data:image/png;base64,====",
            "data:image/png;base64,A",
            "data:image/svg+xml,<svg onload='alert(1)'/>",
            "data:text/html,<script>",
            "data:image/png;base64;base64,AAAA",
            "data://127.0.0.1/a.png",
            "data:" + ";" * 100_000 + ",",
            "data:image/png;base64,\r\n\r\n",
            "DATA:image/png;BASE64,AAAA",
            "data:image/png;base64,%zz",
            "data:image/png;base64,\udcff",
        ],
    )
    def test_broken_ones(self, policy: SourcePolicy, uri: str) -> None:
        assert len(refused(uri, policy)) < 300


class TestFiles:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        (tmp_path / "outside.png").write_bytes(PNG)
        (tmp_path / "root").mkdir()
        (tmp_path / "root" / "a.png").write_bytes(PNG)
        return tmp_path / "root"

    @pytest.mark.obligation("20")
    def test_ways_out_of_a_root(self, root: Path, tmp_path: Path) -> None:
        (root / "link.png").symlink_to(tmp_path / "outside.png")
        (root / "chain.png").symlink_to(root / "link.png")
        (root / "up").symlink_to("..")
        (root / "loop").symlink_to(root / "loop")
        (root / "relative.png").symlink_to("../outside.png")
        os.mkfifo(root / "pipe")
        names = [
            "../outside.png",
            "./../outside.png",
            "x/../../outside.png",
            "link.png",
            "chain.png",
            "relative.png",
            "up/outside.png",
            "up/root/../outside.png",
            "loop",
            "pipe",
            "a.png/../../outside.png",
            "..\\outside.png",
            "a.png\0",
            "%2e%2e/outside.png",
        ]
        policy = SourcePolicy.agent(root)
        for name in names:
            refused(f"{root}/{name}", policy)
            refused(f"file://{root}/{name}".replace("\0", "%00"), policy)
        for name in ("/etc/passwd", "/dev/zero", "/proc/self/environ", f"{root}2/a.png", "~root/a.png", str(tmp_path)):
            refused(name, policy)
        assert InputParser(sources=policy).image(root / "a.png").size() == (5, 4)

    def test_hard_links_across_roots(self, root: Path, tmp_path: Path) -> None:
        os.link(tmp_path / "outside.png", root / "hard.png")
        assert "hard link" in refused(str(root / "hard.png"), SourcePolicy.agent(root))
        assert InputParser(sources=SourcePolicy.agent(root, hard_links=True)).image(root / "hard.png").size() == (5, 4)
        assert InputParser().image(tmp_path / "outside.png").size() == (5, 4)  # where there are no roots to leave

    @pytest.mark.parametrize("policy", [DEFAULT, SourcePolicy.agent()], ids=["default", "agent"])
    @pytest.mark.parametrize("url", ["file://attacker.test/share/a.png", "file://10.0.0.1/a.png", "file://[::1]/a.png"])
    def test_files_of_other_hosts(self, policy: SourcePolicy, url: str) -> None:
        assert "another host" in refused(url, policy)

    @pytest.mark.parametrize("make", [SourcePolicy, lambda: SourcePolicy.agent("images")], ids=["default", "agent"])
    @pytest.mark.parametrize(
        "path",
        [
            "\\\\attacker.test\\share\\a.png",
            "//attacker.test/share/a.png",
            "\\\\?\\UNC\\attacker.test\\share\\a.png",
            "\\\\.\\PhysicalDrive0",
            "\\/attacker.test/share/a.png",
            "file://///attacker.test/share/a.png",
        ],
    )
    def test_network_shares_on_windows(self, make: Any, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Opening one shows the user's login to its host, so it is refused before anything looks at it."""
        policy = make()
        monkeypatch.setattr(policies, "_WINDOWS", True)
        monkeypatch.setattr(Path, "resolve", lambda path: pytest.fail("looked at"))
        said = refused(path, policy)
        assert "no network shares" in said
        assert ("trusted()" in said) is not policy.direct_only

    def test_strangers_get_no_file_at_all(self, root: Path) -> None:
        for name in (root / "a.png", str(root / "a.png"), f"file://{root}/a.png", "/etc/passwd", "."):
            assert "does not allow files" in refused(name, SourcePolicy.agent())


@both_faces
@pytest.mark.usefixtures("no_connection")
class TestEncoder:
    def test_the_default_refuses_private_addresses_and_keeps_files(self, face: Any, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(PNG)
        encoder = JinaClipEncoder(backend=BlockingBackend())
        assert encoder.sources == SourcePolicy()
        rows = face(encoder).encode_image(
            [tmp_path / "a.png", "http://127.0.0.1/a.png", "http://169.254.169.254/", PNG], on_error="skip"
        )
        assert np.isnan(rows).any(axis=1).tolist() == [False, True, True, False]
        assert all("SourcePolicy.trusted()" in str(error) for error in encoder.last_errors.values())
