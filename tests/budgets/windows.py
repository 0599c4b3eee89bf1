"""Counts what the budgets of a gate must know, from its ledger alone: written from docs/budgets.md and
docs/ledger.md, and from nothing of the gate's code.

Usage: windows.py --at TIME NAME=SECONDS… DIR…   prints {"NAME": {"KEY": USED}} as JSON.
"""

import calendar
import glob
import json
import re
import sys
import time

SECOND = 1_000_000_000
SENT_WITHIN = 300 * SECOND


def nanoseconds(text):
    date, fraction = re.fullmatch(r"(\d+-\d+-\d+T\d+:\d+:\d+)(?:\.(\d+))?Z", text).groups()
    whole = calendar.timegm(time.strptime(date, "%Y-%m-%dT%H:%M:%S"))
    return whole * SECOND + int((fraction or "0").ljust(9, "0"))


def records(directory):
    for path in sorted(glob.glob(f"{directory}/*.jsonl")):
        with open(path, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield json.loads(line)


def given_back(record):
    result = record["result"]
    if result in ("denied", "not_sent", "present", "refused"):
        return True
    return result == "sent" and 400 <= record.get("status", 0) <= 499


def counted(directory, at):
    """Since when each delete counts, and for what."""
    deletes = {}
    for record in records(directory):
        now = nanoseconds(record["time"])
        if record["kind"] == "decision" and record["result"] == "allow":
            since = min(at, now + SENT_WITHIN)
            deletes[record["seq"]] = {"decided": now, "since": since, "charges": record.get("charges", []), "ended": False}
        elif record["kind"] in ("outcome", "settlement") and record["of"] in deletes:
            delete = deletes[record["of"]]
            if given_back(record):
                del deletes[record["of"]]
            elif record["kind"] == "outcome":
                delete.update(since=now, ended=True)
            elif not delete["ended"]:
                delete.update(since=min(now, delete["decided"] + SENT_WITHIN), ended=True)
    return deletes.values()


def main():
    at, windows, directories = None, {}, []
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        if argument == "--at":
            at = nanoseconds(next(arguments))
        elif "=" in argument:
            name, seconds = argument.split("=")
            windows[name] = int(seconds) * SECOND
        else:
            directories.append(argument)
    used = {name: {} for name in windows}
    for directory in directories:
        for delete in counted(directory, at):
            for charge in delete["charges"]:
                name, key = charge["budget"], charge["key"]
                if name in windows and at - delete["since"] < windows[name]:
                    used[name][key] = used[name].get(key, 0) + 1
    print(json.dumps(used, sort_keys=True))


main()
