"""Runs the blocks of README.md, SECURITY.md and docs/*.md, in order, each document in a directory of its own.

Usage: run.py LYCHGATE SDK_DIRECTORY SCRATCH, started by tests/docs/run.

A fenced block is run by its language: `sh` by bash, `python`, `java`, `go` and `js` by the SDK of that
language. A comment before the block, which readers do not see, changes that:

    <!-- file: PATH -->       the block is written to that file
    <!-- run: CLIENT WORD --> the program prints WORD
    <!-- output -->           the block is what the one before it printed; … stands for anything
    <!-- needs: TOOL -->      the block is run if that tool has been installed into target/
    <!-- exits: CODE -->      the block ends with that code
    <!-- proxy: NAME -->      the integration tests (front::proxies) run the block
    <!-- skip: REASON -->     the block is not run; all of these are listed at the end

Behind the documents is `lychgate demo`; SUBSTITUTES says what is replaced in every block, and nothing
else is. A `sh` block that cannot be run and has no reason is a failure.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

ROOT = pathlib.Path(__file__).parent.parent.parent
JOB = "3faf5c03-aaa1-4cbe-879d-24b05d997347"
OTHER_JOB = "0c4e7a52-93d8-4b1f-8a06-5d2e9b7c1f40"
PROTECTED = "71b8d6e4-2f35-4c9a-b0d7-e86a4f1c9235"
WAIT_S = 60
RUNNABLE = {"sh", "python", "java", "go", "js"}
SILENT = {"", "json", "text", "yaml"}

# What needs root or an init system, and what stands for it.
STUBS = {
    "sudo": 'exec "$@"',
    "useradd": "exit 0",
    "chgrp": "exit 0",
    "systemctl": """
if [ "$*" = "enable --now lychgate" ]; then
  unit=$SCRATCH/etc/systemd/system/lychgate.service
  $(sed -n "s#^ExecStartPre=/#$SCRATCH/#p" "$unit" | sed "s# /etc# $SCRATCH/etc#") > /dev/null
  $(sed -n "s#^ExecStart=/#$SCRATCH/#p" "$unit" | sed "s# /etc# $SCRATCH/etc#") 2> "$SCRATCH/serve.log" > /dev/null &
  echo $! > "$SCRATCH/serve.pid"
  for _ in $(seq 300); do lychgate health --ready --admin "$ADMIN" > /dev/null 2>&1 && exit 0; sleep 0.1; done
  cat "$SCRATCH/serve.log" >&2
  exit 1
fi
""",
}

failures = []
skipped = []


def fail(text):
    print(f"FAILED {text}", flush=True)
    failures.append(text)


def missing(place, text):
    if os.environ.get("CI") == "true":
        fail(f"{place}: {text}")
    else:
        print(f"SKIPPED {place}: {text}", flush=True)


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


class Block:
    """A fenced block with the comment before it."""

    def __init__(self, place, language, text, directive):
        self.place, self.language, self.text = place, language, text
        self.what, _, self.argument = (directive or "").partition(": ")


def blocks(path):
    """The fenced blocks of a document."""
    found, directive, fence, lines = [], None, None, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if fence is None and line.startswith("```"):
            fence, lines, place = line[3:].split(" ")[0], [], f"{path.relative_to(ROOT)}:{number}"
        elif fence is not None and line == "```":
            found.append(Block(place, fence, "\n".join(lines) + "\n", directive))
            fence, directive = None, None
        elif fence is not None:
            lines.append(line)
        elif comment := re.fullmatch(r"<!-- ((?:exits|file|needs|proxy|run|skip): .+|output) -->", line):
            directive = comment[1]
        elif line.strip():
            directive = None
    return found


class Demo:
    """`lychgate demo`, and what its gate was started from."""

    def __init__(self, lychgate, log):
        any_port = "127.0.0.1:0"
        self.admin = f"127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            [lychgate, "demo", "--format", "json", "--gate", any_port, "--admin", self.admin]
            + ["--emulator", any_port],
            stdout=subprocess.PIPE,
            stderr=open(log, "w", encoding="utf-8"),
            env=dict(os.environ, TMPDIR=str(log.parent)),
            text=True,
        )
        text = ""
        for line in self.process.stdout:
            text += line
            try:
                self.document = json.loads(text)
                break
            except json.JSONDecodeError:
                continue
        else:
            sys.exit(f"tests/docs: FAILED: the demo printed no document, see {log.read_text()}")
        (self.files,) = log.parent.glob("lychgate-demo-*")
        self.jobs = json.loads(self.ask("GET", "jobs"))

    def ask(self, method, path, body=None):
        url = f"{self.document['emulator']}/emulator/{path}"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method)) as answer:
            return answer.read()

    def restore(self):
        """Every block finds the jobs as they were."""
        for job in self.jobs:
            self.ask("POST", "jobs", job)

    def stop(self):
        self.process.terminate()
        self.process.wait(WAIT_S)


class Runner:
    """Runs the blocks of one document."""

    def __init__(self, name, lychgate, sdk, directory, demo):
        self.name, self.lychgate, self.sdk, self.directory, self.demo = name, lychgate, sdk, directory, demo
        document = demo.document
        self.admin = f"127.0.0.1:{free_port()}" if name == "install.md" else demo.admin
        gate = f"localhost:{free_port()}"
        if name == "install.md":
            self.gate = f"https://{gate}"
        else:
            self.gate = document["gate"]
        # In this order.
        self.substitutes = [
            ("https://lychgate.example:8480", self.gate),
            ("0.0.0.0:8480", gate.replace("localhost", "127.0.0.1")),
            ("http://127.0.0.1:8481", f"http://{self.admin}"),
            ("127.0.0.1:8481", self.admin),
            ("lychgate health", f"lychgate health --admin {self.admin}"),
            ("https://modelarts.cn-north-4.myhuaweicloud.com", document["emulator"]),
            ("CLOUDKEYEXAMPLE00000", document["cloud_key"]["ak"]),
            ("cloudSecretExample000000000000000000000A", document["cloud_key"]["sk"]),
            ("https://id.example", "https://id.demo.example"),
            ("{discovery: true}", "{file: jwks.json}"),
            (" -g lychgate", ""),
            ("/etc/", f"{directory}/etc/"),
            ("/var/lib/", f"{directory}/var/lib/"),
            ("/var/run/secrets/", f"{directory}/var/run/secrets/"),
            ("/usr/local/bin/", f"{directory}/usr/local/bin/"),
        ]
        token = next(it for it in document["calls"] if it["name"] == "allowed")["headers"]["Authorization"]
        self.environment = {
            "PATH": f"{directory}/stubs:{os.environ['PATH']}",
            "HOME": str(directory),
            "SCRATCH": str(directory),
            "ADMIN": self.admin,
            "PROJECT": document["project_id"],
            "JOB": JOB,
            "PROTECTED": PROTECTED,
            "TOKEN": token.removeprefix("Bearer "),
            "GATE_AK": document["access_key"]["ak"],
            "GATE_SK": document["access_key"]["sk"],
        }
        self.printed = ""
        self.prepare()

    def prepare(self):
        """What a reader has: the binary, the repository, a gate's files."""
        here = self.directory
        for it in ("stubs", "etc/lychgate/tls", "etc/systemd/system", "usr/local/bin", "var/lib"):
            (here / it).mkdir(parents=True)
        for name, text in STUBS.items():
            (here / "stubs" / name).write_text(f"#!/usr/bin/env bash\n{text}\n", encoding="utf-8")
            (here / "stubs" / name).chmod(0o755)
        (here / "stubs/lychgate").symlink_to(self.lychgate)
        (here / "lychgate").symlink_to(self.lychgate)
        # There is no cluster: what would be installed is rendered.
        helm = self.sdk.parent / "helm/bin/helm"
        if helm.exists():
            text = f'#!/usr/bin/env bash\nshift\nexec {helm} template "$@"\n'
            (here / "stubs/helm").write_text(text, encoding="utf-8")
            (here / "stubs/helm").chmod(0o755)
        shutil.copytree(ROOT / "packaging", here / "packaging")
        shutil.copytree(ROOT / "helm", here / "helm")
        shutil.copytree(ROOT / "examples", here / "examples")
        tls = ROOT / "tests/data/tls"
        shutil.copy(tls / "localhost.pem", here / "tls.crt")
        shutil.copy(tls / "localhost.key", here / "tls.key")
        shutil.copy(tls / "ca.pem", here / "ca.pem")
        self.make_client_certificate()
        shutil.copy(self.demo.files / "jwks.json", here / "etc/lychgate/jwks.json")
        shutil.copytree(ROOT / "policies", here / "policies")
        for it in ("lychgate.yaml", "jwks.json", "keys.yaml", "cloud.yaml", "ledger"):
            (here / it).symlink_to(self.demo.files / it)
        (here / "jobs.txt").write_text(f"{JOB}\n{OTHER_JOB}\n", encoding="utf-8")

    def make_client_certificate(self):
        """me.crt and me.key, and the authority that signed them."""
        authority = ["-CA", "client-ca.crt", "-CAkey", "client-ca.key"]
        extensions = ["basicConstraints=critical,CA:FALSE", "subjectAltName=DNS:me.example"]
        added = [it for extension in extensions for it in ("-addext", extension)]
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        for arguments in (
            ["-subj", "/CN=clients", "-keyout", "client-ca.key", "-out", "client-ca.crt"],
            ["-subj", "/CN=me", "-keyout", "me.key", "-out", "me.crt", *authority, *added],
        ):
            subprocess.run([*new, *arguments], cwd=self.directory, check=True, capture_output=True)

    def substitute(self, text):
        for old, new in self.substitutes:
            text = text.replace(old, new)
        return text

    def block(self, block):
        if block.what in ("proxy", "skip"):
            skipped.append(f"{block.place}: {block.argument}")
        elif block.what == "file":
            path = self.substitute(block.argument)
            path = self.directory / path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.substitute(block.text), encoding="utf-8")
        elif block.what == "output":
            self.compare(block)
        elif block.what == "run":
            client, word = block.argument.split(" ")
            self.client(client, word, block)
        elif block.what == "needs" and not (self.directory / "stubs" / block.argument).exists():
            missing(block.place, f"{block.argument} is not installed: run tests/{block.argument}/run")
        elif block.language == "sh":
            self.shell(block)
        elif block.language not in SILENT:
            fail(f"{block.place}: a `{block.language}` block without a comment that says how to run it")

    def call(self, block, command, environment=None):
        """Runs a command here; its output, or None when it did not end as it should."""
        self.demo.restore()
        expected = int(block.argument) if block.what == "exits" else 0
        run = subprocess.run(
            [str(it) for it in command],
            cwd=self.directory,
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=300,
        )
        if run.returncode != expected:
            fail(f"{block.place}: ends with {run.returncode}\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
            return None
        print(f"ok     {block.place}", flush=True)
        return run.stdout

    def shell(self, block):
        script = self.substitute(block.text)
        self.printed = self.call(block, ["bash", "-euo", "pipefail", "-c", script]) or ""

    def compare(self, block):
        pattern = ".*".join(re.escape(it) for it in block.text.strip().split("…"))
        if not re.fullmatch(pattern, self.printed.strip(), re.DOTALL):
            fail(f"{block.place}: printed was {self.printed!r}")

    def client(self, client, word, block):
        build = getattr(self, f"build_{client}")
        made = build(self.substitute(block.text))
        if made is None:
            missing(block.place, f"the {client} SDK is not installed: run tests/sdk/run")
            return
        command, environment = made
        block.what = ""
        printed = self.call(block, command, environment)
        if printed is not None and printed.split()[:1] != [word]:
            fail(f"{block.place}: printed {printed!r} and not {word}")

    def write(self, name, text):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def build_python(self, text):
        python = self.sdk / "python/bin/python"
        return ([python, self.write("example.py", text)], {}) if python.exists() else None

    def build_node(self, text):
        modules = self.sdk / "node/node_modules"
        script = self.write("example.cjs", text)
        return (["node", script], {"NODE_PATH": str(modules)}) if modules.exists() else None

    def build_java(self, text):
        jars = self.sdk / "java/jars"
        if not jars.exists():
            return None
        source = self.write("java/Example.java", text)
        return (["java", "-cp", f"{jars}/*", source], {})

    def build_go(self, text):
        if not (self.sdk / "go").exists():
            return None
        for it in ("go.mod", "go.sum"):
            shutil.copy(ROOT / "tests/sdk/go" / it, self.write(f"go/{it}", ""))
        self.write("go/main.go", text)
        # The module cache of whoever runs this, so that nothing is downloaded twice.
        names = ("GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS")
        values = subprocess.run(["go", "env", *names], capture_output=True, text=True, check=True)
        environment = dict(zip(names, values.stdout.splitlines()))
        return (["go", "-C", self.directory / "go", "run", "."], environment)

    def stop(self):
        pid = self.directory / "serve.pid"
        if pid.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid.read_text()), signal.SIGTERM)


def check_cloud_policies(lychgate, directory):
    """The cloud policies of docs/install.md are read by the gate's own compiler."""
    policies = directory / "cloud-policies"
    (policies / "guardrails").mkdir(parents=True)
    (policies / "identity").mkdir()
    shutil.copy(directory / "scp.json", policies / "guardrails")
    shutil.copy(directory / "gate-policy.json", policies / "identity")
    attachments = "- to: [any]\n  projects: [0a1b2c]\n  policies: [gate-policy]\n"
    (policies / "attachments.yaml").write_text(attachments, encoding="utf-8")
    run = subprocess.run([lychgate, "check", "--policies", policies], capture_output=True, text=True)
    if run.returncode != 0:
        fail(f"docs/install.md: the cloud policies\n{run.stdout}")


def check_unit(lychgate, directory):
    """systemd reads the unit, and finds it well closed."""
    if not shutil.which("systemd-analyze"):
        missing("packaging/lychgate.service", "systemd-analyze is not installed")
        return
    unit = directory / "lychgate.service"
    text = (ROOT / "packaging/lychgate.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/usr/local/bin/lychgate", lychgate), encoding="utf-8")
    for command in (["verify"], ["security", "--offline=yes", "--threshold=20"]):
        run = subprocess.run(["systemd-analyze", *command, unit], capture_output=True, text=True)
        if run.returncode != 0 or "lychgate.service" in run.stderr:
            fail(f"packaging/lychgate.service: {command[0]}\n{run.stdout[-3000:]}{run.stderr}")
        else:
            print(f"ok     packaging/lychgate.service: systemd-analyze {command[0]}", flush=True)


def main():
    lychgate, sdk, scratch = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    demo = Demo(lychgate, scratch / "demo.log")
    try:
        for path in [ROOT / "README.md", *ROOT.glob("SECURITY.md"), *sorted((ROOT / "docs").glob("*.md"))]:
            directory = scratch / path.stem
            directory.mkdir()
            runner = Runner(path.name, lychgate, sdk, directory, demo)
            try:
                for block in blocks(path):
                    runner.block(block)
            finally:
                runner.stop()
        check_cloud_policies(lychgate, scratch / "install")
        check_unit(lychgate, scratch)
    finally:
        demo.stop()
    print("not run, with the reason:", *skipped, sep="\n       ")
    if failures:
        sys.exit(f"tests/docs: FAILED: {len(failures)}")


if __name__ == "__main__":
    main()
