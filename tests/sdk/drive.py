"""Starts `lychgate demo`, a second gate before its emulator and a forwarder before its gate, deletes
jobs through all of them with the official SDKs, and checks what they saw; then sends the calls that
the demo printed, and checks that they are answered as printed.

Usage: drive.py LYCHGATE SDK_DIRECTORY CLIENT…, a CLIENT being python, node, java or go.
Started by tests/sdk/run, which installs the SDKs. Needs nothing but Python's standard library.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
TLS = ROOT / "tests/data/tls"
DUMMY_KEY = {"ak": "DUMMYKEY000000000000", "sk": "dummy"}
UNKNOWN_JOB = "00000000-0000-4000-8000-000000000000"
START_S = 20
STOP_S = 30
CALL_S = 60


class Demo:
    """A running `lychgate demo` on free ports; `document` is what it printed."""

    def __init__(self, lychgate, log):
        self.log = open(log, "w+", encoding="utf-8")
        address = "127.0.0.1:0"
        self.process = subprocess.Popen(
            [lychgate, "demo", "--format", "json"]
            + ["--gate", address, "--admin", address, "--emulator", address],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        # A demo that prints nothing is ended, so that the reader below gets to the end.
        timer = threading.Timer(START_S, self.process.kill)
        timer.start()
        self.document = self.read_document()
        timer.cancel()

    def read_document(self):
        """The document ends before the output does: the demo goes on serving."""
        text = ""
        for line in self.process.stdout:
            text += line
            try:
                return json.loads(text)
            except json.JSONDecodeError:
                continue
        sys.exit(f"tests/sdk: FAILED: the demo printed no document\n{text}{self.messages()}")

    def messages(self):
        """The last lines that it wrote to stderr."""
        self.log.seek(0)
        return "".join(self.log.readlines()[-50:])

    def stop(self):
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None


class Serve:
    """A running `lychgate serve` in `directory`; `addresses` are those of its listeners."""

    def __init__(self, lychgate, directory, config):
        path = directory / "lychgate.yaml"
        # JSON is YAML.
        path.write_text(json.dumps(config), encoding="utf-8")
        self.log = open(directory / "log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [lychgate, "serve", "--config", str(path)], stderr=self.log, text=True
        )
        self.addresses = self.wait_for_addresses(len(config["listen"]))

    def wait_for_addresses(self, count):
        """Its first log lines say where it listens."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            lines = [it for it in self.messages().splitlines() if '"listening"' in it]
            if len(lines) == count:
                return [json.loads(it)["address"] for it in lines]
            time.sleep(0.05)
        self.process.kill()
        sys.exit(f"tests/sdk: FAILED: a gate does not listen\n{self.messages()}")

    def messages(self):
        """What it wrote to stderr."""
        with open(self.log.name, encoding="utf-8") as log:
            return log.read()

    def stop(self):
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None


def forwarder(lychgate, directory, demo):
    """Forwards to the demo's gate with the token of one of the demo's people, as a sidecar does with
    that of its service account."""
    headers = next(it["headers"] for it in demo["calls"] if it["name"] == "allowed")
    (directory / "token").write_text(headers["Authorization"].removeprefix("Bearer "))
    upstream = {"name": "demo", "kind": "gate", "endpoint": demo["gate"], "token": "token"}
    config = {
        "listen": [{"address": "127.0.0.1:0", "principal": {"name": "sidecar"}}],
        "admin": {"address": "127.0.0.1:0"},
        "upstreams": [upstream],
    }
    return Serve(lychgate, directory, config)


def central(lychgate, directory, demo):
    """A gate before the demo's emulator: one listener with TLS for the demo's gateway key, one on
    loopback that vouches for its callers, and one as the first but without TLS."""
    shutil.copytree(ROOT / "policies", directory / "policies")
    attachments = directory / "policies/attachments.yaml"
    text = attachments.read_text(encoding="utf-8")
    text = text.replace("group:keys/jobs", "group:keys/jobs, group:local/jobs")
    attachments.write_text(text, encoding="utf-8")
    caller = {"groups": ["jobs"], "tags": {"team": "vision"}}
    key = dict(demo["access_key"], principal="cleanup", **caller)
    for name, content in {"keys.yaml": {"keys": [key]}, "cloud.yaml": demo["cloud_key"]}.items():
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    tls = {"certificate": str(TLS / "localhost.pem"), "key": str(TLS / "localhost.key")}
    upstream = {
        "name": "emulator",
        "kind": "modelarts",
        "projects": [demo["project_id"]],
        "endpoint": demo["emulator"],
        "region": "cn-north-4",
        "account": "123",
        "credentials": {"file": "cloud.yaml"},
    }
    config = {
        "listen": [
            {"address": "127.0.0.1:0", "tls": tls},
            {"address": "127.0.0.1:0", "principal": dict(caller, name="cleanup")},
            {"address": "0.0.0.0:0", "tls": "off"},
        ],
        "admin": {"address": "127.0.0.1:0"},
        "identity": {"keys": {"file": "keys.yaml"}},
        "policies": {"directory": "policies"},
        "upstreams": [upstream],
        "ledger": {"directory": "ledger"},
    }
    return Serve(lychgate, directory, config)


class Emulator:
    """The emulator's own interface, /emulator/…"""

    def __init__(self, url):
        self.url = url

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/emulator/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=CALL_S) as response:
            text = response.read()
        return json.loads(text) if text else None

    def job(self, job_id):
        jobs = self.ask("GET", "jobs")
        return next((it for it in jobs if it["details"]["metadata"]["id"] == job_id), None)

    def is_gone(self, job_id):
        """Gone, or on its way: an accepted delete may show Terminating for a while."""
        job = self.job(job_id)
        return job is None or job["details"]["status"]["phase"] == "Terminating"

    def put(self, job):
        self.ask("POST", "jobs", job)


class Checks:
    """Says what holds and counts what does not."""

    def __init__(self):
        self.failures = 0

    def __call__(self, name, holds, seen):
        print(f"ok     {name}" if holds else f"FAILED {name}: {str(seen)[:1000]}", flush=True)
        self.failures += not holds


def commands(sdk):
    """How each client is called; all take ENDPOINT PROJECT_ID WHAT."""
    classes = f"{sdk}/java/classes:{sdk}/java/jars/*"
    return {
        "python": [str(sdk / "python/bin/python"), str(HERE / "delete.py")],
        "node": ["node", str(HERE / "delete.cjs")],
        # One short call: what the JVM saves later by compiling well would never be earned.
        "java": ["java", "-XX:TieredStopAtLevel=1", "-cp", classes, "Delete"],
        "go": [str(sdk / "go/delete")],
    }


def deleter(client, sdk, home):
    """A function that makes one call with an SDK and returns what the SDK made of the answer."""
    command = commands(sdk)[client]
    # The SDKs keep an application ID in the home directory, which is none of our business.
    environment = dict(os.environ, HOME=str(home), NODE_PATH=str(sdk / "node/node_modules"))

    def delete(endpoint, project_id, key, job_id, ca=None):
        """`ca` is a PEM file: a CA for the client to trust."""
        # Node.js and Go read a variable of their own, the other two clients the first.
        trust = {name: ca for name in ("SDK_TEST_CA", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")}
        run = subprocess.run(
            command + [endpoint, project_id, job_id],
            env=dict(
                environment,
                SDK_TEST_AK=key["ak"],
                SDK_TEST_SK=key["sk"],
                **(trust if ca else {}),
            ),
            capture_output=True,
            text=True,
            timeout=CALL_S,
        )
        lines = run.stdout.splitlines()
        if run.returncode != 0 or not lines:
            return {"status": None, "error_code": None, "error_msg": run.stderr, "request_id": None}
        return json.loads(lines[-1])

    return delete


def is_refusal(answer, status, code):
    """Refused, with code, message and request ID where the SDK's user finds them."""
    return (
        answer["status"] == status
        and (answer["error_code"] or "").startswith(code)
        and bool(answer["error_msg"])
        and bool(answer["request_id"])
    )


def check_batch(check, name, ask, demo, emulator):
    """What an SDK must see of a batch, and of a look, at any door that lets its list of jobs pass."""
    jobs = {it["details"]["metadata"]["id"]: it for it in emulator.ask("GET", "jobs")}
    fine, denied = [], []
    for job_id in [it["id"] for it in demo["jobs"]]:
        answer = ask(job_id)
        if answer["status"] == 202:
            fine.append(job_id)
            emulator.put(jobs[job_id])
        elif answer["status"] == 403:
            denied.append(job_id)
        if 2 <= len(fine) and denied:
            break
    held = [*fine, denied[0]]
    answer = ask("batch:" + ",".join(held))
    check(f"{name}: a batch with a job denied is 403", is_refusal(answer, 403, "Lychgate.403"), answer)
    check(f"{name}: which is named", denied[0] in (answer["error_msg"] or ""), answer)
    check(f"{name}: and nothing is gone", not any(map(emulator.is_gone, held)), held)
    many = [f"00000000-0000-4000-8000-{it:012}" for it in range(101)]
    for what, ids in [("no job", []), ("101 jobs", many), ("a job twice", [fine[0]] * 2)]:
        answer = ask("batch:" + ",".join(ids))
        check(f"{name}: a batch of {what} is 400", is_refusal(answer, 400, "Lychgate.4008"), answer)
    answer = ask(f"get:{fine[0]}")
    check(f"{name}: a look is 200", answer["status"] == 200, answer)
    answer = ask("batch:" + ",".join(fine))
    check(f"{name}: a batch is 202", answer["status"] == 202, answer)
    check(f"{name}: and all of it is gone", all(map(emulator.is_gone, fine)), fine)
    answer = ask("batch:" + ",".join(fine))
    check(f"{name}: a repeat is 202 too", answer["status"] == 202, answer)
    answer = ask(f"get:{UNKNOWN_JOB}")
    check(f"{name}: a look at an unknown job", is_refusal(answer, 400, "ModelArts.2775"), answer)
    for job_id in fine:
        emulator.put(jobs[job_id])


def check_rows(check, name, delete, demo, emulator):
    """What an SDK must see at any door of the gate; `delete` takes a job ID and goes there. Stops
    at the first job that is neither deleted nor refused."""
    accepted = protected = None
    for job_id in [it["id"] for it in demo["jobs"]]:
        job = emulator.job(job_id)
        answer = delete(job_id)
        if answer["status"] == 202 and accepted is None:
            accepted = job
            check(f"{name}: 202 and gone", emulator.is_gone(job_id), emulator.job(job_id))
        elif answer["status"] == 403 and protected is None:
            protected = job
            check(f"{name}: 403 readable", is_refusal(answer, 403, "Lychgate.403"), answer)
            check(f"{name}: 403 and still there", not emulator.is_gone(job_id), job_id)
        elif answer["status"] not in (202, 403):
            check(f"{name}: {job_id} is judged", False, answer)
            return
        emulator.put(job)
        if accepted and protected:
            break
    check(f"{name}: some job can be deleted", accepted is not None, "none of the demo's")
    check(f"{name}: some job is refused", protected is not None, "none of the demo's")
    answer = delete(UNKNOWN_JOB)
    check(f"{name}: unknown job", is_refusal(answer, 400, "ModelArts.2775"), answer)


def check_client(check, client, delete, demo, emulator):
    """What one SDK sees of the gate with a gateway key, and of the emulator with the cloud key."""
    project_id, gate, key = demo["project_id"], demo["gate"], demo["access_key"]

    def through_gate(job_id):
        return delete(gate, project_id, key, job_id)

    check_rows(check, client, through_gate, demo, emulator)
    # The gate is on the loopback, where the Node.js SDK's unsigned list of jobs passes too.
    check_batch(check, client, through_gate, demo, emulator)

    answer = delete(gate, project_id, dict(key, sk="not-the-secret"), UNKNOWN_JOB)
    check(f"{client}: wrong secret", is_refusal(answer, 401, "Lychgate.4018"), answer)

    seen = json.dumps(emulator.ask("GET", "requests"))
    check(f"{client}: the gateway key stays at the gate", key["ak"] not in seen, "in a request")

    cloud = demo["cloud_key"]
    job_id = demo["jobs"][0]["id"]
    job = emulator.job(job_id)
    answer = delete(demo["emulator"], project_id, cloud, job_id)
    gone = emulator.is_gone(job_id)
    check(f"{client}: 202 from the emulator itself", answer["status"] == 202 and gone, answer)
    emulator.put(job)
    answer = delete(demo["emulator"], project_id, cloud, UNKNOWN_JOB)
    check(f"{client}: unknown there", is_refusal(answer, 400, "ModelArts.2775"), answer)


def check_dummy(check, name, address, delete, demo, emulator):
    """The same with a key that nobody knows, at a listener that vouches for its callers."""

    def there(job_id):
        return delete(f"http://{address}", demo["project_id"], DUMMY_KEY, job_id)

    check_rows(check, name, there, demo, emulator)
    seen = json.dumps(emulator.ask("GET", "requests"))
    check(f"{name}: the dummy key goes no further", DUMMY_KEY["ak"] not in seen, "in a request")


def check_tls(check, client, address, delete, demo, emulator):
    """The same over TLS, whose certificate is the test CA's."""
    endpoint, name = f"https://localhost:{address.rsplit(':', 1)[1]}", f"{client} over TLS"
    project_id, key = demo["project_id"], demo["access_key"]

    def there(job_id):
        return delete(endpoint, project_id, key, job_id, str(TLS / "ca.pem"))

    check_rows(check, name, there, demo, emulator)
    check_batch(check, name, there, demo, emulator)
    if client == "node":
        answer = there(f"unsigned:{UNKNOWN_JOB}")
        check(f"{name}: an unsigned list is 202", answer["status"] == 202, answer)
    before = len(emulator.ask("GET", "requests"))
    answer = delete(endpoint, project_id, key, UNKNOWN_JOB)
    requests = len(emulator.ask("GET", "requests")) - before
    is_refused = answer["status"] is None and requests == 0
    check(f"{name}: nothing without the CA", is_refused, (answer, requests))


def check_plain(check, client, address, delete, demo, emulator):
    """A batch over plain HTTP, which is good where the SDK signs the list of jobs: all do, but the
    Node.js SDK not for every content type."""
    endpoint = f"http://localhost:{address.rsplit(':', 1)[1]}"
    ids = [it["details"]["metadata"]["id"] for it in emulator.ask("GET", "jobs")]
    answer = delete(endpoint, demo["project_id"], demo["access_key"], f"batch:{UNKNOWN_JOB}")
    check(f"{client}: a batch over plain HTTP is 202", answer["status"] == 202, answer)
    if client == "node":
        unsigned = "unsigned:" + ",".join(ids[:2])
        answer = delete(endpoint, demo["project_id"], demo["access_key"], unsigned)
        holds = is_refusal(answer, 401, "Lychgate.4010") and "TLS" in answer["error_msg"]
        check("node: an unsigned list over plain HTTP is 401, with the reason", holds, answer)
        check("node: and nothing is gone", not any(map(emulator.is_gone, ids)), ids)


def check_clients(check, clients, lychgate, demo, emulator):
    """Each client, a function that deletes, at each door."""
    with tempfile.TemporaryDirectory() as central_home, tempfile.TemporaryDirectory() as pod_home:
        gates = [central(lychgate, pathlib.Path(central_home), demo)]
        try:
            gates.append(forwarder(lychgate, pathlib.Path(pod_home), demo))
            (secure, vouching, plain), (pod,) = (it.addresses for it in gates)
            for client, delete in clients.items():
                check_client(check, client, delete, demo, emulator)
                check_tls(check, client, secure, delete, demo, emulator)
                check_plain(check, client, plain, delete, demo, emulator)
                name = f"{client} with a dummy key"
                check_dummy(check, name, vouching, delete, demo, emulator)
                check_dummy(check, f"{client} through a sidecar", pod, delete, demo, emulator)
        finally:
            exit_codes = [it.stop() for it in gates]
            if check.failures:
                print(*(it.messages() for it in gates), file=sys.stderr)
    check("the gates end on SIGTERM", exit_codes == [0, 0], exit_codes)


def send(call):
    """Sends one of the demo's calls; its status, and the error code if there is one."""
    request = urllib.request.Request(call["url"], method=call["method"], headers=call["headers"])
    try:
        with urllib.request.urlopen(request, timeout=CALL_S) as response:
            return response.status, None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())["error_code"]


def main():
    lychgate, sdk, *clients = sys.argv[1:]
    sdk = pathlib.Path(sdk)
    home = sdk / "home"
    home.mkdir(exist_ok=True)
    check = Checks()
    demo = Demo(lychgate, sdk / "demo.log")
    try:
        emulator = Emulator(demo.document["emulator"])
        clients = {client: deleter(client, sdk, home) for client in clients}
        check_clients(check, clients, lychgate, demo.document, emulator)
        for call in demo.document["calls"]:
            seen, expect = send(call), call["expect"]
            expected = (expect["status"], expect["error_code"])
            check(f"as printed: {call['name']}", seen == expected, f"{seen} for {expected}")
    finally:
        exit_code = demo.stop()
    check("the demo ends on SIGTERM", exit_code == 0, exit_code)
    if check.failures:
        print(demo.messages(), file=sys.stderr)
        sys.exit(f"tests/sdk: FAILED: {check.failures}, the demo's messages are above")


main()
