"""Renders charts, and lays out the files that a rendered pod would see."""

import json
import re
import shutil
import subprocess

import yaml

import objects as kubernetes


class Helm:
    """The real helm on a copy of the charts, so that it can put dependencies beside them."""

    def __init__(self, binary, charts, copy):
        self.binary = str(binary)
        self.charts = copy
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(charts, copy)
        self.build()

    def build(self):
        for example in ("workload", "cleanup"):
            run = self.run("dependency", "update", f"examples/{example}")
            if run.returncode != 0:
                raise SystemExit(f"tests/helm: FAILED: {run.stderr}")

    def run(self, *arguments):
        return subprocess.run(
            [self.binary, *arguments], cwd=self.charts, capture_output=True, text=True, timeout=120
        )

    def template(self, release, chart, *arguments):
        """The text and the objects of a rendering."""
        run = self.run("template", release, chart, *arguments)
        if run.returncode != 0:
            raise SystemExit(f"tests/helm: FAILED: {release}: {run.stderr}")
        return run.stdout, kubernetes.load(run.stdout)


def find(objects, kind, name):
    return next(it for it in objects if it["kind"] == kind and it["metadata"]["name"] == name)


def pod_spec(it):
    """The pod of an object, if it makes one."""
    if it["kind"] == "Pod":
        return it["spec"]
    if it["kind"] == "CronJob":
        return it["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    if it["kind"] in ("StatefulSet", "Deployment", "Job"):
        return it["spec"]["template"]["spec"]
    return None


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


class Pod:
    """The files of one container below a directory, and the configuration with paths that lead there.

    `given` holds what the cluster would bring: the data of Secrets and ConfigMaps by name, and tokens
    by audience.
    """

    def __init__(self, root, objects, spec, container, given):
        self.root = root
        self.objects = objects
        self.given = given
        shutil.rmtree(root, ignore_errors=True)
        self.volumes = {it["name"]: it for it in spec.get("volumes", [])}
        self.mounts = container.get("volumeMounts", [])
        for mount in self.mounts:
            self.put(mount)
        self.config = root / "etc/lychgate/config/lychgate.yaml"

    def put(self, mount):
        directory = self.path(mount["mountPath"])
        directory.mkdir(parents=True)
        # A volume that is not the pod's is a claim of the StatefulSet, and empty.
        volume = self.volumes.get(mount["name"], {})
        projected = volume.get("projected", {}).get("sources") or []
        sources = projected + [{kind: it} for kind, it in volume.items() if isinstance(it, dict)]
        for source in sources:
            for path, text in self.files(source).items():
                file = directory / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(self.relocate(text) if path == "lychgate.yaml" else text)
                file.chmod(0o440)

    def files(self, source):
        if "serviceAccountToken" in source:
            it = source["serviceAccountToken"]
            return {it["path"]: self.given["tokens"].get(it.get("audience"), "")}
        if "configMap" in source:
            return self.items(source["configMap"], source["configMap"]["name"], "ConfigMap")
        if "secret" in source:
            return self.items(source["secret"], source["secret"]["secretName"], "Secret")
        return {}

    def items(self, source, name, kind):
        rendered = [it for it in self.objects if it["kind"] == kind]
        rendered = [it for it in rendered if it["metadata"]["name"] == name]
        data = rendered[0]["data"] if rendered else self.given[name]
        if "items" not in source:
            return data
        return {it["path"]: data[it["key"]] for it in source["items"]}

    def path(self, path):
        return self.root / path.lstrip("/")

    def relocate(self, text):
        # In one go: where the paths lead may hold the name of another mount, such as /tmp.
        paths = sorted((re.escape(it["mountPath"]) for it in self.mounts), key=len, reverse=True)
        return re.sub("|".join(paths), lambda it: str(self.path(it[0])), text) if paths else text

    def edit(self, change):
        """Changes the configuration as a document."""
        config = yaml.safe_load(self.config.read_text())
        change(config)
        self.config.chmod(0o640)
        self.config.write_text(json.dumps(config))


def check(lychgate, config):
    """What the gate itself says of a configuration and its policies."""
    return subprocess.run(
        [lychgate, "check", "--config", str(config)], capture_output=True, text=True, timeout=60
    )
