"""Callers: deletes of jobs at a steady rate, each job once, and what each was told."""

import collections
import copy
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.request
import uuid

PROJECT = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


class Cloud:
    """The emulator's own interface."""

    def __init__(self, url):
        self.url = f"{url}/emulator"
        self.sample = next(
            it for it in self.ask("GET", "jobs") if {"key": "team", "value": "vision"} in it["tags"]
        )

    def ask(self, method, path, document=None):
        data = None if document is None else json.dumps(document).encode()
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.url}/{path}", data, method=method)
        ) as answer:
            return json.loads(answer.read() or b"null")

    def make_job(self, tags=()):
        """A job of the pool that the example's policy is about; its ID."""
        job = copy.deepcopy(self.sample)
        job["details"]["metadata"]["id"] = str(uuid.uuid4())
        job["tags"] = list(tags)
        self.ask("POST", "jobs", job)
        return job["details"]["metadata"]["id"]

    def deleted(self):
        """How often each job's delete arrived."""
        paths = [it["target"] for it in self.ask("GET", "requests") if it["operation"] == "delete"]
        return collections.Counter(it.split("?")[0].rsplit("/", 1)[1] for it in paths)


class Caller:
    """A connection to the gate's Service."""

    def __init__(self, address, trust, token):
        self.address, self.trust, self.token = address, trust, token
        self.connection = None

    def connect(self):
        plain = socket.create_connection(self.address, timeout=20)
        connection = http.client.HTTPSConnection("lychgate.lychgate.svc", timeout=20)
        connection.sock = self.trust().wrap_socket(plain, server_hostname="lychgate.lychgate.svc")
        return connection

    def delete(self, job, keep=False):
        """The status, or what broke. `keep` uses the connection again unless the gate says close."""
        connection, self.connection = self.connection or self.connect(), None
        path = f"/v2/{PROJECT}/training-jobs/{job}"
        connection.request("DELETE", path, headers={"Authorization": f"Bearer {self.token()}"})
        answer = connection.getresponse()
        answer.read()
        if keep and answer.getheader("connection", "").lower() != "close":
            self.connection = connection
        else:
            connection.close()
        return answer.status


class Load:
    """Two callers, one with a new connection for each delete and one that keeps its own."""

    def __init__(self, cloud, make_caller, rate):
        self.cloud, self.told, self.stop = cloud, [], threading.Event()
        self.threads = [
            threading.Thread(target=self.call, args=(make_caller(), keep, rate / 2))
            for keep in (False, True)
        ]

    def call(self, caller, keep, rate):
        while not self.stop.is_set():
            began = time.monotonic()
            job = self.cloud.make_job()
            try:
                self.told.append((job, caller.delete(job, keep)))
            except (OSError, http.client.HTTPException) as error:
                caller.connection = None
                self.told.append((job, f"{type(error).__name__}: {error}"))
            self.stop.wait(max(0, began + 1 / rate - time.monotonic()))

    def __enter__(self):
        for it in self.threads:
            it.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for it in self.threads:
            it.join()
