"""A Ray cluster for a command: one of its own on this machine, or one that runs."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from ..errors import BackendError, ConfigurationError

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing of a user's jobs is reported to anybody
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray will do one day, and warns of until then
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what its processes would write into the terminal besides
}

LOCAL, AUTO = "local", "auto"
"""Ray's words for a cluster that is started here and ends with the program, and for the one of this machine."""

CLIENT = "ray://"
"""How the address of a cluster begins that is reached from outside."""

REACH_S = 10.0
"""How long to try an address. Ray itself tries for minutes, and fills the terminal with warnings."""

STARTS = 2
"""Attempts to start a cluster here: Ray gives up after 30 s, which a busy machine may need."""


@contextmanager
def attached(address: str | None = None) -> Iterator[None]:
    """Be attached to a cluster within the block.

    A program that is attached already stays so.

    Args:
        address: None starts a cluster on this machine, which ends with the block; `auto` is the one of this machine,
            `HOST:6379` another one's head, and `ray://HOST:10001` one that is reached from outside.

    Raises:
        ConfigurationError: an address of another form.
        BackendError: no cluster there, or none that starts.
    """
    if ray.is_initialized():
        yield
        return
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address not in (None, LOCAL, AUTO):
        check_reachable(str(address))
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    _connect(address or LOCAL, STARTS if address in (None, LOCAL) else 1)
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str, attempts: int) -> None:
    try:
        options = {"include_dashboard": False} if address == LOCAL else {}
        with _without_stderr():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:  # Ray raises a bare `Exception` where a node does not start in time
        ray.shutdown()
        if attempts > 1:
            _connect(address, attempts - 1)
            return
        where = "a Ray cluster on this machine does not start" if address == LOCAL else f"no Ray cluster at {address}"
        raise BackendError(f"{where}: {' '.join(str(error).split())[:300]}") from error


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Let nothing of this process be written to stderr: what Ray's libraries say there tells a user nothing."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def check_reachable(address: str) -> None:
    """Raise `BackendError` where nobody listens at `address`, and `ConfigurationError` if it is none."""
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise ConfigurationError(
            f"--address {address!r} is none of auto, HOST:PORT of a cluster's head and {CLIENT}HOST:PORT"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    except (OSError, OverflowError) as error:
        raise BackendError(f"no Ray cluster at {address}: {error}") from error
