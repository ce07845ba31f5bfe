"""The command run in process, a small folder, and a content-derived backend."""

from tests.command_line import colours, folder, paint, run

__all__ = ["colours", "folder", "paint", "run"]
