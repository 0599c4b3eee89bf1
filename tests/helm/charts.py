"""Checks everything under helm/ that can be checked without a cluster.

Usage: charts.py [--accept] WORK PROMTOOL LYCHGATE
Started by tests/helm/run, which installs what this needs below WORK.
"""

import difflib
import functools
import json
import pathlib
import re
import subprocess
import sys

import kubernetes_validate
import yaml

import objects as kubernetes
import oddities
import pod
import readme

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
CHARTS = ROOT / "helm"
TLS = ROOT / "tests/data/tls"

# The oldest that the charts take, and a new one.
KUBERNETES = ("1.30", "1.37")

# Name, release, chart, namespace, values files.
RENDERINGS = [
    ("gate", "lychgate", "lychgate", "lychgate", ["examples/gate.yaml"]),
    ("full", "lychgate", "lychgate", "lychgate", ["examples/gate.yaml", HERE / "values/full.yaml"]),
    ("workload", "experiment", "examples/workload", "vision", []),
    ("cleanup", "cleanup", "examples/cleanup", "vision", []),
    ("reconcile", "reconcile", "examples/reconcile", "lychgate", []),
    ("sidecar", "experiment", "examples/workload", "vision", [HERE / "values/sidecar.yaml"]),
]


# What helm must refuse, and the words that lead to the mistake.
REFUSED = [
    ("lychgate", ["--set", "replica=3"], "replica"),
    ("lychgate", ["--set", "image.tga=1"], "tga"),
    ("lychgate", ["--set", "monitoring.rule.enabled=true"], "rule"),
    ("lychgate", ["--set", "monitoring.rules.enable=true"], "enable"),
    ("lychgate", ["--set", "secrets.cloud.secret=x"], "secret"),
    ("lychgate", ["--set", "policies.file.x=y"], "file"),
    ("lychgate", ["--set", "policies.files.guardrail/x\\.json=y"], "guardrail/x.json"),
    ("lychgate", ["--set", "ledger.size=big"], "size"),
    ("lychgate", ["--set", "replicas=0"], "replicas"),
    ("lychgate", ["--set", "service.type=Clusterip"], "type"),
    # Numbers and truth values where the gate takes text.
    ("lychgate", ["--set", "config.upstreams[0].projects[0]=123"], "projects"),
    ("lychgate", ["--set", "config.upstreams[0].account=123"], "account"),
    ("lychgate", ["--set", "config.listen[0].tls=false"], "tls"),
    # What the templates see.
    ("lychgate", ["--set-json", "config.upstreams=[]"], "config.upstreams"),
    ("lychgate", ["--set-json", "policies.files={}"], "policies.files"),
    ("lychgate", ["--set", "config.ledger.checkpoint_key=/etc/lychgate/secrets/sign/key"], "secrets.sign"),
    ("lychgate", ["--set", "config.telemetry.ca=/etc/lychgate/tokens/other"], "tokens.other"),
    ("lychgate", ["--set", "ingress.enabled=true"], "ingress.hosts"),
    ("lychgate", ["--set", "route.enabled=true"], "route.parentRefs"),
    ("lychgate", ["--set", "certificate.enabled=true"], "certificate.issuerRef"),
    ("lychgate", ["--set", "enabled=false"], "umbrella"),
    # What the gate's own file does not have.
    ("lychgate", ["--set", "config.limits.in_flght=1"], "in_flght"),
    ("lychgate", ["--set", "config.upstreams[0].regionn=x"], "regionn"),
    ("lychgate", ["--set", "config.identity.jwt[0].algorithm=RS256"], "algorithm"),
    ("lychgate", ["--set-string", "config.limits.in_flight=many"], "in_flight"),
    ("lychgate", ["--set", "config.timeouts.drain=25"], "drain"),
    ("lychgate", ["--set", "config.telemetrie.level=info"], "telemetrie"),
    ("lychgate", ["--set", "config.admin=null"], "admin"),
    ("lychgate", ["--set", "config.listen=null"], "listen"),
    ("examples/workload", ["--set", "lychgate-sidecar.config.limits.in_flght=1"], "in_flght"),
    ("examples/workload", ["--set", "lychgate-sidecar.config.timeouts.request=45"], "request"),
    # What Kubernetes would take, and what would then not work.
    ("lychgate", ["--set", "config.admin.address=127.0.0.1:8481"], "config.admin.address"),
    ("lychgate", ["--set", "config.admin.address=[::1]:8481"], "config.admin.address"),
    ("lychgate", ["--set", "config.admin.address=0.0.0.0:8480"], "config.admin.address"),
    ("lychgate", ["--set", "config.admin.address=0.0.0.0"], "needs a port"),
    ("lychgate", ["--set-json", 'config.listen=[{"address":"0.0.0.0:0"}]'], "needs a port"),
    ("lychgate", ["--set-json", 'config.listen=[{"address":"127.0.0.1:8480"}]'], "config.listen"),
    ("lychgate", ["--set-json", 'config.listen=[{"socket":"/tmp/x"}]'], "config.listen"),
    ("lychgate", ["--set-json", "config.listen=[]"], "config.listen"),
    ("lychgate", ["--set", "config.ledger.directory=/data"], "config.ledger.directory"),
    ("lychgate", ["--set", "config.ledger.directory=/var/lib/lychgate/../x"], "config.ledger.directory"),
    ("lychgate", ["--set", "config.ledger.directory=/var/lib/lychgate2"], "config.ledger.directory"),
    ("lychgate", ["--set", "config.ledger=null"], "config.ledger.directory"),
    ("lychgate", ["--set", "config.policies.directory=policies"], "config.policies.directory"),
    ("lychgate", ["--set", "config.policies.shadow.directory=/etc/lychgate/shadow"], "shadow.files"),
    ("lychgate", ["--set-string", "shadow.files.attachments\\.yaml=[]"], "config.policies.shadow"),
    ("lychgate", ["--set", "terminationGracePeriodSeconds=30"], "terminationGracePeriodSeconds"),
    ("lychgate", ["--set", "preStopSeconds=15"], "terminationGracePeriodSeconds"),
    ("lychgate", ["--set", "config.timeouts.drain=1m"], "terminationGracePeriodSeconds"),
    ("lychgate", ["--set", "config.budgets.replicas=1"], "config.budgets.replicas"),
    # What the API server would refuse, after half of the rest is there.
    ("lychgate", ["--set", "service.externalTrafficPolicy=Local"], "service.externalTrafficPolicy"),
    ("lychgate", ["--set", "service.loadBalancerClass=x"], "service.loadBalancerClass"),
    ("lychgate", ["--set", "policies.files.identity/my policy\\.json=y"], "my policy"),
    ("lychgate", ["--set", "policies.files.tests/prüfung\\.yaml=y"], "prüfung"),
    ("lychgate", ["--set", "podLabels.app\\.kubernetes\\.io/name=x"], "podLabels: app.kubernetes.io/name"),
    ("lychgate", ["--set", "commonLabels.helm\\.sh/chart=x"], "commonLabels: helm.sh/chart"),
    (
        "lychgate",
        ["--set", "monitoring.rules.enabled=true,monitoring.rules.labels.helm\\.sh/chart=x"],
        "monitoring.rules.labels: helm.sh/chart",
    ),
    ("lychgate", ["--set", "fullnameOverride=Gate"], "fullnameOverride"),
    ("lychgate", ["--set", "fullnameOverride=a.b"], "fullnameOverride"),
    ("lychgate", ["--set", f"fullnameOverride={'a' * 53}"], "fullnameOverride"),
    ("lychgate", ["--set", "nameOverride=a_b"], "nameOverride"),
    ("lychgate", ["--set", "serviceAccount.create=false"], "serviceAccount.name"),
    ("examples/workload", ["--set", "lychgate-sidecar.gate.endpiont=x"], "endpiont"),
    ("examples/workload", ["--set", "lychgate-sidecar.gate.endpoint="], "gate.endpoint"),
    ("examples/workload", ["--set", "lychgate-sidecar.gate.endpoint=http://gate"], "endpoint"),
    ("examples/workload", ["--set", "lychgate-sidecar.images.tag=1"], "images"),
]

# What is set, and how the gates share their budgets then.
URL = "/etc/lychgate/secrets/budgets/url"
SHARES = [
    ("replicas=1", {"replicas": 1}),
    ("replicas=5", {"replicas": 5}),
    ("config.budgets.replicas=7", {"replicas": 7}),
    (f"config.budgets.store.postgres={URL},secrets.budgets.secretName=x", {"store": {"postgres": URL}}),
]


class Checks:
    """Says what holds and counts what does not."""

    def __init__(self):
        self.failures = 0

    def __call__(self, name, holds, seen=""):
        print(f"ok     {name}" if holds else f"FAILED {name}\n{str(seen)[:4000]}", flush=True)
        self.failures += not holds


def given():
    """What the cluster brings."""
    certificate, key = (TLS / "localhost.pem").read_text(), (TLS / "localhost.key").read_text()
    authority = (TLS / "ca.pem").read_text()
    keys = "keys:\n  - {ak: AK, sk: c2VjcmV0LWtleS1mb3ItdGVzdHMtb25seQ, principal: cleanup}\n"
    return {
        "tokens": {None: "token", "lychgate": "token", "gate.example": "token", "sts.example": "t"},
        "kube-root-ca.crt": {"ca.crt": authority},
        "lychgate-tls": {"tls.crt": certificate, "tls.key": key},
        "lychgate-clients": {"ca.crt": authority},
        "lychgate-cloud": {"cloud.yaml": "ak: AK\nsk: SK\n"},
        "lychgate-keys": {"production.yaml": keys},
        "lychgate-ca": {"ca.crt": authority},
        "corporate-ca": {"bundle.pem": authority},
        "extra": {},
        "team-policies": {"nlp.json": (ROOT / "policies/identity/own-jobs.json").read_text()},
    }


def golden_text(text):
    """The rendering without the objects that only hold a file of the chart."""
    documents = re.split(r"(?m)^---\n", text)
    kept = [it for it in documents if not re.search("kind: PrometheusRule|lychgate.json:", it)]
    return "---\n".join(kept)


def check_golden(check, name, text, accept):
    file = HERE / f"golden/{name}.yaml"
    if accept:
        file.write_text(text)
    expected = file.read_text() if file.exists() else ""
    diff = difflib.unified_diff(expected.splitlines(), text.splitlines(), "golden", "rendered", "")
    check(f"{name}: as {file.relative_to(ROOT)}", text == expected, "\n".join(diff))


def check_objects(definitions, check, name, objects):
    """As the API server would: the schemas, and its rules for names, labels and keys."""
    faults = kubernetes.faults(objects)
    check(f"{name}: names, labels, keys", not faults, faults)
    for it in objects:
        if definitions.has(it):
            fault = definitions.fault(it)
            check(f"{name}: {it['kind']} {it['metadata']['name']}", fault is None, fault)
            continue
        for version in KUBERNETES:
            title = f"{name}: {it['kind']} {it['metadata']['name']} for Kubernetes {version}"
            try:
                kubernetes_validate.validate(it, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                check(title, False, error)
            else:
                check(title, True)


def check_restricted(check, name, spec):
    """The restricted pod security standard, as far as these pods could miss it."""
    missed = []
    common = spec.get("securityContext", {})
    for it in pod.containers(spec):
        own = it.get("securityContext", {})
        both = {**common, **own}
        wanted = {
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": 0 < both.get("runAsUser", 0),
            "seccompProfile": both.get("seccompProfile") == {"type": "RuntimeDefault"},
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
        }
        missed += [f"{it['name']}: {what}" for what, holds in wanted.items() if not holds]
    missed += [] if spec.get("automountServiceAccountToken") is False else ["automount"]
    missed += [f"hostPath {it['name']}" for it in spec.get("volumes", []) if "hostPath" in it]
    text = json.dumps(spec)
    # Without a group of its own, the file of a token is for everybody.
    missed += ["fsGroup"] if "serviceAccountToken" in text and "fsGroup" not in common else []
    missed += ["subPath"] if "subPath" in text else []
    check(f"{name}: restricted, and no subPath", not missed, missed)


def check_no_secret(check, name, objects):
    """A workload with a sidecar needs none, and its token is the sidecar's alone."""
    text = json.dumps(objects)
    found = [it for it in ('"Secret"', "secretName", "secretKeyRef", "secretRef") if it in text]
    check(f"{name}: no Secret", not found, found)
    spec = next(filter(None, map(pod.pod_spec, objects)))
    holders = [
        it["name"]
        for it in pod.containers(spec)
        if any(mount["name"] == "lychgate-token" for mount in it["volumeMounts"])
    ]
    check(f"{name}: the token is the sidecar's alone", holders == ["lychgate"], holders)
    sidecar = next(it for it in spec["initContainers"] if it["name"] == "lychgate")
    native = sidecar["restartPolicy"] == "Always" and "startupProbe" in sidecar
    check(f"{name}: a sidecar that is ready first and ends last", native, sidecar)


def check_configs(check, name, objects, lychgate, work):
    """Every gate of the rendering finds its files and takes its configuration and policies."""
    for it in objects:
        spec = pod.pod_spec(it)
        for container in pod.containers(spec) if spec else []:
            if container["name"] not in ("lychgate", "check"):
                continue
            files = pod.Pod(work / "pods" / name, objects, spec, container, given())
            run = pod.check(lychgate, files.config)
            title = f"{name}: lychgate check, as {it['kind']} {it['metadata']['name']} has it"
            check(title, run.returncode == 0, run.stdout + run.stderr)


def check_hook(check, helm, lychgate, work):
    """What an upgrade brings is checked before it comes: the hook's own copy of it."""
    for name, arguments in (
        ("a policy", ["--set-string", "policies.files.identity/vision-jobs\\.json=[]"]),
        ("a setting", ["--set", "config.limits.per_principal.burst=0"]),
    ):
        _, objects = helm.template("lychgate", "lychgate", "--values", "examples/gate.yaml", *arguments)
        it = pod.find(objects, "Job", "lychgate-check")
        hook = it["metadata"]["annotations"]["helm.sh/hook"]
        names = [it["configMap"]["name"] for it in it["spec"]["template"]["spec"]["volumes"] if "configMap" in it]
        files = pod.Pod(work / "pods/hook", objects, pod.pod_spec(it), pod.pod_spec(it)["containers"][0], given())
        run = pod.check(lychgate, files.config)
        refused = run.returncode == 3 and hook == "pre-upgrade" and names == ["lychgate-check"]
        check(f"{name} that the gate refuses stops an upgrade", refused, run)


def check_rules(check, objects, promtool):
    rule = next(it for it in objects if it["kind"] == "PrometheusRule")["spec"]
    file = CHARTS / "lychgate/rules/lychgate.yaml"
    written = yaml.safe_load(file.read_text())
    runbooks = "https://git.example/platform/lychgate/blob/main/"
    for it in written["groups"][0]["rules"]:
        it["annotations"]["runbook_url"] = runbooks + it["annotations"]["runbook"]
    check("full: the PrometheusRule is rules/lychgate.yaml", rule == written, rule)
    for arguments in (["check", "rules", file], ["test", "rules", HERE / "rules.test.yaml"]):
        run = subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=120)
        title = f"promtool {arguments[0]} {arguments[1]}"
        check(title, run.returncode == 0, run.stdout + run.stderr)
    tested = (HERE / "rules.test.yaml").read_text()
    names = [it["alert"] for it in written["groups"][0]["rules"]]
    untested = [it for it in names if f'alertname="{it}"' not in tested]
    check("every alert has a test", not untested, untested)
    check_runbooks(check, names)
    # Prometheus names a job after the Service, so `fullnameOverride` would hide it from the alert.
    monitor = next(it for it in objects if it["kind"] == "ServiceMonitor")["spec"]
    relabeling = {"targetLabel": "job", "replacement": "lychgate"}
    check("full: the ServiceMonitor names the job", relabeling in monitor["endpoints"][0]["relabelings"], monitor)


def check_runbooks(check, names):
    document = ROOT / "docs/operations.md"
    headings = re.findall(r"(?m)^#+ +(.*?) *$", document.read_text() if document.exists() else "")
    missing = [it for it in names if it not in headings]
    check("every alert has a section in docs/operations.md", not missing, missing)


def metrics():
    """Every series name of the gate and of `lychgate audit reconcile --metrics`."""
    files = [ROOT / "tests/data" / it for it in ("metrics.txt", "reconcile.prom")]
    text = "".join(it.read_text() for it in files)
    return set(re.findall(r"(?m)^(lychgate_\w+)(?:\{| )", text))


def check_dashboard(check, objects):
    file = CHARTS / "lychgate/dashboards/lychgate.json"
    rendered = next(it for it in objects if "lychgate.json" in it.get("data", {}))
    same = rendered["data"]["lychgate.json"].strip() == file.read_text().strip()
    check("full: the dashboard is dashboards/lychgate.json", same)
    panels = json.loads(file.read_text())["panels"]
    ids = [it["id"] for it in panels]
    check("dashboard: every panel has an ID of its own", len(set(ids)) == len(ids), ids)
    queries = [target["expr"] for it in panels for target in it.get("targets", [])]
    queries += [file.read_text()] + [(CHARTS / "lychgate/rules/lychgate.yaml").read_text()]
    used = {it for query in queries for it in re.findall(r"lychgate_[a-z_]+", query)}
    unknown = used - metrics()
    check("dashboard and alerts: every metric exists", not unknown, unknown)


def check_readme(check, chart, accept):
    file = CHARTS / chart / "README.md"
    text = readme.readme(CHARTS / chart)
    if accept:
        file.write_text(text)
    check(f"{chart}: README.md is up to date", file.exists() and file.read_text() == text)
    bare = readme.undescribed(CHARTS / chart / "values.yaml")
    check(f"{chart}: every value is described", not bare, bare)


def check_shares(check, helm):
    for given, expected in SHARES:
        arguments = ["--values", "examples/gate.yaml", "--set", given]
        _, objects = helm.template("x", "lychgate", *arguments)
        configs = [it["data"]["lychgate.yaml"] for it in objects if "lychgate.yaml" in it.get("data", {})]
        shared = [yaml.safe_load(it)["budgets"] for it in configs]
        check(f"budgets with {given}", shared and all(it == expected for it in shared), shared)


def main():
    accept = "--accept" in sys.argv
    work, promtool, lychgate = sys.argv[-3:]
    work = pathlib.Path(work)
    check = Checks()
    validate = functools.partial(check_objects, kubernetes.Definitions(work / "crds"))
    helm = pod.Helm(work / "bin/helm", CHARTS, work / "charts")
    for chart in ("lychgate", "lychgate-sidecar"):
        check_readme(check, chart, accept)
    for name, release, chart, namespace, values in RENDERINGS:
        arguments = ["--namespace", namespace]
        for it in values:
            arguments += ["--values", str(it)]
        run = helm.run("lint", "--strict", chart, *arguments)
        check(f"{name}: helm lint", run.returncode == 0, run.stdout + run.stderr)
        text, objects = helm.template(release, chart, *arguments)
        check_golden(check, name, golden_text(text), accept)
        validate(check, name, objects)
        for spec in filter(None, map(pod.pod_spec, objects)):
            check_restricted(check, name, spec)
        if chart in ("examples/workload", "examples/cleanup"):
            check_no_secret(check, name, objects)
        check_configs(check, name, objects, lychgate, work)
        if name == "full":
            check_rules(check, objects, promtool)
            check_dashboard(check, objects)
    for chart, arguments, words in REFUSED:
        values = ["--values", "examples/gate.yaml"] if chart == "lychgate" else []
        run = helm.run("template", "x", chart, *values, *arguments)
        refused = run.returncode != 0 and words in run.stderr and "nil pointer" not in run.stderr
        check(f"refused: {chart} {' '.join(arguments)}", refused, run.stderr or "accepted")
    check_hook(check, helm, lychgate, work)
    check_shares(check, helm)
    oddities.check_oddities(check, helm, validate)
    if check.failures:
        sys.exit(f"tests/helm: FAILED: {check.failures}")


if __name__ == "__main__":
    main()
