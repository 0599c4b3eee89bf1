"""A node for the control plane: kubelet, containerd, kube-proxy, a NetworkPolicy engine and a DNS.

Runs in namespaces of its own (mounts, network, processes), as tests/cluster/nightly makes them: what
kubelet sets in the kernel, the pods' addresses and every process end with them.
"""

import json
import os
import pathlib
import subprocess
import sys

from control_plane import ISSUER, NODE_ADDRESS, Cluster, eventually

PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
NODE = "node-1"

# Kubelet sets them for the whole machine.
TUNABLES = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)

CONTAINERD = """\
version = 2
root = "{work}/containerd/root"
state = "{run}/containerd"
[grpc]
  address = "{run}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{packages}/usr/lib/cni"
    conf_dir = "{work}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{packages}/usr/sbin/runc"
        SystemdCgroup = false
"""


def run(*command):
    subprocess.run([str(it) for it in command], check=True)


class Node:
    """The cluster with its one node. Below `packages` Debian's are unpacked: `etcd`, `node`."""

    def __init__(self, work, bin, packages):
        self.cluster = Cluster(work, bin, packages / "etcd/usr/bin/etcd", port=6443)
        self.work, self.packages = work, packages / "node"
        self.bin = self.cluster.bin
        # A socket's path is short.
        self.run = pathlib.Path("/run/lychgate-test")
        self.processes = self.cluster.processes
        path = [work / "bin", *(self.packages / it for it in ("usr/sbin", "usr/bin", "sbin"))]
        os.environ["PATH"] = ":".join([*map(str, path), os.environ["PATH"]])
        libraries = self.packages / "usr/lib" / f"{os.uname().machine}-linux-gnu"
        os.environ["LD_LIBRARY_PATH"] = str(libraries)
        os.environ["XTABLES_LIBDIR"] = str(libraries / "xtables")
        self.make_namespaces()

    def make_namespaces(self):
        """So that nothing outside is changed."""
        run("mount", "--make-rshared", "/")
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        self.run.mkdir()
        for it in TUNABLES:
            own = self.run / it.replace("/", ".")
            own.write_text(pathlib.Path("/proc/sys", it).read_text())
            run("mount", "--bind", own, pathlib.Path("/proc/sys", it))
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "cni0", "type", "bridge")
        run("ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", "cni0")
        run("ip", "link", "set", "cni0", "up")
        run("ip", "route", "add", SERVICES, "dev", "cni0")
        pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        (self.work / "bin").mkdir()
        for it in ("iptables", "ip6tables"):
            for end in ("", "-save", "-restore"):
                (self.work / "bin" / f"{it}{end}").symlink_to(
                    self.packages / "usr/sbin/xtables-nft-multi"
                )
        # There is nothing to load: what the kernel has is built in.
        (self.work / "bin/modprobe").symlink_to("/bin/true")

    def start(self, archives, hosts):
        """`hosts` are names outside of the cluster, which lead to the node."""
        cluster = self.cluster
        cluster.start_etcd()
        certificate, key = cluster.pki.sign("kubelet-client", "/O=system:masters/CN=apiserver")
        cluster.start_api(
            ISSUER,
            bind_address="0.0.0.0",
            advertise_address=NODE_ADDRESS,
            endpoint_reconciler_type="lease",
            kubelet_client_certificate=certificate,
            kubelet_client_key=key,
            kubelet_preferred_address_types="InternalIP",
        )
        self.start_controllers()
        self.start_containerd(archives)
        self.start_kubelet()
        self.start_proxy()
        ready = ("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=1s")
        if not eventually(lambda: cluster.kubectl(*ready).returncode == 0):
            raise SystemExit(f"the node does not get ready\n{self.processes.log('kubelet')[-4000:]}")
        # It wants to know the node.
        self.start_router()
        self.start_dns(hosts)

    def start_controllers(self):
        authority, (key, _) = self.cluster.pki.ca, self.cluster.signing[-1]
        for name, more in (
            (
                "controller-manager",
                ["--use-service-account-credentials", f"--root-ca-file={authority}"]
                + [f"--service-account-private-key-file={key}"]
                + ["--allocate-node-cidrs", f"--cluster-cidr={PODS}", "--node-cidr-mask-size=24"],
            ),
            ("scheduler", []),
        ):
            file = self.cluster.kubeconfig(name, f"/CN=system:kube-{name}")
            flags = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
            arguments = [f"--{it}={file}" for it in flags]
            arguments += ["--bind-address=127.0.0.1", "--leader-elect=false", *more]
            self.processes.start(f"kube-{name}", [self.bin / f"kube-{name}", *arguments])

    def start_containerd(self, archives):
        network = {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": PODS}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                        "dataDir": str(self.work / "ipam"),
                    },
                }
            ],
        }
        (self.work / "cni").mkdir()
        (self.work / "cni/10-bridge.conflist").write_text(json.dumps(network))
        text = CONTAINERD.format(work=self.work, run=self.run, packages=self.packages)
        (self.work / "containerd.toml").write_text(text)
        self.processes.start("containerd", ["containerd", "--config", self.work / "containerd.toml"])
        socket = self.run / "containerd.sock"
        ctr = ["ctr", "--address", str(socket), "--namespace", "k8s.io"]
        if not eventually(lambda: subprocess.run([*ctr, "version"], capture_output=True).returncode == 0):
            raise SystemExit(f"containerd does not start\n{self.processes.log('containerd')[-4000:]}")
        for it in archives:
            subprocess.run([*ctr, "images", "import", str(it)], check=True, stdout=subprocess.DEVNULL)

    def start_kubelet(self):
        document = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "containerRuntimeEndpoint": f"unix://{self.run}/containerd.sock",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.cluster.pki.ca)},
            },
            "authorization": {"mode": "Webhook"},
            "address": NODE_ADDRESS,
            "healthzBindAddress": "127.0.0.1",
            "clusterDNS": [NODE_ADDRESS],
            "clusterDomain": "cluster.local",
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "featureGates": {"KubeletInUserNamespace": True},
            "resolvConf": "",
            "evictionHard": {
                "nodefs.available": "1%",
                "imagefs.available": "1%",
                "memory.available": "100Mi",
            },
            # The disk is the machine's, and how full it is nothing that images here could change.
            "imageGCHighThresholdPercent": 100,
            "podLogsDir": str(self.work / "pods"),
            # Changed Secrets and ConfigMaps arrive within seconds.
            "syncFrequency": "5s",
            "configMapAndSecretChangeDetectionStrategy": "Watch",
        }
        (self.work / "kubelet.json").write_text(json.dumps(document))
        kubeconfig = self.cluster.kubeconfig("node", f"/O=system:nodes/CN=system:node:{NODE}")
        self.processes.start(
            "kubelet",
            [self.bin / "kubelet", f"--kubeconfig={kubeconfig}", f"--config={self.work}/kubelet.json"]
            + [f"--root-dir={self.work}/kubelet", f"--cert-dir={self.work}/kubelet-pki"]
            + [f"--hostname-override={NODE}", f"--node-ip={NODE_ADDRESS}"],
        )

    def start_proxy(self):
        document = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {
                "kubeconfig": str(self.cluster.kubeconfig("proxy", "/CN=system:kube-proxy"))
            },
            "hostnameOverride": NODE,
            "clusterCIDR": PODS,
            "bindAddress": NODE_ADDRESS,
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }
        (self.work / "proxy.json").write_text(json.dumps(document))
        self.processes.start("kube-proxy", [self.bin / "kube-proxy", f"--config={self.work}/proxy.json"])

    def start_router(self):
        """For NetworkPolicies alone."""
        self.processes.start(
            "kube-router",
            [
                self.bin / "kube-router",
                "--run-firewall=true",
                "--run-router=false",
                "--run-service-proxy=false",
            ]
            + [f"--kubeconfig={self.cluster.admin}", f"--hostname-override={NODE}"]
            + [f"--service-cluster-ip-range={SERVICES}", "--iptables-sync-period=10s"],
        )

    def start_dns(self, hosts):
        command = [
            sys.executable,
            pathlib.Path(__file__).with_name("dns.py"),
            NODE_ADDRESS,
            self.cluster.admin,
        ]
        self.processes.start("dns", command + [f"{it}={NODE_ADDRESS}" for it in hosts])

    def stop(self):
        self.processes.stop_all()
