"""Reads image archives (OCI layout or ``docker save``; plain, gzip, bzip2 or xz).

``read_archive`` gives what a content store needs: blobs in the order in which they may be written
(children before parents), labels that keep a parent's children alive, and the names of images.
Docker's form has no manifests: they are made here. Everything here blocks: call it in a thread.
Errors: ``ArchiveError``, one line.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

_chunk_bytes = 1 << 20
_largest_json_bytes = 8 << 20
_INDEX_TYPES = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)
_docker_manifest = "application/vnd.docker.distribution.manifest.v2+json"
_docker_config = "application/vnd.docker.container.image.v1+json"
_docker_layer = "application/vnd.docker.image.rootfs.diff.tar"
_oci_manifest = "application/vnd.oci.image.manifest.v1+json"
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class ArchiveError(Exception):
    """The file is no image archive that can be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Content with its digest; ``open`` gives a fresh reader (close it)."""

    digest: str
    size: int
    open: Callable[[], IO[bytes]]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NamedImage:
    name: str
    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Archive:
    """Holds its file open until ``close``."""

    blobs: tuple[Blob, ...]
    images: tuple[NamedImage, ...]
    close: Callable[[], None]


def read_archive(path: Path) -> Archive:
    """The images of an archive; close it when its blobs have been read. Raises ArchiveError."""
    with path.open("rb") as file:
        if file.read(len(_ZSTD_MAGIC)) == _ZSTD_MAGIC:
            raise ArchiveError(f"{path} is compressed with zstd, which is not read here; run: zstd -d {path}")
    try:
        tar = tarfile.open(path, "r:*")  # noqa: SIM115 - its members are read after this function
    except (tarfile.TarError, OSError, EOFError) as error:
        cause = str(error).splitlines()[0].rstrip(":")  # tarfile goes on with a line for each compression it tried
        raise ArchiveError(f"cannot read image archive {path}: {cause}") from error
    try:
        members = {member.name.removeprefix("./"): member for member in tar.getmembers() if not member.isdir()}
        if "index.json" in members and "oci-layout" in members:
            return _OciReader(tar, members).read()
        if "manifest.json" in members:
            return _read_docker(tar, members)
    except (tarfile.TarError, orjson.JSONDecodeError, KeyError, TypeError, EOFError) as error:
        tar.close()
        raise ArchiveError(f"image archive {path} is damaged: {error}") from error
    except ArchiveError:
        tar.close()
        raise
    tar.close()
    raise ArchiveError(f"{path} is no image archive: it has neither index.json nor manifest.json")


def normalise_name(name: str) -> str:
    """The full form of an image name: ``busybox`` -> ``docker.io/library/busybox:latest``."""
    first, slash, rest = name.partition("/")
    if not slash or ("." not in first and ":" not in first and first != "localhost"):
        name = f"docker.io/{name}" if slash else f"docker.io/library/{name}"
    elif first == "docker.io" and "/" not in rest:
        name = f"docker.io/library/{rest}"
    last = name.rpartition("/")[2]
    return name if ":" in last or "@" in last else f"{name}:latest"


class _OciReader:
    """Walks from index.json to every blob that the archive holds."""

    def __init__(self, tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> None:
        self._tar = tar
        self._members = members
        self._blobs: dict[str, Blob] = {}

    def read(self) -> Archive:
        index = _json(self._tar, self._members["index.json"])
        images = []
        for descriptor in index["manifests"]:
            self._walk(descriptor)
            name = _oci_name(descriptor.get("annotations") or {})
            if name:
                media_type = descriptor.get("mediaType") or _oci_manifest
                images.append(NamedImage(name, media_type, descriptor["digest"], descriptor["size"]))
        if not images:
            raise ArchiveError(f"image archive {self._tar.name!s} names no image (annotation io.containerd.image.name)")
        return Archive(tuple(self._blobs.values()), tuple(images), self._tar.close)

    def _walk(self, descriptor: Mapping[str, Any]) -> None:
        """Record a blob after its children; an index may name platforms that the archive leaves out."""
        digest = str(descriptor["digest"])
        member = self._members.get("blobs/" + digest.replace(":", "/", 1))
        if member is None or digest in self._blobs:
            return
        labels: dict[str, str] = {}
        media_type = str(descriptor.get("mediaType") or _oci_manifest)
        if media_type in _INDEX_TYPES:
            for number, child in enumerate(_json(self._tar, member).get("manifests") or ()):
                self._walk(child)
                labels[f"containerd.io/gc.ref.content.m.{number}"] = child["digest"]
        elif "manifest" in media_type:
            manifest = _json(self._tar, member)
            self._walk(manifest["config"] | {"mediaType": "config"})
            for layer in manifest["layers"]:
                self._walk(layer | {"mediaType": "layer"})
            labels = _manifest_labels(manifest)
        self._blobs[digest] = _blob_of(self._tar, member, digest, labels)


def _oci_name(annotations: Mapping[str, str]) -> str:
    """containerd's annotation holds the whole name; OCI's is a whole name too when it has a slash."""
    name = annotations.get("io.containerd.image.name", "")
    reference = annotations.get("org.opencontainers.image.ref.name", "")
    if name or "/" in reference or ":" in reference:
        return normalise_name(name or reference)
    return ""


def _read_docker(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> Archive:
    blobs: dict[str, Blob] = {}
    images: list[NamedImage] = []
    for entry in _json(tar, members["manifest.json"]):
        config = _hashed(tar, members[entry["Config"]])
        layers = [_hashed(tar, _link_target(members, name)) for name in entry["Layers"]]
        for blob in (config, *layers):
            blobs[blob.digest] = blob
        manifest = {
            "schemaVersion": 2,
            "mediaType": _docker_manifest,
            "config": {"mediaType": _docker_config, "digest": config.digest, "size": config.size},
            "layers": [{"mediaType": _layer_type(item), "digest": item.digest, "size": item.size} for item in layers],
        }
        content = orjson.dumps(manifest)
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        blobs[digest] = Blob(digest, len(content), _memory(content), _manifest_labels(manifest))
        names = [normalise_name(name) for name in entry.get("RepoTags") or ()]
        images += [NamedImage(name, _docker_manifest, digest, len(content)) for name in names]
    return Archive(tuple(blobs.values()), tuple(images), tar.close)


def _manifest_labels(manifest: Mapping[str, Any]) -> dict[str, str]:
    labels = {"containerd.io/gc.ref.content.config": manifest["config"]["digest"]}
    for number, layer in enumerate(manifest["layers"]):
        labels[f"containerd.io/gc.ref.content.l.{number}"] = layer["digest"]
    return labels


def _link_target(members: Mapping[str, tarfile.TarInfo], name: str) -> tarfile.TarInfo:
    """Older docker stores equal layers once and links to them."""
    member = members[name]
    if not member.issym():
        return member
    parts = (Path(name).parent / member.linkname).parts
    path: list[str] = []
    for part in parts:
        if part == "..":
            path.pop()
        elif part != ".":
            path.append(part)
    return members["/".join(path)]


def _layer_type(blob: Blob) -> str:
    with blob.open() as reader:
        return _docker_layer + ".gzip" if reader.read(2) == _GZIP_MAGIC else _docker_layer


def _json(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    if member.size > _largest_json_bytes:
        raise ArchiveError(f"{member.name} is too large to be a manifest ({member.size} bytes)")
    with _open(tar, member) as reader:
        return orjson.loads(reader.read())


def _hashed(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Blob:
    checksum = hashlib.sha256()
    with _open(tar, member) as reader:
        while chunk := reader.read(_chunk_bytes):
            checksum.update(chunk)
    return _blob_of(tar, member, f"sha256:{checksum.hexdigest()}", {})


def _blob_of(tar: tarfile.TarFile, member: tarfile.TarInfo, digest: str, labels: Mapping[str, str]) -> Blob:
    return Blob(digest, member.size, lambda: _open(tar, member), labels)


def _open(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    reader = tar.extractfile(member)
    if reader is None:
        raise ArchiveError(f"{member.name} in the archive is not a file")
    return reader


def _memory(content: bytes) -> Callable[[], IO[bytes]]:
    return lambda: io.BytesIO(content)
