"""Reads configuration files as an editor would, with docs/lychgate.schema.json.

Usage: schema.py FILE…, every one of which must be valid. Then mistakes are made in the first, and each
must be seen.
"""

import copy
import json
import pathlib
import sys

from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

SCHEMA = pathlib.Path(__file__).parent.parent.parent / "docs/lychgate.schema.json"

# Where, and what is put there; None takes it away.
MISTAKES = [
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
]


def main():
    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    validator.check_schema(validator.schema)
    # YAML 1.2, in which `off` is a word.
    configs = [YAML(typ="safe", pure=True).load(pathlib.Path(it)) for it in sys.argv[1:]]
    wrong = []
    for name, config in zip(sys.argv[1:], configs):
        wrong += [f"{name}: {it.json_path}: {it.message}" for it in validator.iter_errors(config)]
    for path, value in MISTAKES:
        config = copy.deepcopy(configs[0])
        parent = config
        for step in path[:-1]:
            parent = parent[step]
        if value is None:
            del parent[path[-1]]
        else:
            parent[path[-1]] = value
        if validator.is_valid(config):
            wrong.append(f"not seen: {path} = {value}")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"ok     docs/lychgate.schema.json: {len(configs)} files, {len(MISTAKES)} mistakes")


main()
