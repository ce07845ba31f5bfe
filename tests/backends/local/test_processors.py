"""Threads that are set for one worker only, and how they are shared out."""

from __future__ import annotations

import threading

import pytest
import torch

from jina_clip_integrations.backends.local.processors import compute_with, shares


@pytest.mark.parametrize(
    ("threads", "workers", "expected"),
    [(8, 2, [4, 4]), (7, 2, [4, 3]), (2, 3, [1, 1, 1]), (1, 1, [1]), (16, 3, [6, 5, 5])],
)
def test_shares_add_up_unless_there_are_too_few(threads: int, workers: int, expected: list[int]) -> None:
    assert shares(threads, workers) == expected


class TestOneThreadOnly:
    """`compute_with` changes the calling thread and nothing else."""

    @staticmethod
    def in_a_new_thread(*actions: object) -> list[int]:
        seen: list[int] = []

        def run() -> None:
            for action in actions:
                action()  # type: ignore[operator]
            seen.append(torch.get_num_threads())

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return seen

    def test_neither_the_caller_nor_later_threads_are_touched(self) -> None:
        before = torch.get_num_threads()
        assert self.in_a_new_thread(lambda: compute_with(before + 3)) == [before + 3]
        assert torch.get_num_threads() == before
        assert self.in_a_new_thread() == [before]

    def test_many_at_once_do_not_leave_each_others_number_behind(self) -> None:
        before = torch.get_num_threads()
        seen: list[tuple[int, int]] = []
        ready = threading.Barrier(16)

        def run(wanted: int) -> None:
            ready.wait()
            compute_with(wanted)
            seen.append((wanted, torch.get_num_threads()))

        threads = [threading.Thread(target=run, args=(before + 1 + n % 5,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 16
        assert all(wanted == got for wanted, got in seen)
        assert self.in_a_new_thread() == [before]

    def test_it_can_be_undone(self) -> None:
        before = torch.get_num_threads()
        assert self.in_a_new_thread(lambda: compute_with(before + 1), lambda: compute_with(before)) == [before]
