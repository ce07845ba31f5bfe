"""Backends over exported folders: `onnx` by ONNX Runtime, `openvino` by OpenVINO."""

from __future__ import annotations

import os
from dataclasses import asdict, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...catalog import ModelSpec
from ...concurrency.locks import ForkSafeLock
from ...errors import ConfigurationError, require_extra
from ...retrieval.fingerprint import export_digest
from ...settings import ExportedSettings, constructor, settings
from ..running import ModelBackend
from .folder import Description, read_description
from .runner import ExportedRunner

DIGEST_DIGITS = 16
"""Hexadecimal digits of the export's digest in `cache_identity`."""


@settings
class ExportedArguments(ExportedSettings):
    """Arguments of the backends: the folder, then every setting by its name."""

    model: str | os.PathLike[str] = field(kw_only=False)


class ExportedBackend(ModelBackend):
    """Runs an exported folder with the runtime of its format.

    Args:
        model: A folder that `jina-clip export` wrote.
        **options: The fields of `ExportedSettings` under their own names. None means the default.

    Raises:
        ImportError: the extra is not installed.
        ConfigurationError: a setting that cannot work, or a folder of the other format.
        CheckpointError: a folder that is no exported model; on first use also a damaged graph.
    """

    format: ClassVar[str]
    """What the folder has to say that it is; also the extra."""
    package: ClassVar[str]

    @constructor(ExportedArguments)
    def __init__(self, model: str | os.PathLike[str], **options: Any) -> None:
        for package in (self.package, "tokenizers"):
            require_extra(package, extra=self.format, purpose=f'backend="{self.format}"')
        self.model = os.fspath(model)
        self.settings = ExportedSettings(**{name: value for name, value in options.items() if value is not None})
        self.folder = Path(self.model).expanduser()
        self._lock = ForkSafeLock()
        self._runner: ExportedRunner | None = None
        self._pid = os.getpid()
        if self.description.format != self.format:
            found = self.description.format
            raise ConfigurationError(f'{self.model} was exported for {found}; use backend="{found}"')

    @cached_property
    def description(self) -> Description:
        """What the folder says of itself."""
        return read_description(self.folder)

    @property
    def spec(self) -> ModelSpec:
        """The model's facts, from the folder."""
        return self.description.spec

    @property
    def batch_limit(self) -> int | Literal["auto"]:
        """The setting `batch_size`."""
        return self.settings.batch_size

    @property
    def max_length(self) -> int:
        """Longest text in tokens; longer ones are truncated."""
        return min(self.settings.max_length, self.description.max_length)

    @cached_property
    def cache_identity(self) -> str:
        """All that changes a vector: the graphs, the device, the length of texts and how images are decoded."""
        decoding = "/fast_decode" if self.settings.fast_decode else ""
        digest = export_digest(self.folder)[:DIGEST_DIGITS]
        return f"{self.format}/{digest}/{self.settings.device}/max_length={self.max_length}{decoding}"

    def _load(self) -> ExportedRunner:
        with self._lock:
            if self._runner is None or self._pid != os.getpid():  # a runtime's threads do not survive a fork
                self._runner = ExportedRunner(self.folder, self.description, self.settings)
                self._pid = os.getpid()
            return self._runner

    def close(self) -> None:
        """Free the graphs and the threads. Idempotent; a later call loads them again."""
        with self._lock:
            runner, self._runner = self._runner, None
        if runner is not None and self._pid == os.getpid():
            runner.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, {self.settings!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self.model, **asdict(self.settings)), ()

    def __deepcopy__(self, memo: dict[int, Any]) -> ExportedBackend:
        return self  # the settings are frozen, and a second copy of the weights would only take memory


class OnnxBackend(ExportedBackend):
    """A folder of `jina-clip export --format onnx`, by ONNX Runtime."""

    format = "onnx"
    package = "onnxruntime"


class OpenVinoBackend(ExportedBackend):
    """A folder of `jina-clip export --format openvino`, by OpenVINO."""

    format = "openvino"
    package = "openvino"
