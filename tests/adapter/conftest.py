"""The adapter under test, a content-derived backend behind it, three images, and both ways of calling a method."""

from __future__ import annotations

from tests.adapters import adapter, backend, call, golden_v2, images, opened_backends

__all__ = ["adapter", "backend", "call", "golden_v2", "images", "opened_backends"]
