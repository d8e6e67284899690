"""The template, deployed to an emulator, makes a stack whose queue the worker takes as it is."""

import json
import logging
import os
import re

import boto3
import pytest
from moto.server import ThreadedMotoServer

import processes
import templates

REGION = "eu-west-1"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hookferry/apps-AbCdEf"
CREDENTIALS = {"region_name": REGION, "aws_access_key_id": "local", "aws_secret_access_key": "local"}


@pytest.fixture(scope="module")
def stack():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    os.environ["MOTO_ACCOUNT_ID"] = "123456789012"
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"

    def client(service):
        return boto3.client(service, endpoint_url=endpoint, **CREDENTIALS)

    try:
        vpc = client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = client("ec2").create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        parameters = {"Image": "example/hookferry:0.1.0", "Vpc": vpc, "Subnets": subnet, "AppsSecretArn": SECRET}
        client("cloudformation").create_stack(
            StackName="hookferry",
            TemplateBody=(processes.DEPLOY / "cloudformation.yaml").read_text(),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        made = client("cloudformation").describe_stacks(StackName="hookferry")["Stacks"][0]
        assert made["StackStatus"] == "CREATE_COMPLETE"
        outputs = {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]}
        yield endpoint, client, outputs
    finally:
        server.stop()


def test_the_queues_have_the_recommended_attributes(stack):
    _, client, outputs = stack
    sqs = client("sqs")
    queue = sqs.get_queue_attributes(QueueUrl=outputs["QueueUrl"], AttributeNames=["All"])["Attributes"]
    dead = sqs.get_queue_attributes(QueueUrl=outputs["DeadLetterQueueUrl"], AttributeNames=["All"])["Attributes"]
    for attributes in (queue, dead):
        assert attributes["FifoQueue"] == "true" and attributes["MessageRetentionPeriod"] == "1209600"
        assert attributes["DeduplicationScope"] == "messageGroup"
        assert attributes["FifoThroughputLimit"] == "perMessageGroupId"
    assert queue["VisibilityTimeout"] == "5" and queue["DelaySeconds"] == "0"
    redrive = json.loads(queue["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == dead["QueueArn"] and int(redrive["maxReceiveCount"]) == 1000
    allowed = json.loads(dead.get("RedriveAllowPolicy", "{}"))
    assert allowed.get("sourceQueueArns", [queue["QueueArn"]]) == [queue["QueueArn"]]


def test_the_tasks_have_the_policies_that_they_need_besides(stack):
    _, client, outputs = stack
    assert client("iam").get_role(RoleName=outputs["TaskRoleName"])
    # The emulator attaches none.
    attached = templates.template()["Resources"]["TaskRole"]["Properties"]["ManagedPolicyArns"]
    for given, more in (([], []), ([""], []), (["a"], ["a"]), (["a", "b"], ["a", "b"])):
        names = {"WorkerPolicy": "worker", "TaskPolicyArns": given}
        assert templates.resolved(attached, names) == ["worker", *more]


def test_the_worker_delivers_from_the_queue_that_the_template_made(stack):
    endpoint, client, outputs = stack
    definition = client("ecs").list_task_definitions()["taskDefinitionArns"][0]
    container = client("ecs").describe_task_definition(taskDefinition=definition)["taskDefinition"][
        "containerDefinitions"][0]
    environment = {entry["name"]: str(entry["value"]) for entry in container["environment"]}
    assert environment["QUEUE_SQS_URL"] == outputs["QueueUrl"]
    assert [secret["valueFrom"] for secret in container["secrets"]] == [SECRET]
    with processes.receiver("my-secret") as (address, arrived):
        app = {"id": "my-app", "key": "my-key", "secret": "my-secret", "webhooks": [{"url": f"{address}/200/"}]}
        environment |= {
            # What ECS would put there from the secret.
            "APPS": json.dumps([app]),
            # The emulator in AWS' place.
            "QUEUE_SQS_ENDPOINT": endpoint,
            "WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.0/8",
            "METRICS_PORT": str(processes.free_port()),
        }
        producer = environment | {
            "DEFAULT_APP_ID": "my-app", "DEFAULT_APP_KEY": "my-key", "DEFAULT_APP_SECRET": "my-secret"}
        producer.pop("APPS")
        processes.run(["enqueue", "--event", "channel_occupied"], producer)
        with processes.process(["run"], environment) as (_, lines):
            _, _, body = arrived.get(timeout=processes.PATIENCE)
            assert body["events"][0]["name"] == "channel_occupied", lines


def test_the_dashboard_begins_with_the_query_over_the_services_logs(stack):
    _, client, _ = stack
    widgets = json.loads(client("cloudwatch").get_dashboard(DashboardName="hookferry")["DashboardBody"])["widgets"]
    first = widgets[0]
    assert first["type"] == "log" and first["properties"]["query"].startswith("SOURCE '/ecs/hookferry'")


def block(text, begins):
    """The block of shell that has such a line, from its first line to its last."""
    return next(part for part in re.findall(r"```sh\n(.*?)```", text, re.S) if begins in part)


def test_the_readme_gets_from_the_default_vpc_to_a_webhook():
    readme = (processes.DEPLOY / "README.md").read_text()
    deployed = block(readme, "aws cloudformation deploy")
    given = set(re.findall(r"\b([A-Z][A-Za-z]+)=", deployed.split("--parameter-overrides")[1]))
    parameters = templates.template()["Parameters"]
    assert given <= set(parameters)
    assert {name for name, parameter in parameters.items() if "Default" not in parameter} <= given
    # The default VPC's subnets are public: without an address of its own a task there reaches nothing.
    assert parameters["AssignPublicIp"]["Default"] == "DISABLED" and "AssignPublicIp=ENABLED" in deployed
    assert "is-default" in deployed and "Architecture" in given
    first = block(readme, "hookferry enqueue")
    outputs = set(re.findall(r"\$\(output (\w+)\)", first))
    assert outputs == {"QueueUrl", "DeadLetterQueueUrl"} <= set(templates.template()["Outputs"])
    assert "--app-key my-key" in first and '"key":"my-key"' in deployed


def test_the_documents_say_how_a_repair_reaches_the_tasks_and_how_their_page_is_reached():
    operating = (processes.ROOT / "docs" / "operating.md").read_text()
    redrive = operating.split("## Redrive")[1].split("\n## ")[0]
    assert 0 < redrive.index("--force-new-deployment") < redrive.index("services-stable") < redrive.index("dlq redrive")
    for text in (operating, (processes.DEPLOY / "README.md").read_text()):
        assert "MonitoringCidr" in text and "--force-new-deployment" in text
    assert "METRICS_HOST=$address hookferry status" in operating


# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html#task_size
FARGATE = {256: (512, 1024, 2048), 512: range(1024, 4097, 1024), 1024: range(2048, 8193, 1024),
           2048: range(4096, 16385, 1024)}


def test_every_size_is_one_that_fargate_has():
    template = templates.template()
    size = template["Parameters"]["Size"]
    assert size["Default"] in size["AllowedValues"]
    for allowed in size["AllowedValues"]:
        cpu, memory = map(int, allowed.split("/"))
        assert memory in FARGATE[cpu], allowed
    task = template["Resources"]["TaskDefinition"]["Properties"]
    assert [task[name]["Fn::Select"][0] for name in ("Cpu", "Memory")] == [0, 1]


def test_the_dashboards_body_is_json():
    body = templates.template()["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    assert len(json.loads(body)["widgets"]) == 6
