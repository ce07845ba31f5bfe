"""`python -m tests.fuzz.guided images|data_uris FOLDER [CORPUS ...] [-runs=N ...]`: coverage-guided fuzzing by atheris.

New inputs are kept in FOLDER, one that does harm in the current folder or under `-artifact_prefix`.
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["jina_clip_integrations.images", "jina_clip_integrations.inputs", "PIL"]):
    from tests.fuzz.box import limit_memory
    from tests.fuzz.test_guided import load_data_uri, load_image, look_at


def fuzz_images(data: bytes) -> None:
    """Bytes as an image."""
    load_image(data)
    look_at(data)


def fuzz_data_uris(data: bytes) -> None:
    """Bytes as what follows `data:`."""
    load_data_uri(data.decode("utf-8", "surrogateescape"))  # lone surrogates included


if __name__ == "__main__":
    targets = {"images": fuzz_images, "data_uris": fuzz_data_uris}
    # libFuzzer's own limit counts what the process that started this one has used, a test run for example.
    atheris.Setup([sys.argv[0], "-rss_limit_mb=0", *sys.argv[2:]], targets[sys.argv[1]])
    limit_memory()
    atheris.Fuzz()
