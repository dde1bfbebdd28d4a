"""Images: the generated program, building, and reading archives of both kinds."""

from __future__ import annotations

import hashlib
import io
import platform
import signal
import struct
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from minikube_py.components.kubelet.runtime.images.archive import ArchiveError, normalise_name, read_archive
from minikube_py.components.kubelet.runtime.images.build import (
    ImageFile,
    ImageSpec,
    build_archive,
    build_pause_archive,
    busybox_files,
)
from minikube_py.components.kubelet.runtime.images.pause import PAUSE_IMAGE, pause_program


@pytest.mark.skipif(platform.machine() != "x86_64", reason="runs the program for amd64")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_the_pause_program_waits_and_ends_when_told(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "pause"
    path.write_bytes(pause_program("amd64"))
    path.chmod(0o755)
    process = subprocess.Popen([path], preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {number}))
    process.send_signal(signal.SIGCHLD)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    process.send_signal(number)
    assert process.wait(5) == 0


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("arm64", 183)])
def test_the_pause_program_is_a_small_static_executable(architecture: str, machine: int) -> None:
    program = pause_program(architecture)
    assert program[:4] == b"\x7fELF" and len(program) < 512
    kind, found, _, entry = struct.unpack_from("<HHIQ", program, 16)
    assert (kind, found) == (2, machine)
    _, flags, _, address, _, size, _, _ = struct.unpack_from("<IIQQQQQQ", program, 64)
    assert flags == 5 and size == len(program) and entry == address + 120
    assert program[-8:] == struct.pack("<Q", 1 << 1 | 1 << 14 | 1 << 16)


def test_the_arm_program_branches_where_it_should() -> None:
    """Decoded by hand: every branch lands on the wait or on the reaping, both address loads on the set."""
    words = struct.unpack("<27I", pause_program("arm64")[120:-8])

    def signed(value: int, bits: int) -> int:
        return value - (1 << bits) if value >> (bits - 1) else value

    targets = {
        "set": [1 + (words[1] >> 5 & 0x7FFFF), 6 + (words[6] >> 5 & 0x7FFFF)],
        "equal": [13 + signed(words[13] >> 5 & 0x7FFFF, 19)],
        "negative": [14 + signed(words[14] >> 5 & 0x3FFF, 14)],
        "more": [25 + signed(words[25] >> 5 & 0x7FFFF, 19)],
        "again": [26 + signed(words[26] & 0x3FFFFFF, 26)],
    }
    assert targets == {"set": [27, 27], "equal": [18], "negative": [6], "more": [18], "again": [6]}


def test_building_is_deterministic_and_can_be_read_back(tmp_path: Path) -> None:
    files = {"app": ImageFile(b"#!/bin/sh\n", mode=0o755), "data": ImageFile(directory=True)}
    spec = ImageSpec(name="localhost/app:1", files=files, entrypoint=("/app",), env=("A=b",), labels={"x": "y"})
    digests = {build_archive(tmp_path / f"{name}.tar", spec) for name in "ab"}
    assert len(digests) == 1
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    archive = read_archive(tmp_path / "a.tar")
    (image,) = archive.images
    assert image.name == "localhost/app:1" and {image.digest} == digests
    contents = {}
    for blob in archive.blobs:
        with blob.open() as reader:
            contents[blob.digest] = reader.read()
        assert "sha256:" + hashlib.sha256(contents[blob.digest]).hexdigest() == blob.digest
    assert archive.blobs[-1].digest == image.digest, "parents come after children"
    manifest = orjson.loads(contents[image.digest])
    config = orjson.loads(contents[manifest["config"]["digest"]])
    assert config["config"]["Entrypoint"] == ["/app"] and config["config"]["Labels"] == {"x": "y"}
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert set(archive.blobs[-1].labels.values()) == {manifest["config"]["digest"], manifest["layers"][0]["digest"]}
    archive.close()


def test_the_pause_archive_names_the_sandbox_image(tmp_path: Path) -> None:
    build_pause_archive(tmp_path / "pause.tar")
    archive = read_archive(tmp_path / "pause.tar")
    assert [image.name for image in archive.images] == [PAUSE_IMAGE]
    archive.close()


def test_a_busybox_root_has_its_applets_as_links(tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(b"binary")
    files = busybox_files(tmp_path / "busybox", ["sh", "busybox", "ls"])
    assert files["bin/sh"].target == "busybox" and files["bin/busybox"].content == b"binary"
    assert files["tmp"].mode == 0o1777


def _tar(path: Path, entries: Mapping[str, bytes], links: Mapping[str, str] | None = None, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_dockers_archives_get_a_manifest(tmp_path: Path, mode: str) -> None:
    manifest = [
        {"Config": "c.json", "RepoTags": ["busybox", "quay.io/a/b:2"], "Layers": ["a/layer.tar", "b/layer.tar"]}
    ]
    entries = {"manifest.json": orjson.dumps(manifest), "c.json": b"{}", "a/layer.tar": b"layer"}
    path = _tar(tmp_path / "i.tar", entries, {"b/layer.tar": "../a/layer.tar"}, mode)
    archive = read_archive(path)
    assert [image.name for image in archive.images] == ["docker.io/library/busybox:latest", "quay.io/a/b:2"]
    with archive.blobs[-1].open() as reader:
        made = orjson.loads(reader.read())
    layer = "sha256:" + hashlib.sha256(b"layer").hexdigest()
    assert [item["digest"] for item in made["layers"]] == [layer, layer]
    archive.close()


def test_an_index_may_name_platforms_that_the_archive_leaves_out(tmp_path: Path) -> None:
    build_archive(tmp_path / "one.tar", ImageSpec(name="localhost/one:1"))
    with tarfile.open(tmp_path / "one.tar") as inner:
        reading = {member.name: inner.extractfile(member) for member in inner.getmembers()}
        entries = {name: reader.read() for name, reader in reading.items() if reader is not None}
    mine = orjson.loads(entries["index.json"])["manifests"][0] | {"annotations": {}}
    absent = mine | {"digest": "sha256:" + "0" * 64}
    platforms = orjson.dumps({"manifests": [mine, absent]})
    digest = "sha256:" + hashlib.sha256(platforms).hexdigest()
    top = {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": digest,
        "size": len(platforms),
        "annotations": {"org.opencontainers.image.ref.name": "quay.io/multi:1"},
    }
    entries["index.json"] = orjson.dumps({"manifests": [top]})
    entries["blobs/" + digest.replace(":", "/")] = platforms
    archive = read_archive(_tar(tmp_path / "multi.tar", entries))
    assert [image.name for image in archive.images] == ["quay.io/multi:1"]
    assert archive.blobs[-1].digest == digest and len(archive.blobs[-1].labels) == 2
    archive.close()


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        pytest.param({"readme": b"x"}, "is no image archive", id="another tar"),
        pytest.param({"manifest.json": b"not json"}, "is damaged", id="broken JSON"),
        pytest.param({"manifest.json": b'[{"Config":"gone","Layers":[]}]'}, "is damaged", id="missing config"),
        pytest.param({"oci-layout": b"{}", "index.json": b'{"manifests":[]}'}, "names no image", id="no name"),
    ],
)
def test_what_is_no_archive_is_said_in_one_line(tmp_path: Path, entries: Mapping[str, bytes], text: str) -> None:
    with pytest.raises(ArchiveError, match=text) as caught:
        read_archive(_tar(tmp_path / "x.tar", entries))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"hello")
    with pytest.raises(ArchiveError, match="cannot read image archive"):
        read_archive(tmp_path / "x.tar")


def test_zstd_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "x.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd rest")
    with pytest.raises(ArchiveError, match="zstd -d"):
        read_archive(tmp_path / "x.tar.zst")


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("library/busybox:1", "docker.io/library/busybox:1"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("quay.io/a/b", "quay.io/a/b:latest"),
        ("localhost/a:1", "localhost/a:1"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("a/b@sha256:0", "docker.io/a/b@sha256:0"),
    ],
)
def test_names_become_whole(name: str, full: str) -> None:
    assert normalise_name(name) == full
