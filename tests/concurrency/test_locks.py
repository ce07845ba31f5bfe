"""A lock that nobody inherits held."""

from __future__ import annotations

import copy
import os
import pickle

import pytest

from jina_clip_integrations.concurrency.locks import ForkSafeLock


def test_excludes() -> None:
    lock = ForkSafeLock()
    with lock:
        assert lock._lock.locked()
    assert not lock._lock.locked()


def test_is_released_by_an_error() -> None:
    lock = ForkSafeLock()
    with pytest.raises(KeyError), lock:
        raise KeyError
    assert not lock._lock.locked()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda lock: pickle.loads(pickle.dumps(lock))])
def test_copies_are_free(duplicate: object) -> None:
    lock = ForkSafeLock()
    with lock:
        twin = duplicate(lock)  # type: ignore[operator]
        with twin:
            assert twin._lock.locked()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_finds_it_free() -> None:
    lock = ForkSafeLock()
    with lock:
        child = os.fork()
        if child == 0:
            os._exit(3 if lock._lock.locked() else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
