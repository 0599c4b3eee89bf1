"""Container images, made of this machine's files: archives as containerd imports them."""

import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile


def archive(out, name, files, entrypoint, user, environment=()):
    """An image of one layer. `files` maps paths in the image to files and directories here."""
    layer = out.with_suffix(".layer")

    def own(it):
        it.uid = it.gid = 0
        it.uname = it.gname = "root"
        it.mode |= 0o555 if it.isdir() or it.mode & 0o100 else 0o444
        return None if re.search("/(__pycache__|site-packages|test)$", it.name) and it.isdir() else it

    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as it:
        tmp = tarfile.TarInfo("tmp")
        tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
        it.addfile(tmp)
        for path, source in files.items():
            it.add(source, path.lstrip("/"), filter=own)
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    config = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "config": {"User": user, "Entrypoint": entrypoint, "Env": list(environment), "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    text = json.dumps(config).encode()
    file = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = json.dumps([{"Config": file, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(out, "w") as it:
        it.add(layer, "layer.tar")
        for path, data in ((file, text), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            it.addfile(entry, io.BytesIO(data))
    layer.unlink()
    return out


PAUSE = """\
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	<-ends
}
"""


def pause(directory):
    """What holds a pod's namespaces."""
    source, binary = directory / "pause.go", directory / "pause"
    source.write_text(PAUSE)
    environment = {**os.environ, "CGO_ENABLED": "0"}
    subprocess.run(["go", "build", "-o", binary, source], check=True, env=environment)
    return archive(
        directory / "pause.tar", "localhost/pause:1", {"/pause": binary}, ["/pause"], "65535:65535"
    )


def libraries(binaries):
    """The shared libraries that the binaries need, by their paths."""
    found = set()
    for it in binaries:
        run = subprocess.run(["ldd", it], capture_output=True, text=True)
        found |= set(re.findall(r"(/\S+\.so\S*) \(", run.stdout))
    return {it: str(pathlib.Path(it).resolve()) for it in found}


def python(directory, packages, name):
    """This interpreter and `packages`, a directory of site-packages, for the examples' workloads."""
    base = pathlib.Path(sys.base_prefix)
    binary = pathlib.Path(sys.executable).resolve()
    standard = pathlib.Path(os.__file__).parent
    files = {
        "/usr/local/bin/python3": binary,
        f"/opt/python/lib/{standard.name}": standard,
        "/packages": packages,
    }
    files |= libraries([binary, *standard.glob("lib-dynload/*.so")])
    files |= {f"/usr/lib/{it.name}": it.resolve() for it in base.glob("lib/libpython3*.so.1.0")}
    environment = ["PATH=/usr/local/bin", "PYTHONHOME=/opt/python", "PYTHONPATH=/packages"]
    environment += ["LD_LIBRARY_PATH=/usr/lib", "PYTHONDONTWRITEBYTECODE=1"]
    return archive(
        directory / "python.tar", name, files, ["/usr/local/bin/python3"], "10001:10001", environment
    )


def gate(directory, binary, name):
    """The gate from a binary here, for when the Dockerfile's image is not at hand."""
    files = {"/usr/local/bin/lychgate": binary} | libraries([binary])
    arguments = ["/usr/local/bin/lychgate"]
    return archive(directory / "gate.tar", name, files, arguments, "65532:65532")
