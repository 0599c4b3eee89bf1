"""Service-account tokens of a real API server before the gate, started from what the chart renders."""

import base64
import json
import pathlib
import re
import ssl
import urllib.error
import urllib.request

import yaml

import applied
import charts
import delete
import pod
from control_plane import ISSUER, eventually, openssl

PROJECT = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
JOB = delete.FINE
DISCOVERY_ROLE = "system:service-account-issuer-discovery"
# The gate looks at keys again 15 s after a failure, and 10 s after an unknown key made it look.
LOOKS_S = 40
DAY_S = 86_400

GOOD = (202, None)
INVALID = (401, "Lychgate.4013")
WRONG_AUDIENCE = (401, "Lychgate.4015")
NOBODY_ALLOWED = (403, "Lychgate.4033")


def read(token):
    """The header and the payload of a token."""
    parts = token.split(".")[:2]
    return tuple(json.loads(base64.urlsafe_b64decode(it + "=" * (-len(it) % 4))) for it in parts)


class Accounts:
    """The service accounts of the namespace `vision`, and tokens for them."""

    def __init__(self, cluster):
        self.cluster = cluster
        applied.make_namespace(cluster, "vision")
        for name in ("experiment", "stranger"):
            self.make(name)

    def make(self, name, namespace="vision"):
        metadata = {"name": name, "namespace": namespace}
        self.cluster.apply([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}])

    def token(self, *audiences, name="experiment", namespace="vision", more=()):
        arguments = [f"--audience={it}" for it in audiences] + list(more)
        created = self.cluster.must("create", "token", name, "--namespace", namespace, *arguments)
        return created.strip()

    def pod(self):
        """A pod of the account `experiment`, with the arguments that bind a token to it."""
        context = {
            "runAsNonRoot": True,
            "runAsUser": 1,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        spec = {
            "serviceAccountName": "experiment",
            "automountServiceAccountToken": False,
            "containers": [{"name": "x", "image": "x", "securityContext": context}],
        }
        metadata = {"name": "bound", "namespace": "vision"}
        self.cluster.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}])
        uid = self.cluster.get("pod", "bound", "--namespace", "vision")["metadata"]["uid"]
        return ["--bound-object-kind=Pod", "--bound-object-name=bound", f"--bound-object-uid={uid}"]

    def legacy(self):
        """What the controller manager puts into a Secret: a token without an end."""
        account = self.cluster.get("serviceaccount", "experiment", "--namespace", "vision")
        prefix = "kubernetes.io/serviceaccount"
        payload = {
            "iss": "kubernetes/serviceaccount",
            f"{prefix}/namespace": "vision",
            f"{prefix}/secret.name": "legacy",
            f"{prefix}/service-account.name": "experiment",
            f"{prefix}/service-account.uid": account["metadata"]["uid"],
            "sub": "system:serviceaccount:vision:experiment",
        }
        key, _ = self.cluster.signing[-1]
        head = read(self.token("lychgate"))[0]
        text = ".".join(delete.base64url(json.dumps(it).encode()) for it in (head, payload))
        signature = openssl("dgst", "-sha256", "-sign", str(key), data=text.encode())
        token = f"{text}.{delete.base64url(signature)}"
        owner = "kubernetes.io/service-account"
        names = {f"{owner}.name": "experiment", f"{owner}.uid": account["metadata"]["uid"]}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "legacy", "namespace": "vision", "annotations": names},
            "type": f"{owner}-token",
            "stringData": {"token": token},
        }
        self.cluster.apply([secret])
        return token

    def are_let_read(self):
        """Whether every service account may read the API server's keys."""
        by = ["--as=system:serviceaccount:lychgate:lychgate", "--as-group=system:serviceaccounts"]
        return self.cluster.kubectl("get", "--raw=/openid/v1/jwks", *by).returncode == 0

    def forbid_reading(self):
        """Takes away what the API server grants at each of its starts."""
        bindings = (DISCOVERY_ROLE, "lychgate-lychgate-issuer-discovery")
        self.cluster.must("delete", "--ignore-not-found", "clusterrolebinding", *bindings)
        if not eventually(lambda: not self.are_let_read()):
            raise SystemExit("service accounts can read the keys without a role")

    def is_known(self, token):
        """Whether the API server itself takes a token."""
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token},
        }
        said = self.cluster.must("create", "--output=json", "--filename=-", data=json.dumps(review))
        return json.loads(said)["status"].get("authenticated", False)


class World:
    """The emulator, and gates that ask the API server for keys."""

    def __init__(self, cluster, helm, work, lychgate):
        self.cluster, self.helm, self.work, self.lychgate = cluster, helm, work, lychgate
        self.accounts = Accounts(cluster)
        applied.make_namespace(cluster, "lychgate")
        self.accounts.make("lychgate", "lychgate")
        self.demo_process, self.demo = delete.start_demo(lychgate)
        self.gates = []
        self.jobs = json.loads(self.emulator("GET"))

    def emulator(self, method, job=None):
        url = f"{self.demo['emulator']}/emulator/jobs"
        data = None if job is None else json.dumps(job).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method)) as answer:
            return answer.read()

    def gate(self, name, change=lambda issuer: None):
        """As helm/examples/gate.yaml has it, but for the addresses, and `change` of the issuer."""
        values = yaml.safe_load((charts.CHARTS / "examples/gate.yaml").read_text())
        config = values["config"]
        config["upstreams"][0]["endpoint"] = self.demo["emulator"]
        issuer = config["identity"]["jwt"][0]
        api = f"https://127.0.0.1:{self.cluster.port}"
        issuer["jwks"]["url"] = issuer["jwks"]["url"].replace("https://kubernetes.default.svc", api)
        change(issuer)
        file = self.work / f"{name}.values.yaml"
        file.write_text(yaml.safe_dump(values))
        rendered = self.helm.template(
            "lychgate", "lychgate", "--namespace", "lychgate", "--values", str(file)
        )[1]
        spec = pod.pod_spec(pod.find(rendered, "StatefulSet", "lychgate"))
        given = charts.given() | {
            "tokens": {None: self.accounts.token(name="lychgate", namespace="lychgate")},
            "kube-root-ca.crt": {"ca.crt": self.cluster.pki.ca.read_text()},
            "lychgate-cloud": {"cloud.yaml": json.dumps(self.demo["cloud_key"])},
        }
        files = pod.Pod(self.work / name, rendered, spec, spec["containers"][0], given)
        files.edit(lambda it: it["listen"][0].update(address="127.0.0.1:0"))
        files.edit(lambda it: it["admin"].update(address="127.0.0.1:0"))
        gate = Gate(self, delete.Process(self.lychgate, files.config, 0, self.work / f"{name}.log"))
        self.gates.append(gate)
        return gate

    def binding(self):
        """What the chart binds the gate's account with, where docs/install.md says so."""
        arguments = ["--values", "examples/gate.yaml", "--set", "serviceAccount.issuerDiscovery=true"]
        rendered = self.helm.template("lychgate", "lychgate", "--namespace", "lychgate", *arguments)[1]
        return next(it for it in rendered if it["kind"] == "ClusterRoleBinding")

    def stop(self):
        for it in [*(gate.process.process for gate in self.gates), self.demo_process]:
            it.terminate()
            it.wait(60)


class Gate:
    """A running gate, at ports that it has chosen."""

    def __init__(self, world, process):
        self.world, self.process = world, process
        found = []

        def listens():
            found[:] = re.findall(r'"message":"listening[a-z ]*","address":"(127.0.0.1:\d+)"', self.log())
            return len(found) == 2

        if not eventually(listens):
            raise SystemExit(f"the gate does not start: {self.log()}")
        self.address, process.admin = found

    def log(self):
        return pathlib.Path(self.process.log).read_text()[-3000:]

    def delete(self, token, job=JOB):
        """Status and error code of a delete of a job that is there."""
        for it in self.world.jobs:
            self.world.emulator("POST", it)
        url = f"https://{self.address}/v2/{PROJECT}/training-jobs/{job}"
        request = urllib.request.Request(url, method="DELETE")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        trust = ssl.create_default_context(cafile=charts.TLS / "ca.pem")
        try:
            with urllib.request.urlopen(request, timeout=60, context=trust) as answer:
                return answer.status, None
        except urllib.error.HTTPError as error:
            body = json.loads(error.read())
            return error.code, body["error_code"]


def check_rights(check, world):
    """The API server's keys are for those who may read them."""
    world.accounts.forbid_reading()
    gate = world.gate("gate")
    told = eventually(lambda: "403" in gate.log())
    check("without the role the log says 403", told, gate.log())
    check("and the gate is not ready", not gate.process.is_ready(), gate.log())
    answer = gate.delete(world.accounts.token("lychgate"))
    check("and says that it has no keys", answer == (503, "Lychgate.5033"), answer)
    world.cluster.apply([world.binding()])
    ready = eventually(gate.process.is_ready, LOOKS_S)
    check("with the role it gets ready", ready, gate.log())
    return gate if ready else None


def check_tokens(check, world, gate):
    accounts = world.accounts
    bound = accounts.pod()
    legacy = accounts.legacy()
    check("the API server takes the token of a Secret", accounts.is_known(legacy))
    projected = accounts.token(more=[*bound, "--duration=3607s"])
    for name, token, expected in [
        ("for the gate", accounts.token("lychgate"), GOOD),
        ("for another audience", accounts.token("elsewhere"), WRONG_AUDIENCE),
        ("without an audience: the API server's own", accounts.token(), WRONG_AUDIENCE),
        ("that a pod has by itself", projected, WRONG_AUDIENCE),
        ("for two audiences", accounts.token("elsewhere", "lychgate"), GOOD),
        ("for two others", accounts.token("elsewhere", ISSUER), WRONG_AUDIENCE),
        ("bound to a pod", accounts.token("lychgate", more=bound), GOOD),
        ("of a Secret, without an end", legacy, INVALID),
        ("of an account without policies", accounts.token("lychgate", name="stranger"), NOBODY_ALLOWED),
        ("for a day", accounts.token("lychgate", more=["--duration=24h"]), GOOD),
        ("for longer than a day", accounts.token("lychgate", more=["--duration=24h1s"]), INVALID),
        ("for a year", accounts.token("lychgate", more=["--duration=8760h"]), INVALID),
        ("no token", None, (401, "Lychgate.4011")),
    ]:
        answer = gate.delete(token)
        check(f"token {name}: {expected}", answer == expected, (answer, token and read(token)))
    answer = gate.delete(accounts.token("lychgate"), delete.PROD)
    check("the guardrail holds", answer == (403, "Lychgate.4031"), answer)


def check_deleted_account(check, world, gate):
    """SECURITY.md says so: nothing asks the API server about a token."""
    accounts = world.accounts
    own, asked = accounts.token("lychgate"), accounts.token()
    check("an account that is there is known to the API server", accounts.is_known(asked))
    world.cluster.must("delete", "serviceaccount", "experiment", "--namespace", "vision")
    check("a deleted one is not", eventually(lambda: not accounts.is_known(asked)))
    answer = gate.delete(own)
    check("the gate knows it until its token ends", answer == GOOD, answer)
    lifetime = read(own)[1]["exp"] - read(own)[1]["iat"]
    check("which is within a day", 0 < lifetime <= DAY_S, lifetime)
    accounts.make("experiment")


def check_lifetime(check, world, gate):
    """A longer life is the operator's choice."""
    year = world.gate("year", lambda issuer: issuer.update(max_lifetime="365d"))
    check("a gate with `max_lifetime` gets ready", eventually(year.process.is_ready), year.log())
    token = world.accounts.token("lychgate", more=["--duration=8760h"])
    answers = year.delete(token), gate.delete(token)
    check("a token for a year is good where it is allowed", answers == (GOOD, INVALID), answers)


def check_rotation(check, world, gate):
    """The service accounts' keys change under a gate that runs: RSA to P-256."""
    old = world.accounts.token("lychgate")
    world.cluster.add_key("ec", "EC", "ec_paramgen_curve:P-256")
    world.cluster.restart_api()
    new = world.accounts.token("lychgate")
    algorithms = [read(it)[0]["alg"] for it in (old, new)]
    check("a new key signs with ES256", algorithms == ["RS256", "ES256"], algorithms)
    check("its tokens are taken", eventually(lambda: gate.delete(new) == GOOD, LOOKS_S), gate.delete(new))
    answer = gate.delete(old)
    check("and those of the old one", answer == GOOD, answer)

    world.cluster.signing.pop(0)
    world.cluster.restart_api()
    # A gate that starts now sees the new key alone.
    late = world.gate("late")
    check("a gate that starts after that gets ready", eventually(late.process.is_ready), late.log())
    answers = late.delete(new), late.delete(old)
    check("and takes the new key's tokens alone", answers == (GOOD, INVALID), answers)


def check_discovery(check, world):
    """An issuer whose discovery document leads to the keys."""
    url = f"https://127.0.0.1:{world.cluster.port}"
    world.cluster.restart_api(url)

    def change(issuer):
        issuer["issuer"] = url
        issuer["jwks"]["discovery"] = True
        del issuer["jwks"]["url"]

    gate = world.gate("discovery", change)
    check("by discovery the gate gets ready", eventually(gate.process.is_ready, LOOKS_S), gate.log())
    token = world.accounts.token("lychgate")
    answer = gate.delete(token)
    check("and takes a token", answer == GOOD and read(token)[1]["iss"] == url, answer)
    world.accounts.forbid_reading()
    refused = world.gate("refused", change)
    check("without the role it does not", eventually(lambda: "403" in refused.log()), refused.log())
    check("and is not ready", not refused.process.is_ready(), refused.log())


def check_all(check, cluster, helm, work, lychgate):
    world = World(cluster, helm, work, lychgate)
    try:
        gate = check_rights(check, world)
        if gate is None:
            return
        check_tokens(check, world, gate)
        check_deleted_account(check, world, gate)
        check_lifetime(check, world, gate)
        check_rotation(check, world, gate)
        check_discovery(check, world)
    finally:
        world.stop()
