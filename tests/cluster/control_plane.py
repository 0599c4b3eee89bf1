"""A Kubernetes control plane: etcd and the API server, with a PKI of its own."""

import json
import os
import pathlib
import shutil
import subprocess
import time

from delete import free_port

DEADLINE_S = 120
# What the charts' example calls the cluster's issuer.
ISSUER = "https://kubernetes.default.svc.cluster.local"
SERVICES = "10.96.0.0/16"
API_ADDRESS = "10.96.0.1"
# Of the only node, where there is one.
NODE_ADDRESS = "10.244.0.1"

CONFIG = """\
basicConstraints=CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage={usage}
"""


def eventually(holds, seconds=DEADLINE_S):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.1)
    return False


def openssl(*arguments, data=None):
    run = subprocess.run(["openssl", *arguments], input=data, capture_output=True)
    if run.returncode != 0:
        raise SystemExit(f"openssl {arguments[0]}: {run.stderr.decode()}")
    return run.stdout


class Pki:
    """An authority, and what it signs."""

    def __init__(self, directory, name):
        self.directory = directory
        directory.mkdir(parents=True)
        self.ca = directory / "ca.crt"
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(directory / "ca.key"), "-out", str(self.ca), "-days", "30"),
            *("-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def sign(self, name, subject, usage="clientAuth", names=()):
        """The files of a certificate and its key."""
        key, certificate = self.directory / f"{name}.key", self.directory / f"{name}.crt"
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        text = CONFIG.format(usage=usage)
        extensions.write_text(text + (f"subjectAltName={','.join(names)}\n" if names else ""))
        openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(key), "-out", str(request), "-subj", subject),
        )
        openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.ca), "-days", "30"),
            *("-CAkey", str(self.directory / "ca.key"), "-CAcreateserial", "-out", str(certificate)),
            *("-extfile", str(extensions)),
        )
        return certificate, key


class Processes:
    """What was started, to be ended in the opposite order."""

    def __init__(self, logs):
        self.logs, self.running = logs, {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name, command, **options):
        with open(self.logs / f"{name}.log", "a", encoding="utf-8") as log:
            command = [str(it) for it in command]
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options
            )
        self.running[name] = process
        return process

    def log(self, name):
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def stop(self, name):
        process = self.running.pop(name)
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop_all(self):
        for name in reversed(list(self.running)):
            self.stop(name)


class Cluster:
    """etcd and the API server on loopback. `bin` holds the commands, `etcd` is etcd's."""

    def __init__(self, work, bin, etcd, port=None):
        self.work, self.bin, self.etcd = work, pathlib.Path(bin), etcd
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        self.processes = Processes(work / "logs")
        self.pki = Pki(work / "pki", "kubernetes")
        self.port = port or free_port()
        names = ["localhost", *(f"kubernetes{it}" for it in ("", ".default", ".default.svc"))]
        names += ["kubernetes.default.svc.cluster.local"]
        addresses = ["127.0.0.1", API_ADDRESS, NODE_ADDRESS]
        self.server = self.pki.sign(
            "apiserver",
            "/CN=kube-apiserver",
            "serverAuth",
            [f"DNS:{it}" for it in names] + [f"IP:{it}" for it in addresses],
        )
        self.admin = self.kubeconfig("admin", "/O=system:masters/CN=admin")
        self.signing = []
        self.add_key("rsa", "RSA", "rsa_keygen_bits:2048")

    def kubeconfig(self, name, subject):
        """A client of the API server."""
        certificate, key = self.pki.sign(name, subject)
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self.pki.ca)}
        user = {"client-certificate": str(certificate), "client-key": str(key)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = self.work / f"{name}.kubeconfig"
        path.write_text(json.dumps(document))
        return path

    def add_key(self, name, algorithm, option):
        """A key for service-account tokens; the newest signs, all are published."""
        key, public = self.work / f"pki/sa-{name}.key", self.work / f"pki/sa-{name}.pub"
        openssl("genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-out", str(key))
        openssl("pkey", "-in", str(key), "-pubout", "-out", str(public))
        self.signing.append((key, public))

    def start_etcd(self):
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.etcd_url = client
        self.processes.start(
            "etcd",
            [self.etcd, "--data-dir", self.work / "etcd", "--unsafe-no-fsync"]
            + ["--listen-client-urls", client, "--advertise-client-urls", client]
            + ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            + ["--initial-cluster", f"default={peer}"],
        )

    def start_api(self, issuer=ISSUER, **more):
        """`more` are further arguments, or others instead of these."""
        certificate, key = self.server
        arguments = {
            "etcd-servers": self.etcd_url,
            "bind-address": "127.0.0.1",
            "secure-port": self.port,
            "advertise-address": "127.0.0.1",
            "endpoint-reconciler-type": "none",
            "service-cluster-ip-range": f"{SERVICES},fd00:10:96::/112",
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "client-ca-file": self.pki.ca,
            "tls-cert-file": certificate,
            "tls-private-key-file": key,
            "service-account-issuer": issuer,
            "service-account-signing-key-file": self.signing[-1][0],
            **{name.replace("_", "-"): value for name, value in more.items()},
        }
        command = [self.bin / "kube-apiserver"]
        command += [f"--{name}={value}" for name, value in arguments.items()]
        command += [f"--service-account-key-file={public}" for _, public in self.signing]
        self.processes.start("kube-apiserver", command)
        if not eventually(lambda: self.kubectl("get", "--raw", "/readyz").returncode == 0):
            raise SystemExit(
                f"the API server does not get ready\n{self.processes.log('kube-apiserver')[-4000:]}"
            )

    def restart_api(self, issuer=ISSUER):
        self.processes.stop("kube-apiserver")
        self.start_api(issuer)

    def kubectl(self, *arguments, data=None):
        return subprocess.run(
            [str(it) for it in (self.bin / "kubectl", "--kubeconfig", self.admin, *arguments)],
            input=data,
            env={**os.environ, "HOME": str(self.work)},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    def must(self, *arguments, data=None):
        """The output of a kubectl that has to succeed."""
        run = self.kubectl(*arguments, data=data)
        if run.returncode != 0:
            raise SystemExit(f"kubectl {' '.join(map(str, arguments))}: {run.stderr}")
        return run.stdout

    def get(self, *arguments):
        return json.loads(self.must("get", "--output", "json", *arguments))

    def apply(self, objects):
        """For what a test needs itself."""
        items = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.must("apply", "--server-side", "--filename", "-", data=json.dumps(items))

    def stop(self):
        self.processes.stop_all()
