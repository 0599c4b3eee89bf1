"""A cluster's DNS: addresses of Services and of the pods behind headless ones, and some fixed names.

Usage: dns.py LISTEN KUBECONFIG [NAME=ADDRESS]…
"""

import json
import socket
import ssl
import struct
import sys
import time
import urllib.request

DOMAIN = "svc.cluster.local"
FRESH_S = 1
ADDRESS, INTERNET = 1, 1
NO_SUCH_NAME = 3


class Names:
    """What the API server knows, at most a second old."""

    def __init__(self, kubeconfig, fixed):
        document = json.load(open(kubeconfig, encoding="utf-8"))
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self.server = cluster["server"]
        self.trust = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self.trust.load_cert_chain(user["client-certificate"], user["client-key"])
        self.fixed, self.known, self.read = fixed, {}, 0

    def items(self, path):
        with urllib.request.urlopen(self.server + path, context=self.trust, timeout=3) as answer:
            return json.load(answer)["items"]

    def find(self, name):
        """The addresses of a name; None when there is no such name."""
        if FRESH_S < time.monotonic() - self.read:
            self.known, self.read = dict(self.look()), time.monotonic()
        return self.fixed.get(name, self.known.get(name))

    def look(self):
        headless = {}
        for it in self.items("/api/v1/services"):
            name = f"{it['metadata']['name']}.{it['metadata']['namespace']}.{DOMAIN}"
            address = it["spec"].get("clusterIP", "None")
            if address == "None":
                headless[name] = it["spec"].get("publishNotReadyAddresses", False)
            else:
                yield name, [address]
        behind = {name: [] for name in headless}
        for it in self.items("/apis/discovery.k8s.io/v1/endpointslices"):
            labels, space = it["metadata"]["labels"], it["metadata"]["namespace"]
            name = f"{labels.get('kubernetes.io/service-name')}.{space}.{DOMAIN}"
            if name not in behind:
                continue
            for end in it.get("endpoints") or []:
                if not end["conditions"].get("ready") and not headless[name]:
                    continue
                behind[name] += end["addresses"]
                if "hostname" in end:
                    yield f"{end['hostname']}.{name}", end["addresses"]
        yield from behind.items()


def answer(names, query):
    """The reply to a query of one question (RFC 1035 §4)."""
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    question = query[12 : at + 5]
    (kind,) = struct.unpack(">H", query[at + 1 : at + 3])
    found = names.find(".".join(labels))
    addresses = found or [] if kind == ADDRESS else []
    flags = 0x8580 | (NO_SUCH_NAME if found is None else 0)
    reply = query[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0) + question
    for it in addresses:
        # A pointer to the question's name, and a life of two seconds.
        reply += struct.pack(">HHHIH", 0xC00C, ADDRESS, INTERNET, 2, 4) + socket.inet_aton(it)
    return reply


def main():
    listen, kubeconfig, *fixed = sys.argv[1:]
    names = Names(
        kubeconfig, {name: [address] for name, _, address in (it.partition("=") for it in fixed)}
    )
    served = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    served.bind((listen, 53))
    while True:
        query, client = served.recvfrom(512)
        try:
            served.sendto(answer(names, query), client)
        except (OSError, IndexError, ValueError, struct.error) as error:
            print("no answer:", error, flush=True)


main()
