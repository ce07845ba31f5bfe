"""The manifests in `examples/kuberay/`: what KubeRay, Ray Serve and our own command line would say to them."""

from __future__ import annotations

import copy
import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from jina_clip_integrations.cli.main import build_parser
from jina_clip_integrations.ray.serving import ServeArguments

FOLDER = Path(__file__).parents[2] / "examples" / "kuberay"
SCHEMA = json.loads(Path(__file__).with_name("kuberay.schema.json").read_text())
MANIFEST = list(yaml.safe_load_all((FOLDER / "jina-clip.yaml").read_text()))
CONFIGS = [yaml.safe_load((FOLDER / "serve.yaml").read_text()), yaml.safe_load(MANIFEST[0]["spec"]["serveConfigV2"])]


def check(document: Any) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


def pods(document: dict[str, Any]) -> list[Any]:
    cluster = document["spec"].get("rayClusterConfig") or document["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [container for group in groups for container in group["template"]["spec"]["containers"]]


def test_the_manifest_fits_the_schema_of_kuberay() -> None:
    assert [document["kind"] for document in MANIFEST] == ["RayService", "RayJob"]
    for document in MANIFEST:
        check(document)


@pytest.mark.parametrize("wrong", ["rayStartParms", "num-cpus", "groupName", "replicas"])
def test_a_slip_in_a_manifest_shows(wrong: str) -> None:
    document = copy.deepcopy(MANIFEST[0])
    cluster = document["spec"]["rayClusterConfig"]
    worker = cluster["workerGroupSpecs"][0]
    if wrong == "rayStartParms":
        worker[wrong] = worker.pop("rayStartParams")
    elif wrong == "num-cpus":
        cluster["headGroupSpec"]["rayStartParams"][wrong] = 0  # a number: KubeRay wants strings
    elif wrong == "groupName":
        del worker[wrong]
    else:
        worker[wrong] = "2"
    with pytest.raises(jsonschema.ValidationError):
        check(document)


def test_the_job_is_a_command_that_our_command_line_takes() -> None:
    words = shlex.split(MANIFEST[1]["spec"]["entrypoint"])
    assert words[0] == "jina-clip"
    args = build_parser(words[1:]).parse_args(words[1:])
    assert (args.ray, args.address, args.model) == (True, "auto", "jina-clip-v2")


@pytest.mark.parametrize("config", CONFIGS, ids=["serve.yaml", "manifest"])
def test_ray_serve_and_the_deployment_take_the_config(config: dict[str, Any]) -> None:
    app = ServeDeploySchema.model_validate(config).applications[0]
    assert app.import_path == "jina_clip_integrations.ray.serving:build"
    arguments = ServeArguments(**app.args)
    bounds = arguments.deployment_options()["autoscaling_config"]
    assert (bounds["min_replicas"], bounds["max_replicas"]) == (2, 8)


def test_replicas_find_their_key_and_their_room() -> None:
    service, job = MANIFEST
    arguments = ServeArguments(**CONFIGS[1]["applications"][0]["args"])
    worker = pods(service)[1]
    assert [each["name"] for each in worker["env"]] == [arguments.api_key_env]
    assert "valueFrom" in worker["env"][0]  # from a secret of the cluster, not from the file
    assert arguments.num_gpus <= int(worker["resources"]["limits"]["nvidia.com/gpu"])
    assert arguments.max_replicas == service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["maxReplicas"]
    template = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]
    assert template["terminationGracePeriodSeconds"] > arguments.settings().drain_timeout_s
    versions = {
        part["spec"][name]["rayVersion"] for part, name in ((service, "rayClusterConfig"), (job, "rayClusterSpec"))
    }
    assert {container["image"].rpartition(":")[2] for document in MANIFEST for container in pods(document)} == versions


def test_no_secret_is_in_a_file() -> None:
    for path in FOLDER.iterdir():
        for line in path.read_text().splitlines():
            assert "api_keys" not in line
            assert "value: " not in line
