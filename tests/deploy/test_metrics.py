"""Alerts, dashboards and queries name only what a running worker exports and logs."""

import json
import re
import subprocess

import pytest
import yaml

import processes
import templates
from test_policies import QUEUE, environment

NAME = re.compile(r"\b((?:hookferry|process)_[a-z_]+)\b(?!\s*=)")


def alert_expressions():
    groups = yaml.safe_load((processes.DEPLOY / "alerts.yaml").read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def dashboard():
    return json.loads((processes.DEPLOY / "grafana-dashboard.json").read_text())


def dashboard_expressions():
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


@pytest.fixture(scope="module")
def worker():
    """A worker that has delivered, failed and given up a job: its scrape, and its lines as JSON."""
    with processes.local_queue(QUEUE) as endpoint, processes.receiver("app-secret") as (address, arrived):
        webhooks = [{"url": f"{address}/{status}/"} for status in (200, 410, 500)]
        settings = environment(endpoint, "", DEFAULT_APP_WEBHOOKS=json.dumps(webhooks), METRICS_EMF="true",
                               WEBHOOKS_RETRY_WINDOW_SECONDS="2")
        processes.run(["enqueue", "--event", "client_event"], settings)
        with processes.process(["run"], settings) as (_, lines):
            processes.until(lambda: any("dead-lettered" in line for line in lines), "a dead letter")
            _, scrape = processes.get(f"http://127.0.0.1:{settings['METRICS_PORT']}/metrics")
            processes.until(lambda: any('"_aws"' in line for line in lines), "an EMF line")
    yield scrape, [json.loads(line) for line in lines if line.startswith("{")]


def exported(scrape):
    """The names of all series, those of histograms with their suffixes, and those declared but without a series yet."""
    names = set(re.findall(r"^([a-z_]+)(?:\{| )", scrape, re.M))
    for name, kind in re.findall(r"^# TYPE ([a-z_]+) (\w+)$", scrape, re.M):
        names.add({"counter": f"{name}_total", "info": f"{name}_info"}.get(kind, name))
    return names


def test_prometheus_takes_the_scrape_without_a_word(worker):
    scrape, _ = worker
    checked = subprocess.run(["promtool", "check", "metrics"], input=scrape, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    series = [line.rsplit(" ", 1)[0] for line in scrape.splitlines() if line and not line.startswith("#")]
    assert len(series) == len(set(series)), {name for name in series if series.count(name) > 1}


def test_alerts_and_dashboard_name_metrics_that_are_exported(worker):
    scrape, _ = worker
    named = {name for expression in alert_expressions() + dashboard_expressions() for name in NAME.findall(expression)}
    assert len(named) > 20
    assert named <= exported(scrape)


def test_labels_in_alerts_and_dashboard_are_exported(worker):
    scrape, _ = worker
    series = re.findall(r"^([a-z_]+)\{(.*?)\} ", scrape, re.M)
    for expression in alert_expressions() + dashboard_expressions():
        for by in re.findall(r"by \(([a-z_, ]+)\)", expression):
            for label in set(by.split(", ")) - {"le", "job", "instance", "alertname"}:
                named = set(NAME.findall(expression))
                assert any(name in named and f'{label}="' in labels for name, labels in series), (expression, label)


def test_no_rate_by_app_or_destination_counts_those_that_lost_their_place():
    """Their counts move to `other` at once: nothing failed or was delivered then."""
    asked = [expression for expression in alert_expressions() + dashboard_expressions()
             if re.search(r"\bhookferry_(app|destination)_[a-z_]+_total\b", expression)
             and re.search(r"by \([^)]*\b(app|destination|webhook)\b", expression)]
    assert len(asked) >= 3
    for expression in asked:
        selectors = re.findall(r"hookferry_(?:app|destination)_[a-z_]+_total\{([^}]*)\}", expression)
        assert selectors and all('app!="other"' in selector for selector in selectors), expression


def test_the_dashboards_expressions_are_promql(tmp_path):
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m").replace("$job", ".*")
         .replace("$instance", ".*")}
        for number, expression in enumerate(dashboard_expressions())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def query():
    body = json.loads(templates.template()["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    return body["widgets"][0]["properties"]["query"]


def test_the_logs_query_names_fields_of_real_lines(worker):
    _, lines = worker
    fields = set(re.findall(r"\((\w+)\)", query())) | set(re.search(r" by ([\w, ]+) \|", query())[1].split(", "))
    fields -= {"timestamp", "level"}
    by_message = {line.get("message"): line for line in lines if line.get("level") == "WARN"}
    for message in ("delivery failed", "job dead-lettered"):
        missing = fields - set(by_message[message])
        assert not missing, (message, missing, by_message[message])
    assert {"timestamp", "level"} <= set(by_message["job dead-lettered"])


def test_readme_has_the_same_query():
    readme = (processes.ROOT / "README.md").read_text()
    asked = query().split(" | ", 1)[1]
    assert " ".join(asked.split()) in " ".join(re.sub(r"\s*\n\s*", " ", readme).split())


def emf_metrics(lines):
    """{(namespace, metric, dimensions)} of the embedded metric lines."""
    found = set()
    for line in lines:
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for dimensions in directive["Dimensions"]:
                for metric in directive["Metrics"]:
                    assert metric["Name"] in line and all(dimension in line for dimension in dimensions)
                    found.add((directive["Namespace"], metric["Name"], tuple(dimensions), metric.get("Unit")))
    return found


def test_the_templates_own_metrics_are_ones_that_the_worker_writes(worker):
    _, lines = worker
    written = emf_metrics(lines)
    resources = templates.template()["Resources"]
    scaling = resources["Scaling"]["Properties"]["TargetTrackingScalingPolicyConfiguration"][
        "CustomizedMetricSpecification"]
    asked = [scaling] + [resource["Properties"] for resource in resources.values()
                         if resource["Type"] == "AWS::CloudWatch::Alarm"
                         and resource["Properties"].get("Namespace") == "hookferry"]
    assert len(asked) >= 2
    for metric in asked:
        dimensions = tuple(dimension["Name"] for dimension in metric["Dimensions"])
        matching = [unit for namespace, name, given, unit in written
                    if (namespace, name, given) == (metric["Namespace"], metric["MetricName"], dimensions)]
        assert matching, (metric["MetricName"], written)
        if "Unit" in metric:
            assert metric["Unit"] in matching
    body = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for name, dimension in re.findall(r'\["hookferry", "(\w+)", "(\w+)"', body):
        assert any(found[:3] == ("hookferry", name, (dimension,)) for found in written), name
    # The value of the dimension is the queue's name, as the template has it.
    assert {line["Queue"] for line in lines if "_aws" in line} == {QUEUE}


def test_the_oldest_age_alarm_follows_the_retry_window():
    alarm = templates.template()["Resources"]["OldestAgeAlarm"]["Properties"]
    told = [metric for metric in alarm["Metrics"] if metric["ReturnData"]]
    assert [metric["Expression"] for metric in told] == [{"Fn::Sub": "age - ${RetryWindowSeconds}"}]


def test_panels_show_what_their_titles_say():
    body = json.loads(templates.template()["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    titles = {widget["properties"]["title"]: json.dumps(widget) for widget in body["widgets"]}
    assert "tasks" in titles["Places taken (%) and tasks"].replace("and tasks", "")
    expressions = {panel["title"]: str([target["expr"] for target in panel["targets"]]) for panel in dashboard()["panels"]}
    assert "process_cpu_seconds_total" in expressions["Memory, CPU"]
