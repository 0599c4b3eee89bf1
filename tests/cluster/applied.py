"""Everything that the charts and examples render, before a real API server."""

import json
import pathlib

import yaml

import charts
import pod

HERE = pathlib.Path(__file__).parent
RESTRICTED = {f"pod-security.kubernetes.io/{it}": "restricted" for it in ("enforce", "warn", "audit")}
LONGEST = "a" * 52 + "b"

# Name, release, chart, namespace, values files, further arguments.
RENDERINGS = [(*it, []) for it in charts.RENDERINGS] + [
    ("odd values", "lychgate", "lychgate", "odd", ["examples/gate.yaml", HERE / "values/odd.yaml"], []),
    (
        "odd values of a sidecar",
        "1e3",
        "examples/workload",
        "123",
        [HERE / "values/odd-sidecar.yaml"],
        [],
    ),
    ("a release like a number", "123", "lychgate", "123", ["examples/gate.yaml"], []),
    ("a release like a float", "1e3", "lychgate", "1e3", ["examples/gate.yaml"], []),
    ("a release like a truth value", "true", "lychgate", "null", ["examples/gate.yaml"], []),
    ("the longest release", LONGEST, "lychgate", "long", ["examples/gate.yaml"], []),
    ("the longest workload", LONGEST, "examples/workload", "long", [], []),
    ("a clean-up like a number", "123", "examples/cleanup", "123", [], []),
]


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}


# What the values name besides.
RUNTIME = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "gvisor"},
    "handler": "runsc",
}


def make_namespace(cluster, name):
    """With Pod Security `restricted`, and the account that the controller manager would make."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": name},
    }
    cluster.apply([namespace(name), account])


def apply(cluster, text, *more):
    """As a careful administrator does: fields that nobody knows and warnings are errors."""
    arguments = ["--server-side", "--validate=strict", "--warnings-as-errors", "--filename", "-"]
    return cluster.kubectl("apply", *arguments, *more, data=text)


def pods_of(objects):
    """The pods that a controller would make of the objects."""
    for it in objects:
        spec = pod.pod_spec(it)
        if spec is None:
            continue
        claims = it["spec"].get("volumeClaimTemplates", []) if it["kind"] == "StatefulSet" else []
        volumes = [{"name": claim["metadata"]["name"], "emptyDir": {}} for claim in claims]
        template = it["spec"].get("jobTemplate", {}).get("spec", it["spec"]).get("template", it)
        metadata = {key: template.get("metadata", {}).get(key, {}) for key in ("labels", "annotations")}
        metadata |= {"name": "made", "namespace": it["metadata"]["namespace"]}
        spec = spec | {"volumes": spec.get("volumes", []) + volumes}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def check_rendering(check, cluster, helm, row):
    name, release, chart, space, values, more = row
    arguments = ["--namespace", space, *more]
    for it in values:
        arguments += ["--values", str(it)]
    text, objects = helm.template(release, chart, *arguments)
    make_namespace(cluster, space)
    run = apply(cluster, text)
    check(f"{name}: taken without a warning", run.returncode == 0, run.stderr)
    if run.returncode != 0:
        return
    again = apply(cluster, text, "--force-conflicts")
    check(f"{name}: and once more", again.returncode == 0, again.stderr)
    for made in pods_of(objects):
        run = apply(cluster, json.dumps(made), "--dry-run=server")
        check(f"{name}: its pod is restricted", run.returncode == 0, run.stderr)
    deleted = cluster.kubectl(
        "delete", "--ignore-not-found", "--wait=false", "--filename", "-", data=text
    )
    check(f"{name}: taken away", deleted.returncode == 0, deleted.stderr)


def check_restriction(check, cluster):
    """That Pod Security is at work here at all."""
    container = {"name": "x", "image": "x"}
    metadata = {"name": "made", "namespace": "lychgate"}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    run = apply(cluster, json.dumps(made), "--dry-run=server")
    check("a pod that is not restricted is refused", "violates PodSecurity" in run.stderr, run.stderr)


def chart_with_version(helm, version):
    """A copy of the chart as Flux packages it."""
    destination = helm.charts / "packaged"
    run = helm.run("package", "lychgate", "--version", version, "--destination", str(destination))
    if run.returncode != 0:
        raise SystemExit(run.stderr)
    return str(destination / f"lychgate-{version}.tgz")


class Release:
    """The central gate, by the real helm."""

    def __init__(self, cluster, helm, name):
        self.cluster, self.helm, self.name = cluster, helm, name

    def run(self, verb, *arguments, values=None):
        chart = ["lychgate", "--values", "examples/gate.yaml"] if verb in ("install", "upgrade") else []
        if values is not None:
            file = self.helm.charts / "given.yaml"
            file.write_text(yaml.safe_dump(values))
            chart += ["--values", str(file)]
        kubeconfig = ["--kubeconfig", str(self.cluster.admin)]
        return self.helm.run(verb, self.name, *chart, "--namespace", "lychgate", *kubeconfig, *arguments)

    def objects(self):
        """What there is of the release, without what the API server adds at each change and without
        the configurations, which the chart keeps for the pods and revisions that want them.
        """
        listed = self.cluster.get(
            "statefulset,service,configmap,networkpolicy,poddisruptionbudget,serviceaccount,ingress",
            *(
                "--namespace",
                "lychgate",
                "--selector",
                f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component!=config",
            ),
        )["items"]
        changing = (
            "managedFields",
            "resourceVersion",
            "generation",
            "annotations",
            "uid",
            "creationTimestamp",
        )
        for it in listed:
            it["metadata"] = {key: value for key, value in it["metadata"].items() if key not in changing}
            it.pop("status", None)
        return {(it["kind"], it["metadata"]["name"]): it for it in listed}


# What helm says of a configuration that was kept.
KEPT = "resource exists on cluster but not in original release"
# Nothing runs pods here.
NO_HOOKS = ("--set", "hooks.check=false")

# What an upgrade may change in a running release.
CHANGED = {
    "replicas": 3,
    "image": {"tag": "0.1.1"},
    "config": {"limits": {"in_flight": 64}, "listen": [{"address": "0.0.0.0:9480", "tls": "off"}]},
    "policies": {"files": {"identity/more.json": '{"Version": "5.0", "Statement": []}'}},
    "service": {"type": "LoadBalancer", "port": 443, "externalTrafficPolicy": "Local"},
    "ingress": {"enabled": True, "hosts": ["gate.example"], "tls": [{"secretName": "gate"}]},
    "hooks": {"check": False},
    "podDisruptionBudget": {"maxUnavailable": "50%"},
    "networkPolicy": {"clients": [{"podSelector": {}}]},
    "monitoring": {
        "serviceMonitor": {"enabled": True},
        "rules": {"enabled": True},
        "dashboard": {"enabled": True},
    },
    "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "512Mi"}},
    "podLabels": {"team": "platform"},
    "nodeSelector": {"pool": "system"},
    "terminationGracePeriodSeconds": 90,
}


def check_upgrades(check, cluster, helm):
    release = Release(cluster, helm, "lychgate")
    make_namespace(cluster, "lychgate")

    def said(title, run, holds=True):
        warnings = [it for it in run.stderr.splitlines() if "warn" in it.lower() and KEPT not in it]
        clean = not warnings
        check(title, run.returncode == 0 and clean and holds, run.stdout[-500:] + run.stderr)

    said("helm install", release.run("install"))
    first = release.objects()
    said("helm upgrade of all that may change", release.run("upgrade", values=CHANGED))
    second = release.objects()
    check("the upgrade has changed it", first != second and len(first) < len(second), sorted(second))
    said("helm rollback", release.run("rollback", "1"))
    back = release.objects()
    differing = [it for it in first.keys() | back.keys() if first.get(it) != back.get(it)]
    check(
        "after it everything is as it was",
        not differing,
        [(first.get(it), back.get(it)) for it in differing],
    )

    run = release.run("upgrade", *NO_HOOKS, "--set", "ledger.size=40Gi")
    refused = run.returncode != 0 and "field is immutable" in run.stderr
    check("a ledger's size is refused by an upgrade", refused, run.stdout + run.stderr)
    check("and nothing has changed", release.objects() == first, release.objects())

    cluster.must("scale", "statefulset/lychgate", "--replicas=4", "--namespace", "lychgate")
    run = release.run("upgrade", *NO_HOOKS, "--set", "replicas=5")
    conflict = run.returncode != 0 and "conflict" in run.stderr
    check("an upgrade after `kubectl scale` conflicts", conflict, run.stdout + run.stderr)
    said("and is forced", release.run("upgrade", *NO_HOOKS, "--set", "replicas=5", "--force-conflicts"))
    replicas = cluster.get("statefulset", "lychgate", "--namespace", "lychgate")["spec"]["replicas"]
    check("with what it says", replicas == 5, replicas)
    said("helm uninstall", release.run("uninstall"))
    check("which leaves nothing", not release.objects(), release.objects())


def check_all(check, cluster, helm, definitions):
    """`definitions` is a directory of the definitions of foreign objects."""
    cluster.must("apply", "--server-side", "--filename", definitions)
    cluster.must("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    cluster.apply([RUNTIME])
    rows = list(RENDERINGS)
    # Flux adds what it has fetched a chart from.
    chart = chart_with_version(helm, "0.1.0+abc.123")
    rows.append(("a version with build metadata", "lychgate", chart, "flux", ["examples/gate.yaml"], []))
    for row in rows:
        check_rendering(check, cluster, helm, row)
    check_restriction(check, cluster)
    check_upgrades(check, cluster, helm)
