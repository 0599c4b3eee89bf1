"""Lets a real gate delete and deny, and a forwarder before it, with a real OpenTelemetry Collector
beside them, and checks what the collector wrote: spans, parents, attributes, resource, sampling, and the
shipped records of the ledger.

Usage: drive.py LYCHGATE COLLECTOR DIRECTORY
Started by tests/collector/run, which builds the collector. Needs nothing but Python's standard library.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).parent.parent.parent
FINISHED = "3faf5c03-aaa1-4cbe-879d-24b05d997347"
OTHER_FINISHED = "0c4e7a52-93d8-4b1f-8a06-5d2e9b7c1f40"
PROTECTED = "71b8d6e4-2f35-4c9a-b0d7-e86a4f1c9235"
CALLER_SPAN = "b7ad6b7169203331"
WAIT_S = 30
INTERNAL, SERVER, CLIENT = 1, 2, 3
JOB = "/v2/{project_id}/training-jobs/{training_job_id}"
TAGS = "/v2/{project_id}/modelarts-training-job/{training_job_id}/tags"


def fail(text):
    sys.exit(f"tests/collector: FAILED: {text}")


def check(name, holds, seen):
    if not holds:
        fail(f"{name}: {json.dumps(seen, indent=1, default=str)[:3000]}")
    print(f"ok     {name}", flush=True)


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def until(what, ask):
    """Asks until there is something."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = ask()
        if found:
            return found
        time.sleep(0.05)
    return fail(f"waited in vain for {what}")


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


class Process:
    """A process that is ended with SIGTERM and must then end well."""

    def __init__(self, name, command, directory):
        self.name = name
        self.log = open(directory / f"{name}.log", "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [str(it) for it in command], stdout=self.log, stderr=self.log, cwd=directory
        )

    def stop(self):
        self.process.terminate()
        code = self.process.wait(WAIT_S)
        check(f"{self.name} ends well", code == 0, code)


def start_collector(binary, directory):
    port = free_port()
    config = (ROOT / "tests/collector/config.yaml").read_text(encoding="utf-8")
    (directory / "collector.yaml").write_text(config.replace("PORT", str(port)), encoding="utf-8")
    process = Process("collector", [binary, "--config", "collector.yaml"], directory)

    def listens():
        with socket.socket() as it:
            return it.connect_ex(("127.0.0.1", port)) == 0

    until("the collector", listens)
    return process, f"http://127.0.0.1:{port}"


class Demo:
    """The emulated cloud; the demo's own gate stays idle."""

    def __init__(self, lychgate, directory):
        address = "127.0.0.1:0"
        self.process = subprocess.Popen(
            [lychgate, "demo", "--format", "json", "--gate", address, "--admin", address]
            + ["--emulator", address],
            stdout=subprocess.PIPE,
            stderr=open(directory / "demo.log", "w", encoding="utf-8"),
            env=dict(os.environ, TMPDIR=str(directory)),
            text=True,
        )
        text = ""
        for line in self.process.stdout:
            text += line
            try:
                self.document = json.loads(text)
                (files,) = directory.glob("lychgate-demo-*")
                self.jwks = files / "jwks.json"
                return
            except json.JSONDecodeError:
                continue
        fail("the demo printed no document")

    def token(self):
        """Alice's."""
        call = next(it for it in self.document["calls"] if it["name"] == "allowed")
        return call["headers"]["Authorization"].removeprefix("Bearer ")

    def requests(self):
        with urllib.request.urlopen(f"{self.document['emulator']}/emulator/requests") as response:
            return json.load(response)

    def stop(self):
        self.process.terminate()
        self.process.wait(WAIT_S)


class Server:
    """`lychgate serve` with a listener for each caller."""

    def __init__(self, name, lychgate, directory, callers, project):
        self.directory, self.name, self.lychgate, self.project = directory / name, name, lychgate, project
        self.directory.mkdir()
        self.ports = {name: free_port() for name in [*callers, "admin"]}

    def start(self, config):
        config["admin"] = {"address": f"127.0.0.1:{self.ports['admin']}"}
        (self.directory / "lychgate.yaml").write_text(json.dumps(config), encoding="utf-8")
        command = [self.lychgate, "serve", "--config", "lychgate.yaml"]
        self.process = Process(self.name, command, self.directory)
        ready = f"http://127.0.0.1:{self.ports['admin']}/readyz"
        until(f"the gate {self.name}", lambda: answers(ready))

    def put(self, name, text):
        (self.directory / name).write_text(text, encoding="utf-8")
        (self.directory / name).chmod(0o600)

    def listener(self, name, groups, tags):
        principal = {"name": name, "groups": groups, "tags": tags}
        return {"address": f"127.0.0.1:{self.ports[name]}", "principal": principal}

    def delete(self, who, job, trace_id=None, flags="01"):
        """Status and the gate's own request ID."""
        url = f"http://127.0.0.1:{self.ports[who]}/v2/{self.project}/training-jobs/{job}"
        headers = {"traceparent": f"00-{trace_id}-{CALLER_SPAN}-{flags}"} if trace_id else {}
        request = urllib.request.Request(url, method="DELETE", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as response:
                return response.status, response.headers["X-Lychgate-Request-Id"]
        except urllib.error.HTTPError as error:
            return error.code, error.headers["X-Lychgate-Request-Id"]


class Forwarder(Server):
    """A sidecar before a gate, with alice's token."""

    def __init__(self, lychgate, directory, demo, collector, gate):
        super().__init__("forwarder", lychgate, directory, ["app"], gate.project)
        self.put("token", demo.token())
        central = {"name": "central", "kind": "gate", "token": "token"}
        self.start(
            {
                "listen": [self.listener("app", [], {})],
                "upstreams": [central | {"endpoint": f"http://127.0.0.1:{gate.ports['tokens']}"}],
                "telemetry": {"otlp": collector},
            }
        )


class Gate(Server):
    """One listener for alice, one for carol, whom nothing is granted, and one for tokens."""

    def __init__(self, name, lychgate, directory, demo, collector, ratio):
        callers = ["alice", "carol", "tokens"]
        super().__init__(name, lychgate, directory, callers, demo.document["project_id"])
        directory = self.directory
        shutil.copytree(ROOT / "policies", directory / "policies")
        attachments = directory / "policies/attachments.yaml"
        text = attachments.read_text(encoding="utf-8")
        both = text.replace("group:corp/ml-research,", "group:corp/ml-research, group:local/ml-research,")
        attachments.write_text(both, encoding="utf-8")
        shutil.copy(demo.jwks, directory / "jwks.json")
        self.put("cloud.yaml", json.dumps(demo.document["cloud_key"]))
        issuer = {
            "name": "corp",
            "issuer": "https://id.demo.example",
            "audience": ["lychgate"],
            "jwks": {"file": "jwks.json"},
            "algorithms": ["EdDSA"],
            "claims": {"groups": "groups", "tags": {"team": "team"}},
        }
        config = {
            "listen": [
                self.listener("alice", ["ml-research"], {"team": "vision"}),
                self.listener("carol", [], {}),
                {"address": f"127.0.0.1:{self.ports['tokens']}"},
            ],
            "identity": {"jwt": [issuer]},
            "policies": {"directory": "policies"},
            "upstreams": [
                {
                    "name": "emulator",
                    "kind": "modelarts",
                    "projects": [self.project],
                    "endpoint": demo.document["emulator"],
                    "region": "cn-north-4",
                    "account": "123",
                    "credentials": {"file": "cloud.yaml"},
                }
            ],
            "ledger": {"directory": "ledger", "ship": True},
            "telemetry": {"otlp": collector, "ratio": ratio},
        }
        self.start(config)

    def records(self):
        """The ledger's lines, in order."""
        segments = sorted(self.directory.glob("ledger/*.jsonl"))
        return [line for it in segments for line in it.read_text(encoding="utf-8").splitlines()]


def attributes(it):
    """OTLP's list of attributes as a dictionary."""

    def value(it):
        (kind, found), *_ = it.items()
        return int(found) if kind == "intValue" else found

    return {pair["key"]: value(pair["value"]) for pair in it.get("attributes", [])}


def written(directory, signal):
    """What the collector wrote of one signal, one (resource, scope, item) each."""
    names = {"spans": ("resourceSpans", "scopeSpans", "spans"), "logs": ("resourceLogs", "scopeLogs", "logRecords")}
    outer, middle, inner = names[signal]
    found = []
    for line in (directory / "telemetry.jsonl").read_text(encoding="utf-8").splitlines():
        for resource in json.loads(line).get(outer, []):
            for scope in resource[middle]:
                found += [(resource["resource"], scope["scope"], it) for it in scope[inner]]
    return found


def one_trace(spans, trace_id):
    """The server span of a trace of one process, and the spans below it in the order of their ends."""
    spans = [it for _, _, it in spans if it["traceId"] == trace_id]
    servers = [it for it in spans if it["kind"] == SERVER]
    check(f"one server span in {trace_id}", len(servers) == 1, spans)
    return servers[0], below(servers[0], spans)


def below(server, spans):
    """The children of a server span."""
    children = [it for it in spans if it.get("parentSpanId") == server["spanId"]]
    rest = [it for it in spans if it["kind"] != SERVER]
    check("its children are below it", children == rest, spans)
    start, end = server["startTimeUnixNano"], server["endTimeUnixNano"]
    within = [start <= it["startTimeUnixNano"] <= it["endTimeUnixNano"] <= end for it in children]
    check("and within its time", all(within), spans)
    check("no links, no events", not any("links" in it or "events" in it for it in spans), spans)
    return children


def check_delete(spans, trace_id, request_id, demo, project):
    server, children = one_trace(spans, trace_id)
    check("the caller's span is the parent", server["parentSpanId"] == CALLER_SPAN, server)
    names = sorted((it["kind"], it["name"]) for it in children)
    expected = [(INTERNAL, it) for it in ("authenticate", "evaluate", "evaluate", "parse", "record", "sign")]
    expected += [(CLIENT, f"DELETE {JOB}"), (CLIENT, f"GET {JOB}"), (CLIENT, f"GET {TAGS}")]
    check("the stages of a delete", names == sorted(expected), names)
    check("the name of the server span", server["name"] == f"DELETE {JOB}", server)
    found = attributes(server)
    statement = found.pop("lychgate.statement", None)
    check("the deciding statement", statement and statement.startswith("identity/"), found)
    upstream_request_id = found.pop("lychgate.upstream_request_id", None)
    check("the cloud's request ID", bool(upstream_request_id), found)
    expected = {
        "http.request.method": "DELETE",
        "http.response.status_code": 202,
        "http.route": JOB,
        "url.path": f"/v2/{project}/training-jobs/{FINISHED}",
        "url.scheme": "http",
        "lychgate.decision": "allow",
        "lychgate.job": FINISHED,
        "lychgate.origin": "upstream",
        "lychgate.principal": "local/alice",
        "lychgate.project": project,
        "lychgate.request_id": request_id,
        "lychgate.upstream": "emulator",
    }
    check("the attributes of a delete", found == expected, [found, expected])
    sent = json.dumps(demo.requests())
    for it in children:
        if it["kind"] == CLIENT:
            traceparent = f"00-{trace_id}-{it['spanId']}-01"
            check(f"the cloud got the span of {it['name']}", traceparent in sent, traceparent)
            status = attributes(it)["http.response.status_code"]
            check("with its status", status == (202 if it["name"].startswith("DELETE") else 200), it)


def check_denial(spans, request_id, project):
    mine = [it for _, _, it in spans if attributes(it).get("lychgate.request_id") == request_id]
    check("the denial is traced", len(mine) == 1, spans)
    server, children = one_trace(spans, mine[0]["traceId"])
    check("a trace of its own", not server.get("parentSpanId"), server)
    names = {it["name"] for it in children}
    check("a denial is recorded and not sent", "record" in names and not names & {"sign", f"DELETE {JOB}"}, children)
    check("a denial is no error", not server.get("status", {}).get("code"), server)
    found = attributes(server)
    expected = {
        "http.response.status_code": 403,
        "lychgate.decision": "deny",
        "lychgate.error_code": "Lychgate.4031",
        "lychgate.origin": "gateway",
        "lychgate.principal": "local/alice",
        "lychgate.project": project,
        "lychgate.reason": "explicit",
        "lychgate.statement": "guardrails/protect#NoProd",
    }
    check("the attributes of a denial", expected.items() <= found.items(), [found, expected])


def check_two_processes(spans, trace_id):
    """caller → forwarder's server span → its client span → gate's server span → its stages"""
    found = {}
    for resource, _, it in spans:
        if it["traceId"] == trace_id:
            found.setdefault(attributes(resource)["service.instance.id"], []).append(it)
    check("one trace of two processes", len(found) == 2, found)
    servers = [(next(it for it in mine if it["kind"] == SERVER), mine) for mine in found.values()]
    servers.sort(key=lambda it: it[0].get("parentSpanId") != CALLER_SPAN)
    (forwarder, its_spans), (gate, gate_spans) = servers
    check("the caller's span is the forwarder's parent", forwarder["parentSpanId"] == CALLER_SPAN, forwarder)
    (call,) = [it for it in below(forwarder, its_spans) if it["kind"] == CLIENT]
    check("the forwarder's call is the gate's parent", gate["parentSpanId"] == call["spanId"], [call, gate])
    stages = {it["name"] for it in below(gate, gate_spans)}
    check("the gate judges, records and sends", {"evaluate", "record", "sign", f"DELETE {JOB}"} <= stages, stages)
    principals = [attributes(it).get("lychgate.principal") for it in (forwarder, gate)]
    check("each under its own name of the caller", principals == ["local/app", "corp/alice"], principals)


def check_resource(spans):
    for resource, scope, _ in spans:
        found = attributes(resource)
        if found.get("service.name") != "lychgate" or not found.get("service.version"):
            fail(f"the resource: {found}")
        if scope["name"] != "lychgate":
            fail(f"the scope: {scope}")
    instances = {attributes(it)["service.instance.id"] for it, _, _ in spans}
    check("each process is an instance of the service", len(instances) == 3, instances)


def check_records(directory, gates):
    logs = written(directory, "logs")
    bodies = [it["body"]["stringValue"] for _, _, it in logs]
    for _, _, it in logs:
        record, named = json.loads(it["body"]["stringValue"]), attributes(it)
        same = all(record[key] == named.get(f"lychgate.{key}") for key in ("ledger_id", "seq", "kind"))
        if not same:
            fail(f"the attributes of a record: {named}")
    for gate in gates:
        records = gate.records()
        check(f"{gate.name} has a ledger", 3 < len(records), records)
        check("each record of the ledger has arrived as it is", set(records) <= set(bodies), [records, bodies])
        known = set(records)
        arrived = list(dict.fromkeys(it for it in bodies if it in known))
        check("and in order", arrived == records, arrived)


def main():
    lychgate, collector, directory = sys.argv[1:]
    directory = pathlib.Path(directory)
    lychgate = str(pathlib.Path(lychgate).resolve())
    receiver, url = start_collector(pathlib.Path(collector).resolve(), directory)
    demo = Demo(lychgate, directory)
    try:
        all_traced = Gate("traced", lychgate, directory, demo, url, 1.0)
        none_traced = Gate("untraced", lychgate, directory, demo, url, 0.0)
        forwarder = Forwarder(lychgate, directory, demo, url, all_traced)
        wanted, unwanted, sampled, forwarded = (digit * 32 for digit in "1234")

        status, deleted = all_traced.delete("alice", FINISHED, wanted)
        check("a delete", status == 202, status)
        status, denied = all_traced.delete("alice", PROTECTED)
        check("a denial", status == 403, status)
        status, _ = all_traced.delete("carol", PROTECTED, unwanted, flags="00")
        check("a denial that the caller does not want traced", status == 403, status)
        status, silent = none_traced.delete("carol", PROTECTED)
        check("a denial where nothing is traced", status == 403, status)
        status, _ = none_traced.delete("carol", PROTECTED, sampled)
        check("a denial that the caller wants traced", status == 403, status)
        status, _ = forwarder.delete("app", OTHER_FINISHED, forwarded)
        check("a delete through a forwarder", status == 202, status)
        # A stop hands everything over.
        forwarder.process.stop()
        all_traced.process.stop()
        none_traced.process.stop()
        receiver.stop()

        spans = written(directory, "spans")
        project = all_traced.project
        check_resource(spans)
        check_delete(spans, wanted, deleted, demo, project)
        check_denial(spans, denied, project)
        check_two_processes(spans, forwarded)
        request_ids = {attributes(it).get("lychgate.request_id") for _, _, it in spans}
        traces = {it["traceId"] for _, _, it in spans}
        check("ratio 0 traces nothing by itself", silent not in request_ids, request_ids)
        check("but what the caller wants traced", sampled in traces, traces)
        check("and not what it does not", unwanted not in traces and len(traces) == 4, traces)
        check_records(directory, [all_traced, none_traced])
    finally:
        demo.stop()


main()
