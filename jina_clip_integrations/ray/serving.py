"""The application of `jina-clip serve` as a deployment of Ray Serve: replicas, health, graceful drain.

    serve.run(build(ServeArguments(model="jina-clip-v2", replicas=2)))

`build` is also what a config file names (`import_path: jina_clip_integrations.ray.serving:build`), with the fields of
`ServeArguments` as its `args`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from ..backends.registry import backend_here, find_factory
from ..encoder import JinaClipEncoder
from ..errors import BackendError, ConfigurationError
from ..server import ServerSettings, create_app
from ..server.settings import read_api_keys
from ..settings import DEFAULT_MODEL, require_integer
from .cluster import attached

if TYPE_CHECKING:
    from fastapi import FastAPI

APP_NAME = "jina-clip"
"""Name of the application in Ray Serve."""

HEALTH_PERIOD_S = 10.0
"""Seconds between two looks at a replica's health."""

STOP_MARGIN_S = 60.0
"""Seconds that the end of replicas may take beyond their drain."""

NOT_IN_A_FILE = {
    "api_keys": "keys do not belong into a config file: name an environment variable of the nodes with api_key_env",
    "sources": "it is an object of Python; allow_private_addresses is what a file can say",
}


class ServeArguments(BaseModel):
    """What a deployment is made of: the model, its server's settings, its replicas. No secrets: see `api_key_env`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str = DEFAULT_MODEL
    """`jina-clip-v1`, `jina-clip-v2`, `demo`, a checkpoint folder of the nodes or a Hub id."""
    backend: str | None = None
    """`local`, `onnx`, `openvino`, or `MODULE:FACTORY` of a backend of your own; None is what runs the model here."""
    device: str | None = None
    dtype: str | None = None
    image_size: int | None = None
    cache: str | None = None
    """Folder for vectors, on each node."""
    api_key_env: str | None = None
    """Environment variable of the nodes with the bearer keys to ask for."""
    server: dict[str, Any] = Field(default_factory=dict)
    """Fields of `ServerSettings`, such as `max_batch`."""
    replicas: int = 1
    """Replicas, where no bounds are given."""
    min_replicas: int | None = None
    max_replicas: int | None = None
    """Bounds between which the number of replicas follows the load."""
    target_ongoing_requests: float | None = None
    """Requests per replica that the number of replicas aims at; None = half of `max_batch`."""
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    """What a replica occupies of its node."""

    @model_validator(mode="after")
    def _check(self) -> ServeArguments:
        for name, reason in NOT_IN_A_FILE.items():
            if name in self.server:
                raise ValueError(f"server: {name}: {reason}")
        try:
            self.settings()
            self._check_replicas()
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return self

    def _check_replicas(self) -> None:
        require_integer("replicas", self.replicas, minimum=1)
        if self.max_replicas is None and (self.min_replicas, self.target_ongoing_requests) != (None, None):
            raise ConfigurationError("min_replicas and target_ongoing_requests need max_replicas")
        if self.max_replicas is not None and self.replicas != 1:
            raise ConfigurationError("give either replicas, or min_replicas and max_replicas")
        if self.max_replicas is not None:
            require_integer("min_replicas", self.lowest, minimum=0)
            require_integer("max_replicas", self.max_replicas, minimum=max(1, self.lowest))

    @property
    def lowest(self) -> int:
        """The smallest number of replicas."""
        return 1 if self.min_replicas is None else self.min_replicas

    def settings(self) -> ServerSettings:
        """The server's settings, without keys. Raises `ConfigurationError`."""
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in self.server.items()}
        return ServerSettings().changed(**values)

    def deployment_options(self) -> dict[str, Any]:
        """What Ray Serve is told of the replicas."""
        settings = self.settings()
        options: dict[str, Any] = {
            "ray_actor_options": {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus},
            # The default of 5 would leave our batches empty; what is beyond a server's own limit it refuses itself.
            "max_ongoing_requests": settings.max_requests,
            "graceful_shutdown_timeout_s": settings.drain_timeout_s,
            "graceful_shutdown_wait_loop_s": 0.2,
            "health_check_period_s": HEALTH_PERIOD_S,
        }
        if self.max_replicas is None:
            return options | {"num_replicas": self.replicas}
        target = self.target_ongoing_requests or max(1.0, settings.max_batch / 2)
        bounds = {"min_replicas": self.lowest, "max_replicas": self.max_replicas, "target_ongoing_requests": target}
        return options | {"autoscaling_config": bounds}


def build(args: ServeArguments | Mapping[str, Any]) -> serve.Application:
    """The application for `serve.run`, `serve run` and `serve deploy`. Nothing is loaded before a replica starts.

    `args` of a config file arrive as they were written. Raises `ValueError` that names a field at fault.
    """
    # Serve converts a mapping only where the annotation is the class itself, and here annotations are strings.
    arguments = ServeArguments.model_validate(args)

    def build_app() -> FastAPI:
        return replica_app(arguments)

    @serve.ingress(build_app)
    class JinaClip:
        """One replica: a model, and the server in front of it."""

        async def check_health(self) -> None:
            """Raise if the model could not be loaded, so that the replica is replaced."""
            if self.app.state.service.state == "failed":  # type: ignore[attr-defined]
                raise BackendError("the model of this replica could not be loaded; its log says why")

    deployment = serve.deployment(JinaClip, name="JinaClip").options(**arguments.deployment_options())
    return deployment.bind()


def replica_app(args: ServeArguments) -> FastAPI:
    """The application of one replica, with its model loaded; runs on the replica's node.

    Raises `ConfigurationError`, also for a key variable that this node does not have.
    """
    settings = args.settings().changed(api_keys=read_api_keys(args.api_key_env))
    name = args.backend or backend_here(args.model)
    backend: Any = find_factory(name)() if ":" in name else name
    options: dict[str, Any] = {"model": args.model} if isinstance(backend, str) else {}
    given = {"device": args.device, "dtype": args.dtype, "image_size": args.image_size}
    options |= {name: value for name, value in given.items() if value is not None}
    encoder = JinaClipEncoder(backend=backend, cache=args.cache, **options)
    load = getattr(encoder.backend, "load", None)
    if load is not None:
        load()
    return create_app(encoder, settings)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a service runs and where it listens."""

    address: str | None = None
    """Of a cluster that runs; None = one of this machine, which ends with the service."""
    host: str
    port: int
    tls: tuple[str | None, str | None] = field(default=(None, None))
    """Files of the certificate and its private key, on the nodes."""
    keep_alive_s: int = 75


@contextmanager
def serving(args: ServeArguments, place: Place) -> Iterator[None]:
    """Serve within the block, which begins when every replica is ready; then answer what was admitted, and end.

    Attaching to a cluster replaces this process's handler of SIGTERM: set one of your own within `attached(address)`.
    Raises `ConfigurationError` where the cluster serves already, `BackendError` where no cluster answers or no replica
    starts.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    with attached(place.address):
        _check_free()
        if place.address is None:
            _check_room(args)
        try:
            serve.start(http_options=_http_options(place))
            try:
                serve.run(build(args), name=APP_NAME, route_prefix="/")
            except RuntimeError as error:
                raise BackendError(f"no replica could be started: {_reason(error)}") from error
            yield
        finally:
            _end(drain_s=args.settings().drain_timeout_s)


def _check_free() -> None:
    """Serve has one set of proxies per cluster, and those that run keep their port whatever is asked of a second."""
    status = serve.status()
    if status.proxies or status.applications:
        names = ", ".join(sorted(status.applications)) or "none"
        raise ConfigurationError(
            f"Ray Serve runs already in this cluster (applications: {names}), at an address of its own. Add this "
            "application to its config file and use `serve deploy`, or end it first with `serve shutdown`"
        )


def _check_room(args: ServeArguments) -> None:
    """A cluster of this machine alone never grows, and replicas that find no room would be waited for without end."""
    replicas = args.replicas if args.max_replicas is None else args.lowest
    for kind, share in (("CPU", args.num_cpus), ("GPU", args.num_gpus)):
        there = ray.cluster_resources().get(kind, 0)
        if replicas * share > there:
            raise ConfigurationError(
                f"{replicas} replicas of {share:g} {kind} each need {replicas * share:g}, and this machine has "
                f"{there:g}: ask for fewer, or for smaller shares with num_{kind.lower()}s (--replica-{kind.lower()}s)"
            )


def _end(*, drain_s: float) -> None:
    """Drain and end the application, and Serve too, unless somebody has deployed another one meanwhile."""
    give_up_at = time.monotonic() + drain_s + STOP_MARGIN_S
    with suppress(RayError, RayServeException):
        while time.monotonic() < give_up_at:
            with suppress(TimeoutError):  # after one minute, which a longer drain exceeds
                serve.delete(APP_NAME)
                break
        if not serve.status().applications.keys() - {APP_NAME}:
            serve.shutdown()


def _http_options(place: Place) -> Mapping[str, Any]:
    certificate, key = place.tls
    tls = {"ssl_certfile": certificate, "ssl_keyfile": key} if certificate else {}
    return {"host": place.host, "port": place.port, "keep_alive_timeout_s": place.keep_alive_s, **tls}


def _reason(error: RuntimeError) -> str:
    """Why a deployment failed: the newest state that Serve knows, its last line."""
    with suppress(Exception):
        status = serve.status().applications[APP_NAME]
        lines = [line for each in status.deployments.values() for line in each.message.splitlines() if line.strip()]
        return " ".join(lines[-1].split()) if lines else status.message
    return str(error)
