"""Upgrades that the gate refuses: before anything is changed, and past that check."""

import json
import time

from control_plane import eventually
from scene import REPLICAS, SPACE

# No Secret has it.
ABSENT = "config.upstreams[0].ca=/etc/lychgate/secrets/cloudca/none.crt"
GOOD, BAD = REPLICAS


def refuse(scene):
    """An upgrade that the gate would refuse changes nothing."""
    before = [scene.identity(it) for it in REPLICAS]
    broken = json.dumps({"policies": {"files": {"guardrails/protect.json": '{"Version": "5.0"'}}})
    (scene.desk / "broken.yaml").write_text(broken)
    log = "kubectl logs -n lychgate job/lychgate-check"
    for name, more, look, word in (
        ("a setting that nobody knows", "--set config.limits.in_flght=1", None, "in_flght"),
        ("a file that is not there", f"--set '{ABSENT}'", log, "none.crt"),
        ("policies that do not compile", "--values broken.yaml", log, "guardrails/protect.json"),
    ):
        it = scene.shell(f"helm upgrade lychgate helm/lychgate -n lychgate --values gate.yaml {more}")
        scene.check(f"an upgrade with {name} is refused", it.returncode != 0, it.stdout)
        said = scene.shell(look).stdout if look else it.stderr
        scene.check(f"and {look or 'helm'} says where", word in said, said)
        same = before == [scene.identity(it) for it in REPLICAS] and all(map(scene.ready, REPLICAS))
        scene.check("and the gates go on as they were", same, "" if same else scene.describe())


def crash(scene):
    """A version that does not start is kept to one replica, until it is taken back."""
    before = scene.identity(GOOD)
    with scene.under_load() as load:
        upgrade(scene)
        evicted = scene.evict(GOOD)
        kept = evicted.returncode != 0 and "disruption budget" in evicted.stderr
        scene.check("a drain does not take the other", kept, evicted.stdout + evicted.stderr)
        go_back(scene)
        scene.check("the other was at work all the time", scene.identity(GOOD) == before, before)
    finish(scene, load)

    upgrade(scene)
    scene.cluster.must("delete", "pod", GOOD, *SPACE, "--wait=false")
    gone = eventually(lambda: scene.identity(GOOD) not in (None, before) and restarts(scene, GOOD) > 0)
    scene.check("whoever deletes its pod has none left", gone, "" if gone else scene.describe())
    scene.check("and nobody answers", not answers(scene))
    go_back(scene)
    with scene.under_load() as load:
        time.sleep(5)
    finish(scene, load)


def upgrade(scene):
    scene.upgrade("an upgrade past the check, to what does not start", "hooks.check=false", ABSENT)
    crashes = eventually(lambda: restarts(scene, BAD) > 1)
    kept = crashes and scene.ready(GOOD)
    scene.check("takes one replica, and no more", kept, "" if kept else scene.describe())


def go_back(scene):
    scene.follow("operations.md", "### An upgrade that does not start")
    scene.wait_ready("taken back")


def finish(scene, load):
    scene.told += load.told
    broken = [it for it in load.told if it[1] != 202]
    scene.check("every request was answered, and with 202", load.told and not broken, broken)


def restarts(scene, name):
    """Of the container of a pod."""
    statuses = scene.pod(name).get("status", {}).get("containerStatuses")
    return statuses[0]["restartCount"] if statuses else 0


def answers(scene):
    """Whether a gate takes connections."""
    try:
        scene.caller().connect().close()
    except OSError:
        return False
    return True
