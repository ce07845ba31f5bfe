"""Models that were exported for other runtimes, a graph for texts and one for images. Imports no torch."""

from .backend import ExportedBackend, OnnxBackend, OpenVinoBackend

__all__ = ["ExportedBackend", "OnnxBackend", "OpenVinoBackend"]
