"""The task definitions are ones that ECS takes, and hold what an operator relies on."""

import json
import re

import boto3
import pytest
from botocore.validate import ParamValidator

import processes
import templates

FILES = ["ecs-alone", "ecs-sidecar"]


def containers(name):
    return {container["name"]: container for container in templates.task_definition(name)["containerDefinitions"]}


@pytest.mark.parametrize("name", FILES)
def test_a_task_definition_is_one_by_the_sdks_model(name):
    client = boto3.client("ecs", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    shape = client.meta.service_model.operation_model("RegisterTaskDefinition").input_shape
    report = ParamValidator().validate(templates.task_definition(name), shape)
    assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize("name", FILES)
def test_a_secrets_arn_is_whole_and_its_name_does_not_look_so_by_itself(name):
    for container in containers(name).values():
        for secret in container["secrets"]:
            secret_name, suffix = secret["valueFrom"].rpartition(":")[2].rsplit("-", 1)
            assert re.fullmatch(r"[A-Za-z0-9]{6}", suffix), secret
            assert not re.search(r"-[A-Za-z0-9]{6}$", secret_name), secret


@pytest.mark.parametrize("name", FILES)
def test_hookferry_runs_without_privileges_drains_in_time_and_shows_its_metrics(name):
    hookferry = containers(name)["hookferry"]
    assert hookferry["readonlyRootFilesystem"] and hookferry["linuxParameters"]["capabilities"]["drop"] == ["ALL"]
    environment = {entry["name"]: entry["value"] for entry in hookferry["environment"]}
    assert hookferry["stopTimeout"] > int(environment.get("SHUTDOWN_GRACE_SECONDS", 25))
    ports = [mapping["containerPort"] for mapping in hookferry["portMappings"]]
    assert environment["METRICS_HOST"] == "0.0.0.0" and int(environment.get("METRICS_PORT", 9602)) in ports
    tag = hookferry["image"].rpartition(":")[2]
    assert tag not in ("latest", "main") and "/" not in tag
    assert hookferry["logConfiguration"]["options"]["mode"] == "non-blocking"


def test_the_image_that_the_readme_builds_runs_in_the_tasks_that_it_describes():
    readme = (processes.DEPLOY / "README.md").read_text()
    pairs = re.findall(r"PLATFORM=linux/(\w+) ARCHITECTURE=(\w+)", readme)
    assert dict(pairs) == {"arm64": "ARM64", "amd64": "X86_64"}
    assert '--platform "$PLATFORM"' in readme and 'Architecture="$ARCHITECTURE"' in readme
    default = templates.template()["Parameters"]["Architecture"]["Default"]
    for name in FILES:
        # What `sed` in README replaces is there, and is the template's default.
        assert templates.task_definition(name)["runtimePlatform"]["cpuArchitecture"] == default == "ARM64"
    assert 's/ARM64/$ARCHITECTURE/' in readme


def test_a_sidecar_takes_no_websocket_down_with_it():
    hookferry = containers("ecs-sidecar")["hookferry"]
    assert hookferry["essential"] is False and hookferry["restartPolicy"]["enabled"] is True
    soketi = containers("ecs-sidecar")["soketi"]
    assert soketi["essential"] is True
    # One block of environment serves both.
    shared = {entry["name"]: entry["value"] for entry in hookferry["environment"]}
    for entry in soketi["environment"]:
        assert entry["name"] == "SOKETI_MODE" or shared[entry["name"]] == entry["value"]


def known_variables():
    text = (processes.ROOT / ".env.example").read_text()
    return set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", text, re.M))


def template_container():
    return templates.template()["Resources"]["TaskDefinition"]["Properties"]["ContainerDefinitions"][0]


def test_every_variable_in_the_files_is_one_that_hookferry_reads():
    given = {entry["Name"] for entry in template_container()["Environment"] + template_container()["Secrets"]}
    for name in FILES:
        hookferry = containers(name)["hookferry"]
        given |= {entry["name"] for entry in hookferry["environment"] + hookferry["secrets"]}
    compose = (processes.DEPLOY / "compose.yaml").read_text()
    given |= set(re.findall(r"^\s+((?:SOKETI_|WEBHOOKS_|METRICS_|AWS_)[A-Z_]+):", compose, re.M))
    # soketi's own, and the SDK's.
    given -= {"SOKETI_MODE", "SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert {name.removeprefix("SOKETI_") for name in given} <= known_variables()


def test_a_task_definition_starts_a_worker_that_delivers():
    """With the file's own environment; only what is outside (queue, receiver, secret) is put in its place."""
    for name in FILES:
        hookferry = containers(name)["hookferry"]
        environment = {entry["name"]: entry["value"] for entry in hookferry["environment"]}
        prefix = "SOKETI_" if name == "ecs-sidecar" else ""
        with processes.local_queue("webhooks.fifo") as endpoint, processes.receiver("my-secret") as (address, arrived):
            webhooks = json.loads(environment[f"{prefix}DEFAULT_APP_WEBHOOKS"])
            assert webhooks
            webhooks[0]["url"] = f"{address}/200/"
            environment |= {
                f"{prefix}DEFAULT_APP_WEBHOOKS": json.dumps(webhooks),
                f"{prefix}DEFAULT_APP_SECRET": "my-secret",
                f"{prefix}QUEUE_SQS_URL": f"{endpoint}/000000000000/webhooks.fifo",
                "QUEUE_SQS_ENDPOINT": endpoint,
                "WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.0/8",
                "METRICS_PORT": str(processes.free_port()),
            }
            processes.run(["enqueue", "--event", "client_event"], environment)
            with processes.process(["run"], environment):
                _, headers, body = arrived.get(timeout=processes.PATIENCE)
                assert headers["x-pusher-key"] == "my-key" and body["events"][0]["name"] == "client_event"
                processes.run(["healthcheck"], environment)
