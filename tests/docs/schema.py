"""Reads configuration files and policy directories as an editor would, with the schemas of docs/.

Usage: schema.py FILE…, configurations, every one of which must be valid, as must the policies that are
shipped. Then mistakes are made in the first of each kind, and each must be seen.
"""

import copy
import json
import pathlib
import sys

from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

ROOT = pathlib.Path(__file__).parent.parent.parent

# Where, and what is put there; None takes it away.
MISTAKES = {
    "lychgate": [
        (["ledgr"], {}),
        (["listen", 0, "adress"], "0.0.0.0:8480"),
        (["listen"], None),
        (["timeouts", "connect"], 2),
        (["timeouts", "connect"], "2 s"),
        (["ledger", "reserve"], "64MB"),
        (["policies", "denials"], "some"),
        (["upstreams", 0, "kind"], "modelart"),
        (["identity", "jwt", 0, "algorithms"], "RS256"),
        (["limits", "in_flight"], "512"),
        (["identity", "keys", "file"], None),
    ],
    "policy": [
        (["Version"], "1.1"),
        (["Statement", 0, "Effect"], "deny"),
        (["Statement", 0, "Condition", "StringEqual"], {"g:UserName": "x"}),
        (["Statement", 0, "Condition", "StringEquals"], {"UserName": "x"}),
        (["Statement", 0, "Condition", "NumberLessThan"], {"lychgate:jobAge": 3600}),
        (["Statement", 0, "Action"], None),
        (["Statement", 0, "NotAction"], ["*"]),
        (["Statement", 0, "Principal"], "*"),
        (["Statement", 0, "Resource"], ["modelarts:trainJob:*"]),
    ],
    "attachments": [
        ([0, "to"], ["alice"]),
        ([0, "to"], ["group:corp/*"]),
        ([0, "policys"], ["own-jobs"]),
        ([0, "projects"], []),
    ],
    "suite": [
        (["cases", 0, "expect"], "denied"),
        (["cases", 0, "name"], None),
        (["cases", 0, "job"], "absent"),
        (["cases", 0, "principal"], {"nam": "x"}),
        (["cases", 0, "request"], {"unavailable": ["time"]}),
        (["cases", 0, "request"], {"action": "modelarts:trainJob:update"}),
        (["defaults"], {"expect": "deny"}),
    ],
}


def read(path):
    # YAML 1.2, in which `off` is a word.
    return YAML(typ="safe", pure=True).load(path)


def main():
    files = {name: [] for name in MISTAKES}
    files["lychgate"] = [pathlib.Path(it) for it in sys.argv[1:]]
    for directory in ["policies", "examples/policies"]:
        root = ROOT / directory
        files["policy"] += sorted(root.glob("guardrails/*.json")) + sorted(root.glob("identity/*.json"))
        files["attachments"] += sorted(root.glob("attachments.yaml"))
        files["suite"] += sorted(root.glob("tests/*.yaml"))
    wrong = [it for name in MISTAKES for it in check(name, files[name])]
    if wrong:
        sys.exit("\n".join(wrong))


def check(name, files):
    schema = ROOT / f"docs/{name}.schema.json"
    validator = Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))
    validator.check_schema(validator.schema)
    documents = [read(it) for it in files]
    for path, document in zip(files, documents):
        for it in validator.iter_errors(document):
            yield f"{path}: {it.json_path}: {it.message}"
    first = next(it for it in documents if name != "suite" or "cases" in it)
    for path, value in MISTAKES[name]:
        document = copy.deepcopy(first)
        parent = document
        for step in path[:-1]:
            parent = parent[step]
        if value is None:
            del parent[path[-1]]
        else:
            parent[path[-1]] = value
        if validator.is_valid(document):
            yield f"not seen by {schema.name}: {path} = {value}"
    print(f"ok     {schema.name}: {len(files)} files, {len(MISTAKES[name])} mistakes")


main()
