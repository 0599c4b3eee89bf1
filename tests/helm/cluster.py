"""As much of an API server as helm's `lookup` asks for: one StatefulSet in every namespace."""

import http.server
import json
import threading

KINDS = {
    "v1": ("ConfigMap", "Service", "ServiceAccount"),
    "apps/v1": ("StatefulSet",),
    "batch/v1": ("Job",),
    "networking.k8s.io/v1": ("NetworkPolicy",),
    "policy/v1": ("PodDisruptionBudget",),
}


def discovery():
    """Which kinds there are, by path."""
    groups = [{"groupVersion": it, "version": "v1"} for it in KINDS if "/" in it]
    groups = [
        {"name": it["groupVersion"].split("/")[0], "versions": [it], "preferredVersion": it}
        for it in groups
    ]
    answers = {
        "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
    }
    for version, kinds in KINDS.items():
        resources = [
            {"name": it.lower() + "s", "namespaced": True, "kind": it, "verbs": ["get", "list"]}
            for it in kinds
        ]
        path = f"/apis/{version}" if "/" in version else f"/api/{version}"
        answers[path] = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
    return answers


class Cluster:
    """Listens on loopback; `kubeconfig` is a file that leads to it."""

    def __init__(self, directory, metadata):
        answers = discovery()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path.split("?")[0]
                answer = answers.get(path)
                if path.endswith("/statefulsets"):
                    item = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata}
                    answer = {"apiVersion": "apps/v1", "kind": "StatefulSetList", "items": [item]}
                self.send_response(200 if answer else 404)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(answer or {"kind": "Status", "code": 404}).encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{self.server.server_port}"
        self.kubeconfig = directory / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": url}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "users": [{"name": "x", "user": {}}],
        }
        self.kubeconfig.write_text(json.dumps(config))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
