"""One driver per sink: a lock that ends with its process, on this machine's disk or in the cluster."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from ..concurrency.locks import lock_file
from ..errors import BackendError
from .manifest import FOLDER, LOCK
from .storage import Storage

NAMESPACE = "jina_clip"

WAIT_S = 20.0
"""How long the lock of a driver that was killed may live on in the cluster, in seconds."""

PAUSE_S = 0.5


@contextlib.contextmanager
def locked(storage: Storage) -> Iterator[None]:
    """Have a sink to oneself. Raises `BackendError` if another program has it."""
    with _lock_on_disk(storage) if storage.is_local else _lock_in_cluster(storage):
        yield


def _refusal(storage: Storage) -> BackendError:
    return BackendError(f"another program is writing {storage.show('')}; wait for it, or choose another sink")


@contextlib.contextmanager
def _lock_on_disk(storage: Storage) -> Iterator[None]:
    storage.make_folder(FOLDER)
    held = lock_file(Path(storage.path(LOCK)))
    if held is None:
        raise _refusal(storage)
    with held:
        yield


@contextlib.contextmanager
def _lock_in_cluster(storage: Storage) -> Iterator[None]:
    """An actor that has the sink's name: there is one of a name, and it dies with its driver."""
    name = f"sink-{hashlib.sha256(storage.show('').encode()).hexdigest()[:16]}"
    until_s = time.monotonic() + WAIT_S
    while (holder := _hold(name)) is None:
        if time.monotonic() > until_s:
            raise _refusal(storage)
        time.sleep(PAUSE_S)
    try:
        yield
    finally:
        ray.kill(holder)


def _hold(name: str) -> Any:
    """An actor of this name; None where there is one already."""
    try:
        return ray.remote(_Holder).options(name=name, namespace=NAMESPACE, num_cpus=0).remote()
    except ValueError:
        return None


class _Holder:
    """Does nothing; its name is what counts."""
