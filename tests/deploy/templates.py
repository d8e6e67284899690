"""Reads the template, the task definitions and the policies of deploy/."""

import json

import yaml

from processes import DEPLOY

# Which permission a call needs, where it is not that of its own name.
PERMISSIONS = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, as what they stand for."""


def short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {"Ref" if suffix == "Ref" else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", short_form)


def template():
    return yaml.load((DEPLOY / "cloudformation.yaml").read_text(), Loader)


def resolved(value, names):
    """A value of the template with what its functions come to; `names` says what is referred to."""
    if isinstance(value, list):
        return [resolved(item, names) for item in value]
    if not isinstance(value, dict) or len(value) != 1:
        return value
    (function, given), = value.items()
    if function == "Ref":
        return names[given]
    if function == "Fn::If":
        condition, yes, no = given
        return resolved(yes if resolved(template()["Conditions"][condition], names) else no, names)
    given = resolved(given, names)
    functions = {
        "Fn::Join": lambda separator, parts: separator.join(parts),
        "Fn::Split": lambda separator, text: text.split(separator),
        "Fn::Equals": lambda one, other: one == other,
        "Fn::Not": lambda holds: not holds,
    }
    return functions[function](*given)


def listed(value):
    return value if isinstance(value, list) else [value]


def template_policy(name):
    """A managed policy of the template as {resource: {action}}; the resource by its logical name."""
    granted = {}
    for statement in template()["Resources"][name]["Properties"]["PolicyDocument"]["Statement"]:
        resource = statement["Resource"]["Fn::GetAtt"][0]
        granted.setdefault(resource, set()).update(listed(statement["Action"]))
    return granted


def file_policy(name):
    """A policy of deploy/iam as {resource: {action}}."""
    granted = {}
    for statement in json.loads((DEPLOY / "iam" / f"{name}.json").read_text())["Statement"]:
        for resource in listed(statement["Resource"]):
            granted.setdefault(resource, set()).update(listed(statement["Action"]))
    return granted


def task_definition(name):
    return json.loads((DEPLOY / f"{name}.json").read_text())


def needed(calls, names):
    """What recorded calls need, as {resource: {action}}; `names` says which queue is which resource."""
    permissions = {}
    for queue, action in calls:
        permissions.setdefault(names[queue], set()).add(f"sqs:{PERMISSIONS.get(action, action)}")
    return permissions
