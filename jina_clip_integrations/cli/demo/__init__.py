"""`jina-clip demo`: words in many languages and images, asked of a gallery with the demo model, offline."""

from .command import configure, run

__all__ = ["configure", "run"]
