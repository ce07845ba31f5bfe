"""A lock that nobody inherits held."""

from __future__ import annotations

import copy
import os
import pickle
import threading

import pytest

from jina_clip_integrations.concurrency.locks import ForkSafeLock


def is_held(lock: ForkSafeLock) -> bool:
    """Whether another thread has to wait for it."""
    taken = threading.Event()

    def take() -> None:
        with lock:
            taken.set()

    threading.Thread(target=take, daemon=True).start()
    return not taken.wait(0.2)


def test_excludes() -> None:
    lock = ForkSafeLock()
    with lock:
        assert is_held(lock)
    assert not is_held(lock)


def test_is_released_by_an_error() -> None:
    lock = ForkSafeLock()
    with pytest.raises(KeyError), lock:
        raise KeyError
    assert not is_held(lock)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda lock: pickle.loads(pickle.dumps(lock))])
def test_copies_are_free(duplicate: object) -> None:
    lock = ForkSafeLock()
    with lock:
        twin = duplicate(lock)  # type: ignore[operator]
        with twin:
            assert is_held(twin)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_finds_it_free() -> None:
    lock = ForkSafeLock()
    with lock:
        child = os.fork()
        if child == 0:
            os._exit(3 if is_held(lock) else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
