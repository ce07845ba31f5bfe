"""`jina-clip bench`: how fast this machine is with a model, and which settings suit it."""

from .command import configure, run

__all__ = ["configure", "run"]
