"""Builds OCI image archives in pure Python: one layer from given files, a config, a manifest.

The result is deterministic (equal inputs give equal bytes, hence equal digests) and can be
imported here, or read by docker, podman and skopeo. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from minikube_py.components.kubelet.runtime.images.pause import PAUSE_IMAGE, pause_program

_layer_type = "application/vnd.oci.image.layer.v1.tar"
_config_type = "application/vnd.oci.image.config.v1+json"
_manifest_type = "application/vnd.oci.image.manifest.v1+json"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One entry of a layer: a file with content, a directory (``directory``) or a symbolic link (``target``)."""

    content: bytes = b""
    mode: int = 0o644
    target: str = ""
    directory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What an image runs; the words are those of OCI's image configuration."""

    name: str
    files: Mapping[str, ImageFile] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    env: Sequence[str] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    working_dir: str = ""
    user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    exposed_ports: Sequence[str] = ()
    stop_signal: str = ""
    architecture: str = ""


def machine_architecture() -> str:
    """This machine's architecture in Go's words (``amd64``, ``arm64``)."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def build_archive(path: Path, spec: ImageSpec) -> str:
    """Write an OCI archive; returns the digest of its manifest. The file appears whole or not at all."""
    layer = _layer(spec.files)
    config = orjson.dumps(_config(spec, _digest(layer)))
    manifest = orjson.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _manifest_type,
            "config": _descriptor(_config_type, config),
            "layers": [_descriptor(_layer_type, layer)],
        }
    )
    named = _descriptor(_manifest_type, manifest) | {"annotations": {"io.containerd.image.name": spec.name}}
    index = orjson.dumps({"schemaVersion": 2, "manifests": [named]})
    entries = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
    entries |= {f"blobs/sha256/{_hex(blob)}": blob for blob in (layer, config, manifest)}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with tarfile.open(temporary, "w") as archive:
        for name, content in entries.items():
            _add(archive, name, ImageFile(content))
    temporary.replace(path)
    return _digest(manifest)


def build_pause_archive(path: Path) -> str:
    """Write the archive of the sandbox image for this machine; returns its digest."""
    architecture = machine_architecture()
    program = ImageFile(pause_program(architecture), mode=0o755)
    spec = ImageSpec(
        name=PAUSE_IMAGE,
        files={"pause": program},
        entrypoint=("/pause",),
        user="65535:65535",
        architecture=architecture,
    )
    return build_archive(path, spec)


def busybox_files(busybox: Path, applets: Sequence[str]) -> dict[str, ImageFile]:
    """A root file system of a static busybox, a symbolic link for each applet, and the usual folders."""
    folders = ("bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr", "var")
    files = {name: ImageFile(mode=0o1777 if name == "tmp" else 0o755, directory=True) for name in folders}
    files["bin/busybox"] = ImageFile(busybox.read_bytes(), mode=0o755)
    files |= {f"bin/{applet}": ImageFile(target="busybox") for applet in applets if applet != "busybox"}
    files["etc/passwd"] = ImageFile(b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")
    files["etc/group"] = ImageFile(b"root:x:0:\nnobody:x:65534:\n")
    return files


def _layer(files: Mapping[str, ImageFile]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted(files):
            _add(archive, name, files[name])
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, entry: ImageFile) -> None:
    info = tarfile.TarInfo(name)
    info.mode = entry.mode
    if entry.directory:
        info.type = tarfile.DIRTYPE
    elif entry.target:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
    else:
        info.size = len(entry.content)
    archive.addfile(info, io.BytesIO(entry.content))


def _config(spec: ImageSpec, layer_digest: str) -> dict[str, object]:
    run: dict[str, object] = {
        "User": spec.user,
        "ExposedPorts": {port: {} for port in spec.exposed_ports},
        "Env": list(spec.env),
        "Entrypoint": list(spec.entrypoint),
        "Cmd": list(spec.cmd),
        "WorkingDir": spec.working_dir,
        "Labels": dict(spec.labels),
        "StopSignal": spec.stop_signal,
    }
    return {
        "created": "1970-01-01T00:00:00Z",
        "architecture": spec.architecture or machine_architecture(),
        "os": "linux",
        "config": {name: value for name, value in run.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "pyk3s"}],
    }


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{_hex(content)}"


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
