"""An installation on a real node, and those who work with it."""

import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import time

import yaml

import charts
import delete
import run as documents
from control_plane import NODE_ADDRESS, Pki, eventually
from load import Caller, Cloud, Load
from node import NODE, Node

HERE = pathlib.Path(__file__).parent
CLOUD = "modelarts.cn-north-4.myhuaweicloud.com"
# The cloud without TLS, for a workload that lists jobs.
PLAIN = 9480
RATE = 10
SPACE = ("--namespace", "lychgate")
REPLICAS = ("lychgate-0", "lychgate-1")


def blocks(name, heading):
    """The shell blocks of a section of a document."""
    path = charts.ROOT / "docs" / name
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines.index(heading) + 1
    level = len(heading.split()[0])
    ends = (at for at, it in enumerate(lines[first:], first + 1) if re.match(f"#{{2,{level}}} ", it))
    last = next(ends, len(lines))
    found = (it for it in documents.blocks(path) if first < int(it.place.rsplit(":", 1)[1]) < last)
    return [it for it in found if it.language == "sh"]


def volume(work, number):
    """A volume on the node for a ledger."""
    path = work / f"volumes/{number}"
    path.mkdir(parents=True)
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"local-{number}"},
        "spec": {
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "local",
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}},
        },
    }


STORAGE = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": "local",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": "kubernetes.io/no-provisioner",
    "volumeBindingMode": "WaitForFirstConsumer",
    "allowVolumeExpansion": True,
}


class Scene:
    """The cluster, the cloud behind it, and an administrator's directory."""

    def __init__(self, work, bin, packages, archives, helm, lychgate):
        self.check = charts.Checks()
        self.node = Node(work / "node", bin, packages)
        self.cluster, self.work, self.lychgate = self.node.cluster, work, lychgate
        self.desk = work / "desk"
        shutil.rmtree(self.desk, ignore_errors=True)
        shutil.copytree(charts.CHARTS, self.desk / "helm")
        (self.desk / "bin").mkdir()
        (self.desk / "bin/helm").symlink_to(helm)
        (self.desk / "bin/kubectl").symlink_to(bin / "kubectl")
        self.environment = {
            **os.environ,
            "PATH": f"{self.desk}/bin:{os.environ['PATH']}",
            "KUBECONFIG": str(self.cluster.admin),
            "HOME": str(self.desk),
        }
        self.told = []
        self.start_cloud()
        self.node.start(archives, [CLOUD])
        self.cluster.apply([STORAGE, *(volume(work, number) for number in range(2))])
        self.make_certificates()

    def start_cloud(self):
        """The emulator, behind TLS and the cloud's name."""
        shutil.rmtree(self.work / "pki", ignore_errors=True)
        shutil.rmtree(self.work / "volumes", ignore_errors=True)
        authority = Pki(self.work / "pki/cloud", "cloud")
        certificate, key = authority.sign("cloud", f"/CN={CLOUD}", "serverAuth", [f"DNS:{CLOUD}"])
        process, self.demo = delete.start_demo(self.lychgate)
        self.node.processes.running["demo"] = process
        port = self.demo["emulator"].rsplit(":", 1)[1]
        for name, listen, files in (("tls", 443, [certificate, key]), ("plain", PLAIN, [])):
            command = [sys.executable, HERE / "relay.py", NODE_ADDRESS, listen, port, *files]
            self.node.processes.start(name, command)
        self.cloud = Cloud(self.demo["emulator"])
        self.cloud_ca = authority.ca

    def make_certificates(self):
        self.authority = Pki(self.work / "pki/gate", "gates")
        self.new_certificate("tls")
        key = self.demo["cloud_key"]
        (self.desk / "cloud.yaml").write_text(f"ak: {key['ak']}\nsk: {key['sk']}\n")

    def new_certificate(self, name):
        names = ["DNS:lychgate.lychgate.svc"]
        for it in self.authority.sign(name, "/CN=lychgate", "serverAuth", names):
            shutil.copy(it, self.desk)

    def shell(self, text):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.desk,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def must(self, title, text):
        """A check that a command of the administrator's succeeds; its output."""
        began = time.monotonic()
        it = self.shell(text)
        self.check(
            f"{title} ({time.monotonic() - began:.0f} s)", it.returncode == 0, it.stdout + it.stderr
        )
        return it.stdout

    def block(self, block):
        """A block of a document that has to succeed."""
        return self.must(f"{block.place}: {block.text.splitlines()[0]}", block.text)

    def follow(self, name, heading):
        """What a section of a document says to do; what was printed."""
        return "".join(map(self.block, blocks(name, heading)))

    def edit(self, change):
        """Changes the administrator's values."""
        file = self.desk / "gate.yaml"
        values = yaml.safe_load(file.read_text())
        change(values)
        file.write_text(yaml.safe_dump(values))

    def upgrade(self, title, *settings):
        values = "".join(f" --set '{it}'" for it in settings)
        self.must(title, f"helm upgrade lychgate helm/lychgate -n lychgate --values gate.yaml{values}")

    def pod(self, name):
        """As the API server has it; empty when it is not there."""
        return json.loads(self.cluster.kubectl("get", "pod", name, *SPACE, "--output=json").stdout or "{}")

    def ready(self, name):
        """Whether a pod is there, is not about to end, and is ready."""
        document = self.pod(name)
        conditions = {it["type"]: it["status"] for it in document.get("status", {}).get("conditions", [])}
        return (
            "deletionTimestamp" not in document.get("metadata", {}) and conditions.get("Ready") == "True"
        )

    def identity(self, name):
        """Of a pod; None when it is not there."""
        return self.pod(name).get("metadata", {}).get("uid")

    def evict(self, name):
        """As a drain of the node does it."""
        metadata = {"name": name, "namespace": "lychgate"}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"/api/v1/namespaces/lychgate/pods/{name}/eviction"
        return self.cluster.kubectl(
            "create", "--raw", path, "--filename", "-", data=json.dumps(eviction)
        )

    def wait_ready(self, title):
        seen = eventually(lambda: all(map(self.ready, REPLICAS)), 240)
        self.check(f"{title}: both replicas are ready", seen, "" if seen else self.describe())
        return seen

    def describe(self):
        logs = (f"kubectl logs -n lychgate {it} --tail=20 2>&1 || true" for it in REPLICAS)
        events = "kubectl get events -A --field-selector type!=Normal"
        return self.shell("; ".join(["kubectl get pods -A", events, *logs])).stdout

    def token(self, account):
        command = ("create", "token", account, "--namespace", "vision", "--audience=lychgate")
        return self.cluster.must(*command).strip()

    def caller(self, account="load"):
        service = self.cluster.get("service", "lychgate", *SPACE)["spec"]["clusterIP"]
        token = self.token(account)
        trust = ssl.create_default_context(cafile=self.authority.ca)
        return Caller((service, 8480), lambda: trust, lambda: token)

    def under_load(self):
        return Load(self.cloud, self.caller, RATE)

    def ledgers(self):
        return sorted((self.work / "volumes").iterdir())

    def records(self):
        """The decisions of both ledgers."""
        command = [self.lychgate, "audit", "show", "--format", "json", *map(str, self.ledgers())]
        shown = subprocess.run(command, capture_output=True, text=True)
        if shown.returncode != 0:
            raise SystemExit(f"audit show: {shown.stderr}")
        return [json.loads(it) for it in shown.stdout.splitlines()]
