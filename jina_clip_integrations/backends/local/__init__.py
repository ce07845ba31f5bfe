"""`LocalBackend`: the models on this machine's GPU or CPU.

Nothing heavy happens at construction; torch is imported and the weights are read on first use. Texts are sorted by
length and batched by tokens; images are decoded in threads while the model computes; one worker thread per device
computes, so that threads and tasks may share one backend.
"""

from __future__ import annotations

from .backend import LocalBackend
from .devices import describe_device

__all__ = ["LocalBackend", "describe_device"]
