"""`jina-clip demo`: search a gallery with words in many languages and with images, offline, with the demo model."""

from .command import configure, run

__all__ = ["configure", "run"]
