"""Proxies and certificates of the environment: honoured, or refused by name, for the service and for images alike."""

from __future__ import annotations

import datetime
import io
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from PIL import Image

from jina_clip_integrations import (
    ApiBackend,
    ApiConnectionError,
    ConfigurationError,
    ImageError,
    JinaClipEncoder,
    SourcePolicy,
    network,
)
from jina_clip_integrations.backends.local.checkpoint_files import find_checkpoint
from jina_clip_integrations.images import fetch as fetching
from jina_clip_integrations.images.fetch import fetch
from jina_clip_integrations.network import proxy_for, tls_context
from jina_clip_integrations.settings import LocalSettings
from tests.backends.remote.faces import FAST
from tests.command_line import run as run
from tests.faces import both_faces
from tests.fakes import BlockingBackend
from tests.faulty_server import KEY, FaultyServer, vector_of
from tests.proxying import Proxy, SocksProxy

_buffer = io.BytesIO()
Image.fromarray(np.arange(5 * 4 * 3, dtype=np.uint8).reshape(4, 5, 3)).save(_buffer, "PNG")
PNG = _buffer.getvalue()

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, *CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_variables(**variables: Any) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    return set_variables


# Proxies: what is read


def used(url: str) -> str | None:
    proxy = proxy_for(url)
    return None if proxy is None else f"{proxy.url.scheme}://{proxy.url.host}:{proxy.url.port}"


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, "https://a.test/", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://a.test/", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://a.test/", None),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "socks4://q:2"}, "https://a.test/", "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "http://a.test/", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:2"}, "https://a.test/", "http://q:2"),
        ({"HTTPS_PROXY": "p:3128"}, "https://a.test/", "http://p:3128"),
        ({"HTTPS_PROXY": " http://p:1 "}, "https://a.test/", "http://p:1"),
        ({"HTTPS_PROXY": "http://[::1]:3128"}, "https://a.test/", "http://::1:3128"),
        ({"HTTPS_PROXY": ""}, "https://a.test/", None),
        ({"ALL_PROXY": "socks5://p:1"}, "https://a.test/", "socks5://p:1"),
        # What cannot be used does no harm where it is not needed.
        ({"ALL_PROXY": "socks4://p:1", "HTTPS_PROXY": "http://q:2"}, "https://a.test/", "http://q:2"),
        ({"HTTP_PROXY": "socks4://p:1"}, "https://a.test/", None),
        ({"ALL_PROXY": "socks4://p:1", "NO_PROXY": "a.test"}, "https://a.test/", None),
        ({"ALL_PROXY": "socks4://p:1", "NO_PROXY": "*"}, "https://a.test/", None),
        ({"NO_PROXY": "10.0.0.0/99"}, "https://10.0.0.1/", None),
    ],
)
def test_the_proxy_of_a_url(
    variables: dict[str, str], url: str, expected: str | None, environment: Callable[..., None]
) -> None:
    environment(**variables)
    assert used(url) == expected


@pytest.mark.parametrize(
    ("no_proxy", "direct", "proxied"),
    [
        ("example.org", ["example.org", "a.example.org", "EXAMPLE.org."], ["notexample.org", "example.com"]),
        (".example.org", ["example.org", "a.b.example.org"], ["notexample.org"]),
        ("*.example.org", ["a.example.org"], ["notexample.org"]),
        ("a.test, b.test c.test", ["a.test", "b.test", "c.test"], ["d.test"]),
        ("localhost,127.0.0.1,::1", ["localhost", "127.0.0.1", "[::1]"], ["[::2]", "127.0.0.2"]),
        ("[::1]", ["[::1]", "[0:0:0:0:0:0:0:1]"], ["[::2]"]),
        ("fd00::/8", ["[fd12:3456::1]"], ["[2606:4700::1]", "10.0.0.1", "a.test"]),
        ("[fd00::]/8", ["[fd12:3456::1]"], ["[2606:4700::1]"]),
        ("10.0.0.0/8", ["10.1.2.3"], ["11.0.0.1", "a10.test", "[::ffff:a00:1]"]),
        ("192.168.1.7/16", ["192.168.200.1"], ["192.169.0.1"]),
        ("192.168.*", ["192.168.3.4"], ["192.169.0.1"]),
        ("a.test:8080", ["a.test:8080"], ["a.test:8081", "a.test"]),
        ("a.test:443", ["a.test"], ["a.test:444"]),
        ("[::1]:8080", ["[::1]:8080"], ["[::1]:8081"]),
        ("https://a.test", ["a.test"], ["b.test"]),
        ("http://a.test", [], ["a.test"]),
        ("all://a.test", ["a.test"], []),
        (", ,;,", [], ["a.test"]),
        ("bücher.test", [], ["a.test"]),
    ],
)
def test_members_of_no_proxy(
    no_proxy: str, direct: list[str], proxied: list[str], environment: Callable[..., None]
) -> None:
    environment(HTTPS_PROXY="http://p:1", NO_PROXY=no_proxy)
    assert [used(f"https://{host}/a") for host in direct] == [None] * len(direct)
    assert [used(f"https://{host}/a") for host in proxied] == ["http://p:1"] * len(proxied)


UNUSABLE = {
    "socks4": f"socks4://user:{SECRET}@127.0.0.1:1",
    "socks4a": f"socks4a://{SECRET}@127.0.0.1:1",
    "socks": "socks://127.0.0.1:1080/",
    "ftp": f"ftp://{SECRET}:21",
    "garbage": f"http://user:{SECRET}@:port",
    "port": f"http://127.0.0.1:{SECRET}",
    "big port": "http://127.0.0.1:99999999",
    "nothing": "://",
    "no host": "http://",
    "spaces": f"http://a b {SECRET}",
    "bracket": f"http://[{SECRET}",
    "control": f"http://\x01{SECRET}",
    "scheme with a secret": f"{SECRET}{SECRET}{SECRET}://127.0.0.1",
}


@pytest.mark.parametrize("case", UNUSABLE)
@pytest.mark.parametrize("variable", ["ALL_PROXY", "HTTPS_PROXY", "https_proxy"])
def test_a_proxy_that_cannot_be_used_is_refused_by_its_variable(
    variable: str, case: str, environment: Callable[..., None]
) -> None:
    environment(**{variable: UNUSABLE[case]})
    with pytest.raises(ConfigurationError) as caught:
        proxy_for("https://api.jina.ai/v1/embeddings")
    said = "".join(traceback.format_exception(caught.value))
    assert variable in str(caught.value)
    assert "httpx[socks]" in said
    assert "http_client=" in said
    assert SECRET not in str(caught.value)


def test_socks_without_its_package(environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    environment(ALL_PROXY=f"socks5://user:{SECRET}@127.0.0.1:1")
    monkeypatch.setattr(network.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigurationError, match=r'ALL_PROXY names a SOCKS proxy.*pip install "httpx\[socks\]"'
    ) as caught:
        proxy_for("https://a.test/")
    assert SECRET not in str(caught.value)


def test_a_network_that_is_none(environment: Callable[..., None]) -> None:
    environment(HTTPS_PROXY="http://p:1", NO_PROXY="a.test,10.0.0.0/99")
    assert used("https://a.test/") is None
    with pytest.raises(ConfigurationError, match=r"NO_PROXY.*'10\.0\.0\.0/99'"):
        used("https://10.0.0.1/")


# Servers


class Certificates:
    """An authority of this test run, certificates that it issued, and folders of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.file = folder / "authority.pem"
        self.authority.cert_pem.write_to_path(self.file)

    def context(self, *names: str, **options: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(
            *(names or ("127.0.0.1", "localhost", "images.test", "10.0.0.1")), **options
        ).configure_cert(context)
        return context

    def hashed(self) -> Path:
        folder = self.folder / "hashed"
        folder.mkdir()
        found = subprocess.run(
            ["openssl", "x509", "-in", self.file, "-noout", "-subject_hash"], capture_output=True, text=True, check=True
        )
        shutil.copy(self.file, folder / f"{found.stdout.strip()}.0")
        return folder


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


class Images(ThreadingHTTPServer):
    """An image at every address, over http or https."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.hosts.append(self.headers["Host"])
                self.send_response(200)
                self.send_header("content-type", "image/png")
                self.end_headers()
                self.wfile.write(PNG)

            def log_message(self, *args: Any) -> None:
                pass

        owner = self
        self.hosts: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.scheme = "https" if tls is not None else "http"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.server_port}/a.png"

    def handle_error(self, *args: Any) -> None:
        pass

    def __exit__(self, *raised: object) -> None:
        self.shutdown()
        self.server_close()


def service(url: str, **options: Any) -> JinaClipEncoder:
    backend = ApiBackend(
        "jina-clip-v2", **({"api_key": KEY, "base_url": url, "retry": FAST, "max_retries": 3} | options)
    )
    return JinaClipEncoder(backend=backend)


# Proxies: how they are used


@pytest.mark.obligation("34")
@pytest.mark.parametrize(
    "make", [Proxy, SocksProxy, lambda: Proxy(login="user:hunter2")], ids=["http", "socks5", "login"]
)
@pytest.mark.parametrize("secure", [False, True], ids=["forwarded", "tunnel"])
@both_faces
def test_the_service_behind_a_proxy(
    face: Any, secure: bool, make: Any, certificates: Certificates, environment: Callable[..., None]
) -> None:
    tls = certificates.context("embedder.example") if secure else None
    with make() as proxy, FaultyServer(tls=tls, key=KEY if secure else None) as server:
        environment(ALL_PROXY=proxy.url, SSL_CERT_FILE=certificates.file)
        url = server.url.replace("127.0.0.1", "embedder.example")
        rows = face(service(url, **({} if secure else {"api_key": None}))).encode_text(["a"])
        np.testing.assert_allclose(rows, [vector_of("a")], atol=1e-6)
        assert "embedder.example" in proxy.asked[0]


@both_faces
def test_a_proxy_that_is_spoken_to_over_tls(
    face: Any, certificates: Certificates, environment: Callable[..., None]
) -> None:
    with Proxy(tls=certificates.context()) as proxy, FaultyServer(key=None) as server:
        environment(HTTP_PROXY=proxy.url, SSL_CERT_FILE=certificates.file)
        url = server.url.replace("127.0.0.1", "embedder.example")
        assert face(service(url, api_key=None)).encode_text(["a"]).shape == (1, 1024)
        assert proxy.asked == [f"POST {url}/embeddings"]


@both_faces
def test_a_network_in_no_proxy_is_reached_without(face: Any, environment: Callable[..., None]) -> None:
    with Proxy() as proxy, FaultyServer() as server:
        environment(ALL_PROXY=proxy.url, NO_PROXY="127.0.0.0/8,::1,fd00::/8")
        assert face(service(server.url)).encode_text(["a"]).shape == (1, 1024)
        assert proxy.asked == []


@pytest.mark.parametrize("case", ["socks4", "garbage", "port", "no host"])
@both_faces
class TestUnusableProxy:
    def test_the_service(self, face: Any, case: str, environment: Callable[..., None]) -> None:
        environment(ALL_PROXY=UNUSABLE[case])
        with pytest.raises(ConfigurationError, match="ALL_PROXY") as caught:
            face(service("https://embedder.example/v1")).encode_text(["a", "b"], on_error="skip")
        assert SECRET not in "".join(traceback.format_exception(caught.value)).replace(UNUSABLE[case], "")

    def test_an_image_is_not_called_broken(self, face: Any, case: str, environment: Callable[..., None]) -> None:
        environment(ALL_PROXY=UNUSABLE[case])
        encoder = JinaClipEncoder(backend=BlockingBackend())
        for images in (["https://images.example/a.png"], [PNG, "https://images.example/a.png", PNG]):
            with pytest.raises(ConfigurationError, match="ALL_PROXY"):
                face(encoder).encode_image(images, on_error="skip")


@pytest.mark.parametrize("where", [["a text"], ["--images", "https://images.example/a.png", "--skip-errors"]])
def test_unusable_ones_on_the_command_line(run: Any, environment: Callable[..., None], where: list[str]) -> None:
    environment(JINA_API_KEY=KEY, HTTPS_PROXY=f"socks4://user:{SECRET}@127.0.0.1:1")
    ran = run("embed", "--quiet", *where)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert "HTTPS_PROXY" in ran.err
    assert SECRET not in ran.err + ran.out


def test_what_the_hub_client_cannot_use(environment: Callable[..., None]) -> None:
    environment(ALL_PROXY="socks4://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="ALL_PROXY"):
        find_checkpoint("someone/some-model", LocalSettings())


class TestImagesBehindAProxy:
    @pytest.fixture
    def names(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
        table: dict[str, list[str]] = {}

        def resolve(host: str, port: int) -> list[str]:
            if host not in table:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return table[host]

        monkeypatch.setattr(fetching, "resolve", resolve)
        return table

    @pytest.mark.parametrize("make", [Proxy, SocksProxy], ids=["http", "socks5"])
    @pytest.mark.parametrize("secure", [False, True], ids=["forwarded", "tunnel"])
    def test_the_proxy_gets_the_name(
        self, secure: bool, make: Any, certificates: Certificates, names: Any, environment: Callable[..., None]
    ) -> None:
        with make() as proxy, Images(certificates.context() if secure else None) as images:
            environment(ALL_PROXY=proxy.url, SSL_CERT_FILE=certificates.file)
            assert fetch(images.url("images.test"), policy=SourcePolicy()) == PNG  # a name that is not known here
            names["images.test"] = ["93.184.216.34"]
            assert fetch(images.url("images.test"), policy=SourcePolicy()) == PNG
            assert fetch(images.url("10.0.0.1"), policy=SourcePolicy.trusted()) == PNG
            assert len(proxy.asked) == 3
            assert all("images.test" in asked for asked in proxy.asked[:2])

    @pytest.mark.obligation("20")
    def test_what_is_known_to_be_private_is_not_asked_for(self, names: Any, environment: Callable[..., None]) -> None:
        names["inner.test"] = ["93.184.216.34", "10.0.0.1"]
        hosts = [
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "169.254.169.254",
            "[::1]",
            "metadata.google.internal",
            "inner.test",
        ]
        with Proxy() as proxy:
            environment(ALL_PROXY=proxy.url)
            for host in [*hosts, "localhost", "wiki", "1.2.3.4.5"]:
                with pytest.raises(ImageError, match="public addresses only"):
                    fetch(f"http://{host}/a.png", policy=SourcePolicy())
            assert proxy.asked == []

    def test_the_agent_goes_without(self, names: Any, environment: Callable[..., None]) -> None:
        with Proxy() as proxy:
            environment(ALL_PROXY=proxy.url)
            with pytest.raises(ImageError, match="cannot be fetched"):
                fetch("https://images.test/a.png", policy=SourcePolicy.agent())
            assert proxy.asked == []

    def test_a_proxy_that_wants_a_login(self, names: Any, environment: Callable[..., None]) -> None:
        with Proxy(login=f"user:{SECRET}") as proxy, Images() as images:
            environment(HTTP_PROXY=f"http://{proxy.address}", HTTPS_PROXY=f"http://user:wrong{SECRET}@{proxy.address}")
            with pytest.raises(ImageError, match="407"):
                fetch(images.url("images.test"), policy=SourcePolicy(max_retries=0))
            with pytest.raises(ImageError, match="407") as caught:
                fetch("https://images.test/a.png", policy=SourcePolicy(max_retries=0))
            assert SECRET not in "".join(traceback.format_exception(caught.value))


# Certificates


@pytest.mark.obligation("34")
@pytest.mark.parametrize("how", ["file", "folder", "both", "file and no folder"])
@both_faces
def test_an_authority_that_the_environment_names(
    face: Any, how: str, certificates: Certificates, environment: Callable[..., None]
) -> None:
    if how != "folder":
        environment(SSL_CERT_FILE=certificates.file)
    if how in ("folder", "both"):
        environment(SSL_CERT_DIR=f"/nowhere:{certificates.hashed()}")
    if how == "file and no folder":
        environment(SSL_CERT_DIR="/nowhere")
    with FaultyServer(tls=certificates.context()) as server, Images(certificates.context()) as images:
        assert face(service(server.url)).encode_text(["a"]).shape == (1, 1024)
        encoder = JinaClipEncoder(backend=BlockingBackend(), sources=SourcePolicy.trusted())
        assert face(encoder).encode_image([images.url()]).shape == (1, 8)


@both_faces
class TestRefusedCertificate:
    def both(self, face: Any, tls: ssl.SSLContext) -> tuple[str, str]:
        """What the service's and the image's errors say."""
        with FaultyServer(tls=tls) as server, Images(tls) as images:
            with pytest.raises(ApiConnectionError) as of_service:
                face(service(server.url)).encode_text(["a"])
            assert server.received == []
            encoder = JinaClipEncoder(backend=BlockingBackend(), sources=SourcePolicy.trusted())
            with pytest.raises(ImageError) as of_image:
                face(encoder).encode_image([images.url()])
        assert not any("attempts" in str(error.value) for error in (of_service, of_image))  # it stays so
        return str(of_service.value), str(of_image.value)

    def test_an_authority_that_nobody_knows(
        self, face: Any, certificates: Certificates, environment: Callable[..., None]
    ) -> None:
        environment(REQUESTS_CA_BUNDLE=certificates.file, CURL_CA_BUNDLE=certificates.file)
        for said in self.both(face, certificates.context()):
            for name in CERTIFICATES:
                assert name in said
            assert "not read" in said

    def test_another_name(self, face: Any, certificates: Certificates, environment: Callable[..., None]) -> None:
        environment(SSL_CERT_FILE=certificates.file)
        for said in self.both(face, certificates.context("elsewhere.example")):
            assert "127.0.0.1" in said
            assert "SSL_CERT_FILE" not in said  # which would not help

    def test_one_that_is_over(self, face: Any, certificates: Certificates, environment: Callable[..., None]) -> None:
        environment(SSL_CERT_FILE=certificates.file)
        past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
        context = certificates.context(not_before=past, not_after=past + datetime.timedelta(days=1))
        for said in self.both(face, context):
            assert "expired" in said


UNREADABLE: dict[str, Callable[[Path], dict[str, Path]]] = {
    "no such file": lambda folder: {"SSL_CERT_FILE": folder / "nowhere.pem"},
    "a folder as file": lambda folder: {"SSL_CERT_FILE": folder},
    "no certificates in it": lambda folder: {"SSL_CERT_FILE": folder / "words.pem"},
    "an empty file": lambda folder: {"SSL_CERT_FILE": folder / "empty.pem"},
    "no such folder": lambda folder: {"SSL_CERT_DIR": folder / "nowhere"},
    "a file as folder": lambda folder: {"SSL_CERT_DIR": folder / "words.pem"},
    "no hashed names": lambda folder: {"SSL_CERT_DIR": folder},
}


@pytest.mark.parametrize("case", UNREADABLE)
@both_faces
def test_certificates_that_cannot_be_read(
    face: Any, case: str, tmp_path: Path, run: Any, environment: Callable[..., None]
) -> None:
    (tmp_path / "words.pem").write_text("these are words")
    (tmp_path / "empty.pem").write_text("")
    variables = UNREADABLE[case](tmp_path)
    environment(JINA_API_KEY=KEY, **variables)
    [name] = variables
    with pytest.raises(ConfigurationError, match=f"{name}=.*{tmp_path}"):
        face(service("https://embedder.example/v1")).encode_text(["a"], on_error="skip")
    with pytest.raises(ConfigurationError, match=name):
        face(JinaClipEncoder(backend=BlockingBackend())).encode_image(["https://images.example/a.png"], on_error="skip")
    ran = run("embed", "--quiet", "--images", "https://images.example/a.png", "--skip-errors")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert name in ran.err


def test_the_usual_authorities_are_read_once(environment: Callable[..., None]) -> None:
    assert tls_context() is tls_context()
    assert tls_context().verify_mode is ssl.CERT_REQUIRED
    assert tls_context().check_hostname
    environment(SSL_CERT_FILE="")
    assert tls_context().verify_mode is ssl.CERT_REQUIRED


def test_reading_the_environment_imports_no_client_before_it_is_needed() -> None:
    code = "import sys, jina_clip_integrations.network; assert 'httpx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
