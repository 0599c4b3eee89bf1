"""Looks at a built image, and deletes a job through the gate in its file system.

Usage: delete.py TREE IMAGE PROFILE LYCHGATE ROOT: where the image is mounted, what `buildah inspect`
says of it, the profile it was built with, a binary with the emulator, the repository. Started by tests/container/run, as root: what runs in
TREE runs as the image's user.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request

USER = "65532:65532"
BINARY = "/usr/local/bin/lychgate"
DEADLINE_S = 60
IDENTITY = {
    "Version": "5.0",
    "Statement": [{"Sid": "Any", "Effect": "Allow", "Action": ["modelarts:trainJob:delete"]}],
}


class Checks:
    """Says what holds and counts what does not."""

    def __init__(self):
        self.failures = 0

    def __call__(self, name, holds, seen=""):
        print(f"ok     {name}" if holds else f"FAILED {name}: {str(seen)[:2000]}", flush=True)
        self.failures += not holds


def inside(tree, *arguments):
    """The command line of the gate in the image."""
    return ["chroot", f"--userspec={USER}", tree, BINARY, *arguments]


def run(tree, *arguments):
    return subprocess.run(
        inside(tree, *arguments), capture_output=True, text=True, timeout=DEADLINE_S
    )


def size(tree):
    """Bytes of all regular files."""
    files = [it for it in pathlib.Path(tree).rglob("*") if it.is_file() and not it.is_symlink()]
    return sum(it.stat().st_size for it in files)


def writable(tree):
    """What the image's user could change."""
    found = []
    for it in pathlib.Path(tree).rglob("*"):
        state = it.lstat()
        if not stat.S_ISLNK(state.st_mode) and (state.st_uid == 65532 or state.st_mode & 0o002):
            found.append(str(it.relative_to(tree)))
    return found


def check_image(check, tree, image, profile):
    config = image["Docker"]["config"]
    check("the user is a number", config["User"] == USER, config["User"])
    labels = config["Labels"]
    names = [it.removeprefix("org.opencontainers.image.") for it in labels]
    wanted = {"title", "description", "licenses", "version", "revision"}
    check("labels", wanted <= set(names), labels)
    check("its probe is the binary", config["Healthcheck"]["Test"] == ["CMD", BINARY, "health"])
    check("no shell", not list(pathlib.Path(tree).glob("usr/bin/*sh")), os.listdir(tree))
    check("nothing that its user could change but /tmp", writable(tree) == ["tmp"], writable(tree))
    binary = pathlib.Path(tree + BINARY)
    if profile == "dist":
        check("stripped", b".symtab" not in binary.read_bytes())
    total, own = size(tree) / 2**20, binary.stat().st_size / 2**20
    print(f"       image {total:.1f} MiB, of which the binary {own:.1f} MiB")
    version = run(tree, "--version")
    commit = labels["org.opencontainers.image.revision"]
    check("the commit", re.fullmatch("[0-9a-f]{40}|unknown", commit), commit)
    check("--version", re.fullmatch(rf"lychgate \S+ \(commit {commit}\)\n", version.stdout), version)
    check("no emulator", run(tree, "demo").returncode == 64)


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def put(tree, path, text):
    file = pathlib.Path(tree + path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text if isinstance(text, str) else json.dumps(text))


def lay_out(tree, demo, ports):
    """A configuration whose upstream is the emulator of a demo, and policies that allow all."""
    upstream = {"kind": "modelarts", "region": "cn-north-4", "account": "123"}
    upstream["credentials"] = {"file": "/etc/lychgate/cloud.yaml"}
    config = {
        "listen": [{"address": f"127.0.0.1:{ports[0]}", "principal": {"name": "image"}}],
        "admin": {"address": f"127.0.0.1:{ports[1]}"},
        "identity": {},
        "policies": {"directory": "/etc/lychgate/policies"},
        "upstreams": [
            {"name": "emulator", "projects": [demo["project_id"]], "endpoint": demo["emulator"]}
            | upstream,
            # Not asked, but its certificate authorities are the image's.
            {"name": "cloud", "projects": ["none"], "endpoint": "https://modelarts.example"}
            | upstream,
        ],
        "ledger": {"directory": "/var/lib/lychgate"},
    }
    put(tree, "/etc/lychgate/config/lychgate.yaml", config)
    put(tree, "/etc/lychgate/cloud.yaml", demo["cloud_key"])
    put(tree, "/etc/lychgate/policies/identity/any.json", IDENTITY)
    attachment = {"to": ["user:local/image"], "projects": [demo["project_id"]], "policies": ["any"]}
    put(tree, "/etc/lychgate/policies/attachments.yaml", [attachment])
    ledger = pathlib.Path(tree + "/var/lib/lychgate")
    ledger.mkdir(parents=True)
    shutil.chown(ledger, 65532, 65532)


def delete(port, project, job):
    url = f"http://127.0.0.1:{port}/v2/{project}/training-jobs/{job}"
    try:
        request = urllib.request.Request(url, method="DELETE")
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def check_gate(check, tree, demo):
    ports = free_port(), free_port()
    lay_out(tree, demo, ports)
    config = ["--config", "/etc/lychgate/config/lychgate.yaml"]
    checked = run(tree, "check", *config)
    check("check", checked.returncode == 0, checked)
    gate = subprocess.Popen(inside(tree, "serve", *config), stderr=subprocess.PIPE, text=True)
    try:
        admin = ["health", "--ready", "--admin", f"127.0.0.1:{ports[1]}"]
        until = time.monotonic() + DEADLINE_S
        while run(tree, *admin).returncode != 0 and time.monotonic() < until:
            if gate.poll() is not None:
                break
        job = demo["jobs"][0]["id"]
        answer = delete(ports[0], demo["project_id"], job)
        check("a delete: 202", answer[0] == 202, answer)
        with urllib.request.urlopen(f"{demo['emulator']}/emulator/jobs") as jobs:
            left = {it["details"]["metadata"]["id"]: it for it in json.load(jobs)}
        phase = left.get(job, {}).get("details", {}).get("status", {}).get("phase")
        check("the job is gone", phase in (None, "Terminating"), phase)
    finally:
        gate.terminate()
        messages = gate.communicate(timeout=DEADLINE_S)[1]
    check("it ends on SIGTERM", gate.returncode == 0, messages)
    verified = run(tree, "audit", "verify", "/var/lib/lychgate")
    check("the ledger verifies", verified.returncode == 0, verified)
    show = run(tree, "audit", "show", "/var/lib/lychgate")
    check("and holds the delete", job in show.stdout and "local/image" in show.stdout, show)


def start_demo(lychgate):
    """The emulator of a demo; what it printed."""
    address = "127.0.0.1:0"
    process = subprocess.Popen(
        [lychgate, "demo", "--format", "json"]
        + ["--gate", address, "--admin", address, "--emulator", address],
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


def main():
    tree, image, profile, lychgate, root = sys.argv[1:]
    check = Checks()
    toolchain = pathlib.Path(root, "rust-toolchain.toml").read_text()
    channel = re.search('channel = "(.+)"', toolchain)[1]
    dockerfile = pathlib.Path(root, "Dockerfile").read_text()
    check("built with the pinned toolchain", f"/rust:{channel}-" in dockerfile, channel)
    check_image(check, tree, json.loads(pathlib.Path(image).read_text()), profile)
    process, demo = start_demo(lychgate)
    try:
        check_gate(check, tree, demo)
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
    if check.failures:
        sys.exit(f"tests/container: FAILED: {check.failures}")


main()
