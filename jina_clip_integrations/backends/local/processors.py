"""How the threads of a CPU worker are kept to its share of the processors."""

from __future__ import annotations

import threading

_SETTING = threading.Lock()  # torch keeps one default for all threads, see `compute_with`


def shares(threads: int, workers: int) -> list[int]:
    """`threads` divided among `workers`, the first ones getting what does not divide; at least one each."""
    each, more = divmod(threads, workers)
    return [max(1, each + (worker < more)) for worker in range(workers)]


def compute_with(threads: int) -> None:
    """Let the calling thread compute with that many threads, and no other thread with more or fewer than before.

    OpenMP and MKL keep the number per calling thread, so workers can differ. But `torch.set_num_threads` also makes
    it the default of every thread that has not computed yet; a thread of no further use sets that one back.
    """
    import torch

    with _SETTING:
        before = torch.get_num_threads()
        if threads == before:
            return
        torch.set_num_threads(threads)
        setter = threading.Thread(target=torch.set_num_threads, args=(before,))
        setter.start()
        setter.join()
