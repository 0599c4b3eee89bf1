"""The charts and the gate with a real API server.

Usage: api.py WORK BIN ETCD HELM LYCHGATE, started by tests/cluster/run.
"""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parent.parent / "helm"))

import accounts
import applied
import charts
import pod
from control_plane import Cluster


def main():
    work, bin, etcd, helm, lychgate = map(pathlib.Path, sys.argv[1:])
    check = charts.Checks()
    cluster = Cluster(work / "api", bin, etcd)
    try:
        cluster.start_etcd()
        cluster.start_api()
        charted = pod.Helm(helm / "bin/helm", charts.CHARTS, work / "charts")
        applied.check_all(check, cluster, charted, helm / "crds")
        accounts.check_all(check, cluster, charted, work, str(lychgate))
    finally:
        cluster.stop()
    if check.failures:
        sys.exit(f"tests/cluster: FAILED: {check.failures}; the logs are in {work}/api/logs")


main()
