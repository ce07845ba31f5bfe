"""Proxies on this machine, for whom every host name leads to this machine."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from contextlib import suppress
from typing import Any


class Proxy:
    """An HTTP proxy: forwards requests and makes tunnels. `with Proxy() as proxy: ... proxy.url, proxy.asked`."""

    scheme = "http"

    def __init__(self, *, login: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        """`login` is the `user:password` that it wants; with `tls` it is spoken to over TLS."""
        self.login = login
        self.tls = tls
        self.asked: list[str] = []
        """What it was asked for: `CONNECT host:port` or `GET URL`."""
        self._listening = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> Any:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # closing alone does not wake the thread that accepts
        self._listening.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    @property
    def url(self) -> str:
        login = f"{self.login}@" if self.login else ""
        return f"{'https' if self.tls else self.scheme}://{login}{self.address}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                if self.tls is not None:
                    connection = self.tls.wrap_socket(connection, server_side=True)
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            self._carry(client)

    def _carry(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (received := client.recv(65536)):
            head += received
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        self.asked.append(f"{method} {target}")
        wanted = b"proxy-authorization: basic " + base64.b64encode((self.login or "").encode()).lower()
        if self.login and wanted not in head.lower():
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        port = int(target.partition("://")[2].partition("/")[0].rpartition(":")[2] or target.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                server.sendall(head)
            relay(client, server)


class SocksProxy(Proxy):
    """A SOCKS 5 proxy without a login (RFC 1928)."""

    scheme = "socks5"

    def _carry(self, client: socket.socket) -> None:
        _version, methods = client.recv(2)
        client.recv(methods)
        client.sendall(b"\x05\x00")
        kind = client.recv(4)[3]
        host = client.recv(client.recv(1)[0]).decode() if kind == 3 else socket.inet_ntoa(client.recv(4))
        port = int.from_bytes(client.recv(2), "big")
        self.asked.append(f"CONNECT {host}:{port}")
        with socket.create_connection(("127.0.0.1", port)) as server:
            client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big"))
            relay(client, server)


def relay(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes on in both directions until both sides are done."""
    back = threading.Thread(target=_pump, args=(other, one), daemon=True)
    back.start()
    _pump(one, other)
    back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            sink.sendall(received)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
