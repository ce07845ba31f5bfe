"""A model as graphs for other runtimes: one for texts and one for images, with what is needed to use them.

Two graphs and not one, so that a query of a few tokens never pays for an image, or the other way round.
"""

from .command import ExportReport, export_model

__all__ = ["ExportReport", "export_model"]
