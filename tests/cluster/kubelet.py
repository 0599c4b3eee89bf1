"""The central gate and the examples on a real node, under load.

Usage: kubelet.py WORK BIN PACKAGES IMAGES HELM LYCHGATE, started by tests/cluster/nightly in namespaces
of its own. PACKAGES holds what was unpacked of Debian, IMAGES the gate's image, HELM what tests/helm/run
has installed.
"""

import collections
import json
import pathlib
import re
import ssl
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE.parent / it) for it in ("helm", "docs")]

import yaml

import broken
import charts
import images
from applied import make_namespace
from control_plane import NODE_ADDRESS, eventually
from scene import PLAIN, REPLICAS, SPACE, Scene, blocks

# What the examples' values name.
PYTHON = "registry.example/python-huaweicloud:3.1.219"
# Whose deletes the load is, and who has a budget for few.
CALLER = "system:serviceaccount:vision:load"
FEW = "system:serviceaccount:vision:few"
FEW_DELETES = 10
BUDGETS = [
    {
        "name": "few",
        "per": "principal",
        "deletes": FEW_DELETES,
        "within": "24h",
        "when": {"StringEquals": {"g:UserName": FEW}},
    },
    {"name": "per-principal", "per": "principal", "deletes": 100_000, "within": "1h"},
]


def install(scene):
    """As docs/install.md says, line by line."""
    make_namespace(scene.cluster, "vision")
    for name in ("load", "few"):
        scene.must(f"an account for callers: {name}", f"kubectl create serviceaccount {name} -n vision")
    image, *rest = blocks("install.md", "## 4. Central gate on Kubernetes")
    for block in rest:
        scene.block(block)
        if block.text.startswith("cp ") and block.text.endswith(" gate.yaml\n"):
            scene.edit(make_own)
            scene.must(
                "the cloud's authority",
                f"kubectl create secret generic cloud-ca -n lychgate --from-file ca.crt={scene.cloud_ca}",
            )
    compare(scene, image)


def compare(scene, block):
    """The image was there before, by tests/container/run: by the same file and under the same name."""
    spec = scene.cluster.get("statefulset", "lychgate", *SPACE)["spec"]["template"]["spec"]
    named = set(re.findall(r"registry\.example/\S+", block.text))
    runs = {it["image"] for it in spec["containers"]}
    scene.check(f"{block.place}: is the image that runs", named == runs, (named, runs))
    given = set(re.findall(r"--build-arg (\w+)=", block.text))
    taken = set(re.findall(r"^ARG (\w+)", (charts.ROOT / "Dockerfile").read_text(), re.MULTILINE))
    scene.check(f"{block.place}: the Dockerfile takes its arguments", given and given <= taken, given - taken)


def make_own(values):
    """What is the reader's own: who may delete, and the authority of a cloud that is none."""
    values["config"]["upstreams"][0]["ca"] = "/etc/lychgate/secrets/cloudca/ca.crt"
    values["secrets"]["cloudca"] = {"secretName": "cloud-ca"}
    values["resources"] = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
    values["networkPolicy"] = {
        "clients": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "vision"}}}]
    }
    files = values["policies"]["files"]
    attached = yaml.safe_load(files["attachments.yaml"])
    attached[0]["to"] += [f"user:cluster/{CALLER}", f"user:cluster/{FEW}"]
    files["attachments.yaml"] = yaml.safe_dump(attached)
    files["budgets.yaml"] = yaml.safe_dump({"budgets": BUDGETS})


def configuration(scene):
    """The ConfigMap of the configuration that new pods get: its name and its identity."""
    spec = scene.cluster.get("statefulset", "lychgate", *SPACE)["spec"]["template"]["spec"]
    name = next(it["configMap"]["name"] for it in spec["volumes"] if it["name"] == "config")
    return name, scene.cluster.get("configmap", name, *SPACE)["metadata"]["uid"]


def disturb(scene):
    """What happens to a running installation, with callers at work all the time."""
    check = scene.check
    first = configuration(scene)
    with scene.under_load() as load:
        limits = {"limits": {"in_flight": 200}}
        roll(scene, "a changed configuration", lambda values: values["config"].update(limits))
        other = configuration(scene)
        check("is another ConfigMap", first[0] != other[0], (first, other))
        for verb in ("evicted", "deleted"):
            evict(scene, verb)
        replace_policies(scene)
        replace_certificate(scene)
        grow(scene)
        roll(scene, "the first configuration again", lambda values: values["config"].pop("limits"))
        check("is the ConfigMap that was kept", configuration(scene) == first, (first, configuration(scene)))
    scene.told += load.told
    account(scene, "under load")
    broken = [it for it in load.told if it[1] != 202]
    check("under load: every request was answered, and with 202", not broken, broken)


def roll(scene, title, change):
    """An upgrade that replaces both replicas."""
    before = [scene.identity(it) for it in REPLICAS]
    scene.edit(change)
    scene.upgrade(title)
    rolled = eventually(lambda: not set(before) & set(map(scene.identity, REPLICAS)), 240)
    scene.check("rolls both replicas", rolled, before)
    scene.wait_ready(title)


def spend(scene):
    """Each replica has half of a budget, and still knows what it has counted when it comes back."""
    caller = scene.caller("few")

    def told(count):
        jobs = [scene.cloud.make_job() for _ in range(count)]
        answers = [(it, caller.delete(it)) for it in jobs]
        scene.told += answers
        return collections.Counter(status for _, status in answers)

    # So many that both replicas are asked often enough.
    answers = told(5 * FEW_DELETES)
    expected = {202: FEW_DELETES, 429: 4 * FEW_DELETES}
    scene.check(f"of 50 deletes a budget of {FEW_DELETES} lets through as many", answers == expected, answers)
    evict(scene, "deleted")
    answers = told(FEW_DELETES)
    scene.check("and none after a restart", answers == {429: FEW_DELETES}, answers)


def evict(scene, verb):
    before = scene.identity("lychgate-0")
    if verb == "evicted":
        scene.check("a replica is let go", scene.evict("lychgate-0").returncode == 0)
    else:
        scene.cluster.must("delete", "pod", "lychgate-0", *SPACE, "--wait=false")
    again = eventually(lambda: scene.identity("lychgate-0") not in (None, before), 240)
    scene.check(f"a replica that was {verb} comes back", again, before)
    scene.wait_ready(verb)


def replace_policies(scene):
    """A changed ConfigMap is in force without a restart."""
    before = [scene.identity(it) for it in REPLICAS]
    tag = [{"key": "keep", "value": "yes"}]
    statement = {
        "Sid": "Keep",
        "Effect": "Deny",
        "Action": ["modelarts:trainJob:delete"],
        "Condition": {"StringEquals": {"g:ResourceTag/keep": "yes"}},
    }
    values = yaml.safe_load((scene.desk / "gate.yaml").read_text())
    document = json.loads(values["policies"]["files"]["guardrails/protect.json"])
    document["Statement"].append(statement)
    files = {"guardrails/protect.json": json.dumps(document)}
    (scene.desk / "keep.yaml").write_text(yaml.safe_dump({"policies": {"files": files}}))
    scene.must(
        "changed policies",
        "helm upgrade lychgate helm/lychgate -n lychgate --values gate.yaml --values keep.yaml",
    )
    began = time.monotonic()

    def refused():
        # One after the other, so that both replicas are asked.
        answers = []
        for _ in range(6):
            job = scene.cloud.make_job(tag)
            answers.append(scene.caller().delete(job))
            scene.told.append((job, answers[-1]))
        return set(answers) == {403}

    seen = eventually(refused, 180)
    scene.check(f"are in force after {time.monotonic() - began:.0f} s", seen)
    same = before == [scene.identity(it) for it in REPLICAS]
    scene.check("without a restart", same, before)


def replace_certificate(scene):
    """A changed Secret is served without a restart."""
    scene.new_certificate("renewed")
    scene.must(
        "a changed certificate",
        "kubectl create secret tls lychgate-tls -n lychgate --cert renewed.crt --key renewed.key"
        " --dry-run=client --output=yaml | kubectl replace --filename -",
    )
    wanted = ssl.PEM_cert_to_DER_cert((scene.desk / "renewed.crt").read_text())

    def served():
        seen = set()
        for _ in range(6):
            connection = scene.caller().connect()
            seen.add(connection.sock.getpeercert(binary_form=True))
            connection.close()
        return seen == {wanted}

    began = time.monotonic()
    seen = eventually(served, 180)
    scene.check(f"is served after {time.monotonic() - began:.0f} s", seen)


def grow(scene):
    """Larger ledgers, while the gates go on."""
    before = [scene.identity(it) for it in REPLICAS]
    printed = scene.follow("operations.md", "### Grow a ledger's volume")
    listed = all(f"ledger-{it}" in printed for it in REPLICAS)
    scene.check("the claims are listed", listed, printed)
    scene.edit(lambda values: values.update(ledger={"size": "40Gi"}))
    scene.wait_ready("growing")
    claimed = scene.cluster.get("statefulset", "lychgate", *SPACE)["spec"]["volumeClaimTemplates"][0]
    size = claimed["spec"]["resources"]["requests"]["storage"]
    scene.check("the StatefulSet asks for the new size", size == "40Gi", size)
    same = before == [scene.identity(it) for it in REPLICAS]
    scene.check("and has taken over the pods", same, before)


def reinstall(scene):
    """The ledgers outlive the release and go on."""
    before = len(scene.records())
    scene.must("helm uninstall", "helm uninstall lychgate -n lychgate --wait --timeout 3m")
    gone = eventually(lambda: not any(scene.identity(it) for it in REPLICAS), 120)
    scene.check("takes the pods", gone)
    claims = scene.cluster.get("persistentvolumeclaim", *SPACE)["items"]
    scene.check("and leaves the claims", len(claims) == 2, [it["metadata"]["name"] for it in claims])
    scene.must(
        "helm install",
        "helm install lychgate helm/lychgate -n lychgate --values gate.yaml",
    )
    scene.wait_ready("reinstalled")
    with scene.under_load() as load:
        time.sleep(5)
    scene.told += load.told
    scene.check(
        "the ledgers go on", len(scene.records()) == before + len(load.told), (before, len(load.told))
    )
    for it in scene.ledgers():
        verified = subprocess.run(
            [scene.lychgate, "audit", "verify", str(it)], capture_output=True, text=True
        )
        scene.check(f"{it.name}: one chain", verified.returncode == 0, verified.stdout + verified.stderr)


def workloads(scene):
    """The examples: a Job and a CronJob with the official SDK, and the gate as a native sidecar."""
    scene.must(
        "the gate's authority",
        f"kubectl create configmap lychgate-ca -n vision --from-file ca.crt={scene.authority.ca}",
    )
    job = scene.cloud.make_job()
    for name in ("workload", "cleanup"):
        scene.must(f"helm dependency build {name}", f"helm dependency build helm/examples/{name}")
    scene.must(
        "a Job", f"helm install experiment helm/examples/workload -n vision --set 'jobs={{{job}}}'"
    )
    logged = finished(scene, "experiment", "delete")
    scene.check("deletes through its sidecar", f"{job}: deleted" in logged, logged)

    job = scene.cloud.make_job()
    cloud = f"http://{NODE_ADDRESS}:{PLAIN}"
    scene.must(
        "a CronJob",
        f"helm install cleanup helm/examples/cleanup -n vision --set days=0,modelarts={cloud}",
    )
    key = scene.demo["cloud_key"]
    # What stands for the identity agent.
    given = f"HUAWEICLOUD_SDK_AK={key['ak']} HUAWEICLOUD_SDK_SK={key['sk']}"
    scene.must(
        "with a key to list", f"kubectl set env cronjob/cleanup -n vision --containers cleanup {given}"
    )
    scene.must("and a run of it", "kubectl create job cleanup-now --from cronjob/cleanup -n vision")
    logged = finished(scene, "cleanup-now", "cleanup")
    scene.check("deletes through its sidecar", f"{job}: deleted" in logged, logged)


def finished(scene, name, container):
    """What the container of a job's pod printed, once all of the pod's containers have ended."""

    def pod():
        listed = scene.cluster.get("pods", "--namespace", "vision", "--selector", f"job-name={name}")[
            "items"
        ]
        return listed[-1] if listed else {"status": {}}

    ended = eventually(lambda: pod()["status"].get("phase") in ("Succeeded", "Failed"), 240)
    scene.check(f"{name}: the pod ends, its sidecar with it", ended, "" if ended else scene.describe())
    sidecar = scene.cluster.kubectl(
        "logs", "--namespace", "vision", f"job/{name}", "--container", "lychgate"
    )
    scene.check(
        f"{name}: nobody else reads the token", "can read the token" not in sidecar.stdout, sidecar.stdout
    )
    logged = scene.cluster.must("logs", "--namespace", "vision", f"job/{name}", "--container", container)
    for job, said in re.findall(r"([0-9a-f-]{36}): (deleted|\d{3})", logged):
        scene.told.append((job, 202 if said == "deleted" else int(said)))
    return logged


KNOCK = """\
import socket, time
until = time.monotonic() + 30
while True:
    try:
        socket.create_connection(("{service}", 8480), 3)
        break
    except OSError:
        if until < time.monotonic():
            raise
        time.sleep(0.2)
"""


def strangers(scene):
    """The NetworkPolicy keeps out who is not named in it."""
    service = scene.cluster.get("service", "lychgate", *SPACE)["spec"]["clusterIP"]
    # The engine hears of a pod after it has started.
    script = KNOCK.format(service=service)
    for space, expected in (("vision", "Succeeded"), ("stranger", "Failed")):
        make_namespace(scene.cluster, space)
        metadata = {"name": "knocks", "namespace": space}
        context = {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container = {
            "name": "x",
            "image": PYTHON,
            "command": ["python3", "-c", script],
            "securityContext": context,
        }
        spec = {
            "containers": [container],
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
        }
        scene.cluster.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}])
        read = ("get", "pod", "knocks", "--namespace", space, "--output=jsonpath={.status.phase}")
        eventually(lambda: scene.cluster.must(*read) in ("Succeeded", "Failed"), 120)
        phase = scene.cluster.must(*read)
        scene.check(f"a pod of {space} that connects: {expected}", phase == expected, phase)


def account(scene, title):
    """Three accounts: what callers were told, what the cloud received, what the ledgers hold."""
    deleted = scene.cloud.deleted()
    recorded = collections.Counter(it["job"] for it in scene.records())
    asked = collections.Counter(job for job, _ in scene.told)
    accepted = collections.Counter(job for job, status in scene.told if status == 202)
    for name, one, other in (
        ("each accepted delete arrived once, and no other", accepted, deleted),
        ("each request has one record", asked, recorded),
    ):
        differing = {it: (one[it], other[it]) for it in one | other if one[it] != other[it]}
        scene.check(f"{title}: {name}", not differing, differing)


def table(scene):
    answers = collections.Counter(it for _, it in scene.told if isinstance(it, int))
    rows = [
        ("requests sent", len(scene.told)),
        ("answered", answers.total()),
        *((f"  with {it}", count) for it, count in sorted(answers.items())),
        ("deletes received by the cloud", sum(scene.cloud.deleted().values())),
        ("records in the ledgers", len(scene.records())),
    ]
    for name, number in rows:
        print(f"{name:<32}{number:>8}")


def main():
    work, bin, packages, archives, helm, lychgate = map(pathlib.Path, sys.argv[1:])
    site = next(helm.glob("python/lib/python3*/site-packages"))
    images.pause(archives)
    images.python(archives, site, PYTHON)
    scene = Scene(work, bin, packages, sorted(archives.glob("*.tar")), helm / "bin/helm", str(lychgate))
    try:
        install(scene)
        if scene.wait_ready("installed"):
            broken.refuse(scene)
            disturb(scene)
            broken.crash(scene)
            spend(scene)
            reinstall(scene)
            workloads(scene)
            strangers(scene)
            account(scene, "in all")
        table(scene)
    finally:
        scene.node.stop()
    if scene.check.failures:
        sys.exit(f"tests/cluster: FAILED: {scene.check.failures}; the logs are in {work}/node/logs")


main()
