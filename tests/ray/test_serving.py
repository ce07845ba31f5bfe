"""The server as replicas of Ray Serve: its arguments, a config file, and the command from start to drained end."""

from __future__ import annotations

import argparse
import os

import pytest

from jina_clip_integrations.cli import serve, serve_on_ray
from jina_clip_integrations.cli.main import main
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.ray.serving import ServeArguments, build, replica_app

BACKEND = "tests.ray.stand_in:Backend"
KEY_VARIABLE = "HOME"
"""Stands for the variable with the key: one that the nodes of any cluster have."""

HEADERS = {"Authorization": f"Bearer {os.environ[KEY_VARIABLE]}"}


def parse(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    return parser.parse_args(options)


def arguments_of(*options: str) -> ServeArguments:
    args = parse("--ray", *options)
    return serve_on_ray.serve_arguments(args, serve.build_settings(args))


class TestOptions:
    def test_every_option_of_the_command_arrives(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TEAM_KEY", "secret-key")
        arguments = arguments_of(
            *["--model", "demo", "--backend", "local", "--device", "cpu", "--dtype", "float32", "--cache", "vectors"],
            *["--image-size", "336"],
            *["--api-key-env", "TEAM_KEY", "--served-model-name", "a", "--cors-origin", "https://a.example"],
            *["--strict", "--allow-private-addresses", "--max-batch", "7", "--batch-wait-ms", "2.5"],
            *["--max-running", "3", "--max-queue", "99", "--max-items", "9", "--max-body-mib", "2"],
            *["--max-image-mib", "1", "--request-timeout", "11", "--drain-timeout", "12"],
            *["--min-replicas", "2", "--max-replicas", "5", "--replica-cpus", "0.5", "--replica-gpus", "0.25"],
        )
        assert (arguments.model, arguments.backend, arguments.device) == ("demo", "local", "cpu")
        assert arguments.image_size == 336
        assert (arguments.dtype, arguments.cache, arguments.api_key_env) == ("float32", "vectors", "TEAM_KEY")
        settings = arguments.settings()
        assert settings.changed(api_keys=()) == serve.build_settings(
            parse(
                *["--served-model-name", "a", "--cors-origin", "https://a.example"],
                *["--strict", "--allow-private-addresses", "--max-batch", "7", "--batch-wait-ms", "2.5"],
                *["--max-running", "3", "--max-queue", "99", "--max-items", "9", "--max-body-mib", "2"],
                *["--max-image-mib", "1", "--request-timeout", "11", "--drain-timeout", "12"],
            )
        )
        assert arguments.deployment_options() == {
            "ray_actor_options": {"num_cpus": 0.5, "num_gpus": 0.25},
            "max_ongoing_requests": 512,
            "graceful_shutdown_timeout_s": 12,
            "graceful_shutdown_wait_loop_s": 0.2,
            "health_check_period_s": 10.0,
            "autoscaling_config": {"min_replicas": 2, "max_replicas": 5, "target_ongoing_requests": 3.5},
        }
        assert "secret-key" not in repr(arguments) + arguments.model_dump_json()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--replicas", "2"], "--replicas is about replicas in a Ray cluster; it needs --ray"),
            (["--address", "auto"], "--address is about"),
            (["--ray", "--device", "cuda:0,cuda:1"], "with --ray each replica has one; use --replicas"),
            (["--ray", "--replicas", "2", "--max-replicas", "3"], "give either replicas, or min_replicas"),
            (["--ray", "--min-replicas", "2"], "min_replicas and target_ongoing_requests need max_replicas"),
            (["--ray", "--min-replicas", "4", "--max-replicas", "3"], "max_replicas=3: must be at least 4"),
            (["--ray", "--api-key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE"),
            (["--ray", "--tls-cert", "a.pem"], "belong together"),
        ],
    )
    def test_what_cannot_be_is_one_line(
        self, capsys: pytest.CaptureFixture[str], options: list[str], message: str
    ) -> None:
        assert main(["serve", *options]) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]

    def test_a_file_holds_no_keys(self) -> None:
        with pytest.raises(ValueError, match=r"keys do not belong into a config file: .* api_key_env"):
            ServeArguments(server={"api_keys": ["secret"]})
        with pytest.raises(ValueError, match="max_bach"):
            ServeArguments(server={"max_bach": 3})
        with pytest.raises(ValueError, match="modle"):
            ServeArguments.model_validate({"modle": "demo"})

    def test_a_node_without_the_key_serves_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("TEAM_KEY", raising=False)
        with pytest.raises(ConfigurationError, match="TEAM_KEY: this environment variable is empty or not set"):
            replica_app(ServeArguments(backend=BACKEND, api_key_env="TEAM_KEY"))


def test_the_application_needs_no_cluster_to_be_built() -> None:
    assert build(ServeArguments(backend=BACKEND)) is not None
    assert os.environ.get("RAY_ADDRESS") is None


def test_a_config_file_gives_a_mapping() -> None:
    with pytest.raises(ValueError, match="modle"):
        build({"modle": "demo"})
    built = build({"backend": BACKEND, "replicas": 3})
    assert built._bound_deployment.num_replicas == 3
