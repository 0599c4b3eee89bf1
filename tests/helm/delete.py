"""Deletes jobs through a sidecar and a central gate, both started from what the charts render.

Usage: delete.py WORK LYCHGATE
The emulator is that of `lychgate demo`, the tokens are a test issuer's, the workloads are the scripts
of the examples with the environment that their charts give them. Started by tests/helm/run.
"""

import base64
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

import yaml

import charts
import collector
import pod

ISSUER = "https://kubernetes.default.svc.cluster.local"
DEADLINE_S = 60
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

# Of the demo's jobs.
FINE = "3faf5c03-aaa1-4cbe-879d-24b05d997347"
FINE_TOO = "0c4e7a52-93d8-4b1f-8a06-5d2e9b7c1f40"
UNTAGGED = "e8d13f6b-7a90-4c25-b4e8-1f6c52a7d093"
PROD = "71b8d6e4-2f35-4c9a-b0d7-e86a4f1c9235"
OTHERS = "5e02c9d8-41b7-4f6a-8c3e-97a1d0f4b658"
FEDERATED = "b7e41d93-c5a6-4f08-9d2b-60e8a3f7c514"
GONE = "00000000-0000-4000-8000-000000000000"
RUNNING = "a94f0b17-6c2d-4e83-9f51-08d7b3e6c24a"


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens as a cluster's API server does."""

    def __init__(self, work):
        self.key = work / "issuer.pem"
        self.openssl("genrsa", "-out", str(self.key), "2048")
        modulus = self.openssl("rsa", "-in", str(self.key), "-noout", "-modulus")
        number = bytes.fromhex(modulus.decode().strip().removeprefix("Modulus="))
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "test", "e": "AQAB"}
        self.jwks = json.dumps({"keys": [key | {"n": base64url(number)}]})

    @staticmethod
    def openssl(*arguments, data=None):
        return subprocess.run(
            ["openssl", *arguments], input=data, capture_output=True, check=True
        ).stdout

    def token(self, name, audience):
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": [audience],
            "sub": f"system:serviceaccount:vision:{name}",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "kubernetes.io": {"namespace": "vision", "serviceaccount": {"name": name}},
        }
        head = {"alg": "RS256", "kid": "test"}
        text = ".".join(base64url(json.dumps(it).encode()) for it in (head, claims))
        signature = self.openssl("dgst", "-sha256", "-sign", str(self.key), data=text.encode())
        return f"{text}.{base64url(signature)}"


class Process:
    """A running gate; `log` is where its messages go."""

    def __init__(self, lychgate, config, admin, log):
        self.lychgate, self.admin, self.log = lychgate, f"127.0.0.1:{admin}", log
        with open(log, "w", encoding="utf-8") as file:
            command = [lychgate, "serve", "--config", str(config)]
            self.process = subprocess.Popen(command, stderr=file)

    def is_ready(self):
        ask = [self.lychgate, "health", "--ready", "--admin", self.admin]
        return subprocess.run(ask, capture_output=True).returncode == 0

    def is_alive(self):
        ask = [self.lychgate, "health", "--admin", self.admin]
        return subprocess.run(ask, capture_output=True).returncode == 0

    def stop(self):
        self.process.terminate()
        return self.process.wait(DEADLINE_S)


def eventually(holds):
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.05)
    return False


def start_demo(lychgate):
    """The emulator of a demo; what it printed."""
    ports = [it for flag in ("--gate", "--admin", "--emulator") for it in (flag, "127.0.0.1:0")]
    process = subprocess.Popen(
        [lychgate, "demo", "--format", "json", *ports],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    text = ""
    for line in process.stdout:
        text += line
        if line == "}\n":
            break
    return process, json.loads(text)


class World:
    """The emulator, the central gate, and what workloads need to reach it."""

    def __init__(self, work, lychgate):
        self.work, self.lychgate = work / "delete", lychgate
        self.work.mkdir(exist_ok=True)
        self.helm = pod.Helm(work / "bin/helm", charts.CHARTS, work / "charts")
        self.collector = collector.Collector()
        self.issuer = Issuer(self.work)
        self.processes = []
        demo, self.demo = start_demo(lychgate)
        self.processes.append(demo)
        self.port, self.admin = free_port(), free_port()

    def render(self, release, chart, namespace, values):
        file = self.work / f"{release}.values.yaml"
        file.write_text(yaml.safe_dump(values))
        base = ["--values", "examples/gate.yaml"] if chart == "lychgate" else []
        arguments = ["--namespace", namespace, *base, "--values", str(file)]
        return self.helm.template(release, chart, *arguments)[1]

    def start(self, name, files, admin):
        files.edit(lambda it: it["admin"].update(address=f"127.0.0.1:{admin}"))
        process = Process(self.lychgate, files.config, admin, self.work / f"{name}.log")
        self.processes.append(process.process)
        return process

    def start_gate(self):
        """As examples/gate.yaml has it, but for where things are."""
        values = yaml.safe_load((charts.CHARTS / "examples/gate.yaml").read_text())
        config = values["config"]
        jwks = {"file": "/etc/lychgate/secrets/issuer/jwks.json"}
        config["identity"]["jwt"][0]["jwks"] = jwks
        config["upstreams"][0]["endpoint"] = self.demo["emulator"]
        config["telemetry"] = {"otlp": self.collector.url}
        values["secrets"]["issuer"] = {"secretName": "issuer"}
        objects = self.render("lychgate", "lychgate", "lychgate", values)
        spec = pod.pod_spec(pod.find(objects, "StatefulSet", "lychgate"))
        given = charts.given() | {"issuer": {"jwks.json": self.issuer.jwks}}
        given["lychgate-cloud"] = {"cloud.yaml": json.dumps(self.demo["cloud_key"])}
        files = pod.Pod(self.work / "gate", objects, spec, spec["containers"][0], given)
        files.edit(lambda it: it["listen"][0].update(address=f"127.0.0.1:{self.port}"))
        return self.start("gate", files, self.admin)

    def phase(self, job):
        """Of a job at the emulator; None when it is gone."""
        with urllib.request.urlopen(f"{self.demo['emulator']}/emulator/jobs") as answer:
            jobs = {it["details"]["metadata"]["id"]: it["details"] for it in json.load(answer)}
        return jobs[job]["status"]["phase"] if job in jobs else None

    def is_gone(self, job):
        return self.phase(job) in (None, "Terminating")

    def stop(self):
        for it in self.processes:
            it.terminate()
        for it in self.processes:
            it.wait(DEADLINE_S)


class Workload:
    """One of the examples: its sidecar, and its script."""

    def __init__(self, world, release, chart, kind, token):
        self.world, self.release, self.token = world, release, token
        self.port, self.admin = free_port(), free_port()
        sidecar = {
            "gate": {"endpoint": f"https://localhost:{world.port}"},
            "port": self.port,
            "adminPort": self.admin,
            "config": {"telemetry": {"otlp": world.collector.url}},
        }
        values = {"lychgate-sidecar": sidecar, "modelarts": world.demo["emulator"], "days": 0}
        self.objects = world.render(release, chart, "vision", values)
        self.spec = pod.pod_spec(pod.find(self.objects, kind, release))

    def start(self):
        given = charts.given() | {"tokens": {"lychgate": self.token or ""}}
        container = self.spec["initContainers"][0]
        root = self.world.work / self.release
        files = pod.Pod(root, self.objects, self.spec, container, given)
        if self.token is None:
            (root / "etc/lychgate/token/token").unlink()
        return self.world.start(self.release, files, self.admin)

    def delete(self, job, headers=()):
        """What a bare HTTP client sees: status and error code."""
        project = self.world.demo["project_id"]
        url = f"http://127.0.0.1:{self.port}/v2/{project}/training-jobs/{job}"
        request = urllib.request.Request(url, method="DELETE", headers=dict(headers))
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                return answer.status, None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["error_code"]

    def run(self, *arguments, **environment):
        """The workload's own container, as a process."""
        container = self.spec["containers"][0]
        root = self.world.work / f"{self.release}-script"
        files = pod.Pod(root, self.objects, self.spec, container, charts.given())
        command = [sys.executable, files.relocate(container["command"][1])]
        given = {it["name"]: it["value"] for it in container["env"]}
        given["HOME"] = str(root)
        return subprocess.run(
            command + list(arguments or container.get("args", [])),
            env=os.environ | given | environment,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE_S,
        )


def check_workload(check, world):
    token = world.issuer.token("experiment", "lychgate")
    workload = Workload(world, "experiment", "examples/workload", "Job", token)
    sidecar = workload.start()
    check("the sidecar gets ready", eventually(sidecar.is_ready), sidecar.log.read_text())
    answer = workload.delete(UNTAGGED, {"traceparent": f"00-{TRACE}-{SPAN}-01"})
    check("a delete through both: 202", answer == (202, None), answer)
    check("and the job is gone", world.is_gone(UNTAGGED), world.phase(UNTAGGED))
    run = workload.run()
    check("the example's script deletes with the SDK", f"{FINE}: deleted" in run.stdout, run)
    run = workload.run(FINE_TOO, PROD)
    refused = f"{PROD}: 403 Lychgate.4031" in run.stdout and run.returncode == 3
    check("the central gate's guardrails hold", refused and not world.is_gone(PROD), run)
    check("what was allowed beside it is gone", world.is_gone(FINE_TOO), run)
    run = workload.run(GONE)
    gone = f"{GONE}: 400 ModelArts.2775" in run.stdout and run.returncode == 0
    check("a job that is gone already is no failure", gone, run)
    check("the sidecar ends on SIGTERM", sidecar.stop() == 0, sidecar.log.read_text())


def check_trace(check, world):
    """One trace: the caller's span, above the sidecar's, above the central gate's."""

    def roots():
        spans = [it for it in world.collector.spans if it[0] == TRACE]
        first = [span for _, span, parent in spans if parent == SPAN]
        children = {span: parent for _, span, parent in spans}

        def depth(span):
            return 0 if span == SPAN else 1 + depth(children[span]) if span in children else -9

        return first, max((depth(it) for it in children), default=0)

    # Sidecar: request, and the sending in it. Gate: request, and its stages.
    seen = eventually(lambda: len(roots()[0]) == 1 and 4 <= roots()[1])
    check("one trace shows both", seen, [it for it in world.collector.spans if it[0] == TRACE])


def check_refusals(check, world):
    """Without a token that the central gate takes, nothing is deleted."""
    stranger = world.issuer.token("stranger", "lychgate")
    elsewhere = world.issuer.token("experiment", "elsewhere")
    for name, token, expected in [
        ("no token", None, (503, "Lychgate.5034")),
        ("a token for another audience", elsewhere, (401, "Lychgate.4015")),
        ("a service account without policies", stranger, (403, "Lychgate.4033")),
    ]:
        workload = Workload(world, "experiment", "examples/workload", "Job", token)
        sidecar = workload.start()
        eventually(sidecar.is_alive if token is None else sidecar.is_ready)
        check(f"{name}: {'not ' if token is None else ''}ready", sidecar.is_ready() == bool(token))
        answer = workload.delete(OTHERS)
        check(f"{name}: {expected}", answer == expected, answer)
        check(f"{name}: the job is there", not world.is_gone(OTHERS), world.phase(OTHERS))
        sidecar.stop()


def check_cleanup(check, world):
    token = world.issuer.token("cleanup", "lychgate")
    workload = Workload(world, "cleanup", "examples/cleanup", "CronJob", token)
    sidecar = workload.start()
    eventually(sidecar.is_ready)
    key = world.demo["cloud_key"]
    run = workload.run(HUAWEICLOUD_SDK_AK=key["ak"], HUAWEICLOUD_SDK_SK=key["sk"])
    # Its pool is not known, and so not whether the policy fits, however often it is asked.
    undecided = run.returncode == 0 and f"{FEDERATED}: 409 Lychgate.4091" in run.stdout
    check("the clean-up is told what nobody can decide, and does not fail for it", undecided, run)
    check("the clean-up deletes what it may", f"{OTHERS}: deleted" in run.stdout, run)
    check("and is told what it may not", f"{PROD}: 403 Lychgate.4031" in run.stdout, run)
    check("finished jobs alone", not world.is_gone(RUNNING), run)
    sidecar.stop()


def check_reconcile(check, world):
    """The example's container, as a process: before somebody walks round the gate, and after."""
    url = f"{world.demo['emulator']}/emulator"
    values = {"since": "1h", "lateness": "0s", "options": ["--complete"], "ledgers": ["lychgate"]}
    objects = world.render("reconcile", "examples/reconcile", "lychgate", values)
    spec = pod.pod_spec(pod.find(objects, "CronJob", "reconcile"))
    container = spec["containers"][0]
    files = pod.Pod(world.work / "reconcile", objects, spec, container, charts.given())
    ledger = world.work / "gate/var/lib/lychgate"

    def run():
        shutil.copytree(ledger, files.path("/ledgers/lychgate"), dirs_exist_ok=True)
        with urllib.request.urlopen(f"{url}/trail") as answer:
            files.path("/trail/trail.json").write_bytes(answer.read())
        command = [world.lychgate, *map(files.relocate, container["args"])]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
        return ran, files.path("/metrics/lychgate.prom").read_text()

    ran, metrics = run()
    clean = ran.returncode == 0 and "lychgate_reconcile_bypasses 0\n" in metrics
    check("the comparison: everything went through the gate", clean, ran)
    console = json.dumps({"how": "console", "job": FEDERATED, "user": "mallory"}).encode()
    urllib.request.urlopen(f"{url}/past-the-gate", data=console).close()
    ran, metrics = run()
    found = ran.returncode == 2 and "lychgate_reconcile_bypasses 1\n" in metrics
    check("the comparison finds who walked round the gate", found and "mallory" in ran.stdout, ran)


def main():
    work, lychgate = sys.argv[1:]
    check = charts.Checks()
    world = World(pathlib.Path(work), lychgate)
    try:
        gate = world.start_gate()
        check("the central gate gets ready", eventually(gate.is_ready), gate.log.read_text())
        check_workload(check, world)
        check_trace(check, world)
        check_refusals(check, world)
        check_cleanup(check, world)
        check_reconcile(check, world)
    finally:
        world.stop()
    if check.failures:
        print(gate.log.read_text()[-4000:], file=sys.stderr)
        sys.exit(f"tests/helm: FAILED: {check.failures}")


if __name__ == "__main__":
    main()
