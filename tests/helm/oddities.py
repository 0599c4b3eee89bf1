"""Values that nobody expects: what Kubernetes accepts arrives as it was meant, the rest is refused with
words."""

import json
import pathlib
import shutil

import yaml

import cluster
import objects as kubernetes
import pod

# Text that a reader of YAML takes for something else, and that is a name.
TEXTS = ("4711", "47e2", "0x1267", "0o11147", "2026-11-28", "true", "null", "1.5")
# Each of these switches something on that is off.
SWITCHES = (
    "certificate.enabled",
    "ingress.enabled",
    "monitoring.dashboard.enabled",
    "monitoring.rules.enabled",
    "monitoring.serviceMonitor.enabled",
    "route.enabled",
    "serviceAccount.issuerDiscovery",
)
LONG = "a" * 52

# Values of the central chart, and where they lead: the kind and the name of the object, the path in it.
LEAD_TO = [
    ({"ledger": {"storageClassName": "-"}}, "StatefulSet", "x-lychgate",
     "spec.volumeClaimTemplates.0.spec.storageClassName", ""),
    ({"config": {"listen": [
        {"socket": "/run/lychgate/gate.sock", "principal": {"name": "local"}},
        {"address": "127.0.0.1:8490"},
        {"address": "[::]:8480", "tls": "off"},
    ]}}, "StatefulSet", "x-lychgate",
     "spec.template.spec.containers.0.ports.0.containerPort", 8480),
    ({"podSecurityContext": {"runAsUser": None, "fsGroup": 1000650000}}, "StatefulSet", "x-lychgate",
     "spec.template.spec.securityContext.fsGroup", 1000650000),
    ({"tokens": {"kubernetes": {"expirationSeconds": 31536000}}}, "StatefulSet", "x-lychgate",
     "spec.template.spec.volumes.2.projected.sources.1.serviceAccountToken.expirationSeconds", 31536000),
    ({"terminationGracePeriodSeconds": 1000000}, "StatefulSet", "x-lychgate",
     "spec.template.spec.terminationGracePeriodSeconds", 1000000),
    ({"config": {"ledger": {"directory": "/var/lib/lychgate/a"}}}, "ServiceAccount", "x-lychgate",
     "automountServiceAccountToken", False),
    ({"config": {"timeouts": {"drain": "1m"}}, "terminationGracePeriodSeconds": 66},
     "StatefulSet", "x-lychgate", "spec.template.spec.terminationGracePeriodSeconds", 66),
    ({"service": {"ipFamilyPolicy": "RequireDualStack"}}, "Service", "x-lychgate-headless",
     "spec.ipFamilyPolicy", "RequireDualStack"),
    ({"commonLabels": {"team": "platform"}, "podLabels": {"team": "gate"}}, "StatefulSet", "x-lychgate",
     "spec.template.metadata.labels.team", "gate"),
    ({"commonLabels": {"team": "platform"}}, "ConfigMap", "x-lychgate-policies",
     "metadata.labels.team", "platform"),
    ({"nameOverride": "123"}, "Service", "x-123", "spec.selector.app\\kubernetes\\io/name", "123"),
]


# StatefulSets of the cluster: name, chart, release; and whether an upgrade of x must leave them alone.
FOUND = [
    ("x-lychgate", "lychgate-0.1.0", "x", False),
    ("old-name", "lychgate-0.1.0", "x", True),
    ("old-name", "lychgate-0.1.0_abc.1", "x", True),
    ("old-name", "lychgate-extra-0.1.0", "x", False),
    ("y-lychgate", "lychgate-0.1.0", "y", False),
]


def odd_values(schema, text):
    """A value for each text that the schema leaves open."""
    if schema.get("type") == "string" and "pattern" not in schema:
        return text
    if schema.get("type") == "array" and schema["items"] == {"type": "string"}:
        return [text]
    if schema.get("type") == "object" and schema.get("additionalProperties") == {"type": "string"}:
        return {"odd.example/key": text}
    members = {key: odd_values(it, text) for key, it in schema.get("properties", {}).items()}
    return {key: it for key, it in members.items() if it is not None} or None


def as_text(helm, text):
    """The rendering of everything with `text` in each place."""
    schema = json.loads((helm.charts / "lychgate/values.schema.json").read_text())
    del schema["properties"]["config"], schema["properties"]["extraObjects"]
    values = odd_values(schema, text)
    del values["service"]["loadBalancerClass"], values["service"]["loadBalancerSourceRanges"]
    # The names of policy files are a matter of the schema.
    del values["policies"], values["shadow"]
    values["secrets"] = {it: {"secretName": text} for it in ("tls", "cloud", "odd")}
    values["tokens"] = {"kubernetes": {"audience": text}}
    values["fullnameOverride"] = values["nameOverride"] = text.replace(".", "-")
    values["monitoring"]["rules"]["runbooks"] = "https://git.example/"
    values["ledger"]["accessModes"] = ["ReadWriteOnce"]
    values["certificate"]["issuerRef"] = {"name": text}
    values["route"]["parentRefs"] = [{"name": text}]
    file = helm.charts / "odd.yaml"
    file.write_text(json.dumps(values))
    arguments = ["--values", "examples/gate.yaml", "--values", "odd.yaml", "--namespace", text]
    for it in SWITCHES:
        arguments += ["--set", f"{it}=true"]
    return helm.template(text, "lychgate", *arguments)


def check_text(check, helm, check_objects):
    for text in TEXTS:
        _, objects = as_text(helm, text)
        check_objects(check, f"as text, {text}", objects)
        taken = [it for it in kubernetes.leaves(objects) if it is not True and it is not False]
        taken = [it for it in taken if not isinstance(it, str) and str(it) in (text, "nan", "4711")]
        check(f"as text, {text}: stays text everywhere", not taken, taken)
        for chart in ("workload", "cleanup"):
            values = ["--set-string", f"lychgate-sidecar.gate.ca.configMap={text}"]
            values += ["--set-string", f"lychgate-sidecar.gate.ca.key={text}"]
            values += ["--set-string", f"lychgate-sidecar.principal={text}", "--namespace", text]
            _, objects = helm.template(text, f"examples/{chart}", *values)
            check_objects(check, f"as text, {text}, {chart}", objects)


def check_versions(check, helm, check_objects):
    """Flux packages charts under versions such as 0.1.0+abc."""
    copy = pod.Helm(helm.binary, helm.charts, helm.charts.parent / "versions")
    for file in copy.charts.glob("lychgate*/Chart.yaml"):
        file.write_text(file.read_text().replace("ersion: 0.1.0", f"ersion: 0.1.0+{LONG}.-"))
    for file in copy.charts.glob("examples/*/Chart.yaml"):
        file.write_text(file.read_text().replace("    version: 0.1.0", "    version: '*'"))
    for chart, values in (("lychgate", "examples/gate.yaml"), ("examples/workload", None)):
        copy.build()
        arguments = ["--values", values] if values else []
        text, objects = copy.template("x", chart, *arguments)
        check_objects(check, f"{chart} 0.1.0+…", objects)
        images = [it["image"] for it in filter(None, map(pod.pod_spec, objects)) for it in pod.containers(it)]
        check(f"{chart} 0.1.0+…: a tag of an image", not any("+" in it for it in images), images)


def check_names(check, helm, check_objects):
    """Long names that differ at their ends, and releases with a dot."""
    names = {}
    for release in (LONG + "b", LONG + "c", "a.b", "lychgate"):
        _, objects = helm.template(release, "lychgate", "--values", "examples/gate.yaml")
        check_objects(check, f"release {release}", objects)
        names[release] = {it["metadata"]["name"] for it in objects if it["kind"] == "StatefulSet"}
        _, objects = helm.template(release, "examples/workload")
        check_objects(check, f"release {release}, workload", objects)
    check("releases of different names share none", len(set(map(str, names.values()))) == len(names), names)
    run = helm.run("template", LONG + "b", "examples/cleanup")
    check("a CronJob's name is too long: refused", "52 letters" in run.stderr, run.stderr)


def paths(value, schema, path=()):
    """Of every value but of those that are passed on as they are."""
    for key, it in value.items():
        yield path + (key,)
        below = schema.get("properties", {}).get(key, {})
        if "properties" in below:
            yield from paths(it, below, path + (key,))


def check_nulls(check, helm, check_objects):
    """Whatever is taken away with null: rendered, or refused with words and without a trace."""
    for chart, prefix, base in (
        ("lychgate", (), ["--values", "examples/gate.yaml"]),
        ("examples/workload", ("lychgate-sidecar",), []),
    ):
        name = prefix[0] if prefix else chart
        values = yaml.safe_load((helm.charts / name / "values.yaml").read_text())
        schema = json.loads((helm.charts / name / "values.schema.json").read_text())
        bad = []
        for path in paths(values, schema):
            key = ".".join(prefix + path)
            run = helm.run("template", "x", chart, *base, "--set", f"{key}=null")
            if run.returncode == 0:
                objects = kubernetes.load(run.stdout)
                check_objects(lambda _, holds, seen="": holds or bad.append(f"{key}: {seen}"), "", objects)
            elif any(it in run.stderr for it in ("nil pointer", "wrong type", "interface", "panic")):
                bad.append(f"{key}: {run.stderr}")
        check(f"{name}: any value may be null", not bad, "\n".join(bad))


def check_places(check, helm):
    for values, kind, name, path, expected in LEAD_TO:
        (helm.charts / "odd.yaml").write_text(json.dumps(values))
        run = helm.run("template", "x", "lychgate", "--values", "examples/gate.yaml", "--values", "odd.yaml")
        found = run.stderr
        if run.returncode == 0:
            found = pod.find(kubernetes.load(run.stdout), kind, name)
            for step in path.split("."):
                step = step.replace("\\", ".")
                found = found[int(step)] if isinstance(found, list) else found.get(step)
        check(f"{json.dumps(values)} leads to {expected!r}", found == expected, found)


def check_umbrella(check, helm, check_objects):
    """Two workloads with a sidecar and a gate in one release, each under another name; the gate can be off."""
    root = helm.charts / "umbrella"
    (root / "templates").mkdir(parents=True, exist_ok=True)
    workload = root / "workload"
    shutil.copytree(helm.charts / "examples/workload", workload, dirs_exist_ok=True)
    shutil.rmtree(workload / "charts", ignore_errors=True)
    (workload / "Chart.lock").unlink(missing_ok=True)
    chart = yaml.safe_load((workload / "Chart.yaml").read_text())
    chart["dependencies"][0] |= {"alias": "gate", "repository": "file://../../lychgate-sidecar"}
    (workload / "Chart.yaml").write_text(yaml.safe_dump(chart))
    values = yaml.safe_load((workload / "values.yaml").read_text())
    values["gate"] = values.pop("lychgate-sidecar")
    (workload / "values.yaml").write_text(yaml.safe_dump(values))
    for file in workload.glob("templates/*.yaml"):
        # What is not the sidecar's is the example's own, and it has one name a release.
        file.write_text(file.read_text().replace(".Release.Name", ".Chart.Name"))
    one = {"name": "workload", "version": "0.1.0", "repository": "file://workload"}
    gate = {"name": "lychgate", "version": "0.1.0", "repository": "file://../lychgate"}
    chart = {
        "apiVersion": "v2",
        "name": "umbrella",
        "version": "0.1.0",
        "dependencies": [one | {"alias": "one"}, one | {"alias": "two"}, gate | {"alias": "central", "condition": "central.enabled"}],
    }
    (root / "Chart.yaml").write_text(yaml.safe_dump(chart))
    central = yaml.safe_load((helm.charts / "examples/gate.yaml").read_text())
    values = {"two": {"gate": {"port": 9480}}, "central": central}
    (root / "values.yaml").write_text(yaml.safe_dump(values))
    for it in ("umbrella/workload", "umbrella"):
        run = helm.run("dependency", "build", it)
        check(f"{it}: helm dependency build", run.returncode == 0, run.stderr)
    _, objects = helm.template("x", "umbrella")
    check_objects(check, "umbrella", objects)
    configs = {it["metadata"]["name"]: it["data"]["lychgate.yaml"] for it in objects if "lychgate.yaml" in it.get("data", {})}
    of_two = [name for name, text in configs.items() if "127.0.0.1:9480" in text]
    check("umbrella: each sidecar has its own configuration", of_two == ["x-two-lychgate"], configs)
    _, objects = helm.template("x", "umbrella", "--set", "central.enabled=false")
    gates = [it for it in objects if it["kind"] == "StatefulSet"]
    check("umbrella: central.enabled=false leaves the gate away", not gates, gates)


def check_renaming(check, helm):
    """Under another name the gates would have other volumes, and start with empty ledgers."""
    for name, chart, release, is_refused in FOUND:
        annotations = {"meta.helm.sh/release-name": release}
        labels = {"helm.sh/chart": chart}
        metadata = {"name": name, "labels": labels, "annotations": annotations}
        with cluster.Cluster(helm.charts, metadata) as it:
            arguments = ["--is-upgrade", "--dry-run=server", "--disable-openapi-validation"]
            arguments += ["--kubeconfig", str(it.kubeconfig)]
            arguments += ["--values", "examples/gate.yaml"]
            run = helm.run("template", "x", "lychgate", *arguments)
        refused = run.returncode != 0 and f"Set fullnameOverride to {name}" in run.stderr
        right = refused if is_refused else run.returncode == 0
        check(f"an upgrade beside {name} of {chart}, release {release}", right, run.stderr)


def check_oddities(check, helm, check_objects):
    check_renaming(check, helm)
    check_places(check, helm)
    check_text(check, helm, check_objects)
    check_versions(check, helm, check_objects)
    check_names(check, helm, check_objects)
    check_umbrella(check, helm, check_objects)
    check_nulls(check, helm, check_objects)
