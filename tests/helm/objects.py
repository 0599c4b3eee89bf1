"""What Kubernetes asks of objects beyond their schema: text that stays text, names, labels, keys."""

import re

import jsonschema
import yaml

# What helm and Kubernetes read as numbers although Python's YAML does not.
NUMBER = re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+|0o[0-7_]+|0b[01_]+)$")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
KEY = re.compile(r"[-._a-zA-Z0-9]+$")
# Names that become host names; and names with room for what the controllers append.
HOSTS = ("Service", "StatefulSet")
NAME_MAX = {"Service": 63, "StatefulSet": 52, "Job": 63, "CronJob": 52}


class Loader(yaml.CSafeLoader):
    """Strict: takes for a number whatever any reader would, and no key twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(it, deep=True) for it, _ in node.value]
        twice = [it for it in keys if keys.count(it) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver("!number", NUMBER, list("-+0123456789"))
Loader.add_constructor("!number", lambda loader, node: float("nan"))


def load(text):
    return [it for it in yaml.load_all(text, Loader) if it]


def labels(it):
    """Every map of labels in an object."""
    if isinstance(it, dict):
        for key, value in it.items():
            if key in ("labels", "matchLabels") and isinstance(value, dict):
                yield value
            else:
                yield from labels(value)
    elif isinstance(it, list):
        for value in it:
            yield from labels(value)


def faults(objects):
    """What the API server would say of a rendering that fits the schemas."""
    found, names = [], [(it["kind"], it["metadata"]["name"]) for it in objects]
    found += [f"twice: {it}" for it in set(names) if names.count(it) > 1]
    for it in objects:
        kind, name = it["kind"], it["metadata"]["name"]
        rule = LABEL if kind in HOSTS else SUBDOMAIN
        if not rule.match(name) or NAME_MAX.get(kind, 253) < len(name):
            found.append(f"{kind}: the name {name}")
        for pairs in labels(it):
            for key, value in pairs.items():
                if not isinstance(value, str) or not VALUE.match(value) or 63 < len(value):
                    found.append(f"{kind} {name}: the label {key}: {value!r}")
        if kind == "ConfigMap":
            bad = [key for key in it["data"] if not KEY.match(key) or 253 < len(key)]
            found += [f"ConfigMap {name}: the key {key}" for key in bad]
    return found


def leaves(it):
    if isinstance(it, dict):
        for value in it.values():
            yield from leaves(value)
    elif isinstance(it, list):
        for value in it:
            yield from leaves(value)
    else:
        yield it


def strict(schema):
    """A definition's schema that takes no member which it does not name."""
    if isinstance(schema, list):
        return [strict(it) for it in schema]
    if not isinstance(schema, dict):
        return schema
    closed = "properties" in schema and "additionalProperties" not in schema
    closed = closed and not schema.get("x-kubernetes-preserve-unknown-fields")
    more = {"additionalProperties": False} if closed else {}
    return {key: strict(it) for key, it in schema.items()} | more


class Definitions:
    """Of the objects that are not Kubernetes' own, by API version and kind."""

    def __init__(self, directory):
        self.schemas = {}
        for file in directory.glob("*.yaml"):
            for it in yaml.load_all(file.read_text(), yaml.CSafeLoader):
                if it and it["kind"] == "CustomResourceDefinition":
                    self.add(it["spec"])

    def add(self, spec):
        for it in spec["versions"]:
            if it["served"]:
                key = f"{spec['group']}/{it['name']}", spec["names"]["kind"]
                self.schemas[key] = strict(it["schema"]["openAPIV3Schema"])

    def has(self, it):
        return (it["apiVersion"], it["kind"]) in self.schemas

    def fault(self, it):
        """What is wrong with an object; the patterns are Go's, so the schema itself is not checked."""
        schema = self.schemas[it["apiVersion"], it["kind"]]
        return next(jsonschema.Draft202012Validator(schema).iter_errors(it), None)
