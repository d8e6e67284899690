"""The policies grant what the commands really call, none missing and none to spare."""

import itertools
import json

import processes
import templates

QUEUE, DEAD = "webhooks.fifo", "dead-letters.fifo"
NAMES = {QUEUE: "Queue", DEAD: "DeadLetterQueue"}
# soketi's own call when it puts a job on the queue; the interop suite has its requests in full.
SOKETI = {(QUEUE, "SendMessage")}


def environment(endpoint, webhook, **more):
    return {
        "QUEUE_SQS_URL": f"{endpoint}/000000000000/{QUEUE}",
        "QUEUE_SQS_ENDPOINT": endpoint,
        "QUEUE_SQS_REGION": "us-east-1",
        "QUEUE_SQS_WAIT_TIME_SECONDS": "1",
        "DEFAULT_APP_WEBHOOKS": json.dumps([{"url": webhook}]),
        "WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.0/8",
        "WEBHOOKS_RETRY_WINDOW_SECONDS": "60",
        "LOG_FORMAT": "json",
        "METRICS_PORT": str(processes.free_port()),
    } | more


def work(endpoint, statuses):
    """A worker that has one job for each status that the receiver answers with; ends when all have been attempted."""
    with processes.receiver("app-secret") as (address, arrived):
        for status in statuses:
            settings = environment(endpoint, f"{address}/{status}/")
            processes.run(["enqueue", "--event", "client_event"], settings)
            with processes.process(["run"], settings) as (_, lines):
                path, _, _ = arrived.get(timeout=processes.PATIENCE)
                assert path == f"/{status}/"
                done = {200: lambda: True, 410: lambda: any("dead-lettered" in line for line in lines)}
                processes.until(done.get(status, lambda: any("delivery failed" in line for line in lines)), "settled")


def test_the_worker_and_check_need_the_workers_policy_and_no_more():
    with processes.local_queue(QUEUE) as endpoint, processes.recorded(endpoint) as (address, calls):
        work(address, [200, 410, 500])
        settings = environment(address, "http://127.0.0.1:1/")
        processes.run(["check"], settings, expect=None)
    calls = {(queue, action) for queue, action in calls if (queue, action) != (QUEUE, "SendMessage")
             and (queue, action) != (QUEUE, "SendMessageBatch")}
    assert templates.needed(calls, NAMES) == templates.template_policy("WorkerPolicy")


def test_dlq_needs_the_operators_policy_and_no_more(tmp_path):
    with processes.local_queue(QUEUE) as endpoint:
        work(endpoint, [410, 410, 410])
        with processes.recorded(endpoint) as (address, calls):
            settings = environment(address, "http://127.0.0.1:1/")
            processes.run(["dlq", "list"], settings)
            letter = json.loads(processes.run(["dlq", "export"], settings).splitlines()[0])
            assert "body" in letter
            processes.run(["dlq", "redrive", "--most", "1", "--yes"], settings)
            processes.run(["dlq", "purge", "--yes", "--backup", str(tmp_path / "letters.jsonl")], settings)
    assert templates.needed(calls, NAMES) == templates.template_policy("OperatorPolicy")


def test_a_producer_needs_the_producers_policy_and_no_more():
    with processes.local_queue(QUEUE) as endpoint, processes.recorded(endpoint) as (address, calls):
        processes.run(["enqueue", "--event", "client_event"], environment(address, "http://127.0.0.1:1/"))
    assert templates.needed(calls | SOKETI, NAMES) == templates.template_policy("ProducerPolicy")


def test_the_policy_files_grant_what_the_template_grants():
    resources = {"Queue": ":webhooks.fifo", "DeadLetterQueue": ":webhooks-dead-letters.fifo"}
    for name, logical in (("producer", "ProducerPolicy"), ("worker", "WorkerPolicy"), ("operator", "OperatorPolicy")):
        file = {resource.rpartition(":")[2]: actions for resource, actions in templates.file_policy(name).items()}
        granted = templates.template_policy(logical)
        assert file == {resources[resource][1:]: actions for resource, actions in granted.items()}
    role = templates.template()["Resources"]["ExecutionRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    statements = [statement.get("Fn::If", [None, statement])[1] for statement in role]
    actions = set(itertools.chain.from_iterable(templates.listed(statement["Action"]) for statement in statements))
    assert actions == set(itertools.chain.from_iterable(templates.file_policy("execution").values()))
