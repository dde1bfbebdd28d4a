"""Power cuts between two files of a batch: the next start repairs what it finds, and nobody is cut off."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pki_support import NOW, YEAR, ensure, is_known, verifies

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.pki import layout, rotation
from minikube_py.pki.files import write_files
from minikube_py.pki.inspection import inspect_certificates
from minikube_py.pki.rotation import rotate_authorities, rotate_leaves


class PowerCut(Exception):
    """The machine is off."""


def cut_after(count: int) -> Callable[..., None]:
    """A ``write_files`` that gets so far; batches of another folder (backups) are left alone."""

    def write(contents: Mapping[Path, bytes], *mode: int) -> None:
        if any(path.parent.name.startswith("tls-") for path in contents):
            write_files(contents, *mode)
            return
        write_files(dict(list(contents.items())[:count]), *mode)
        if len(contents) > count:
            raise PowerCut

    return write


CHANGES: dict[str, tuple[float, Callable[[Path, float], object]]] = {
    "first start": (NOW, ensure),
    "succession": (NOW + 9.2 * YEAR, ensure),
    "rotation of leaves": (NOW + 60, lambda data, now: rotate_leaves(data, FakeClock(now))),
    "rotation of authorities": (NOW + 60, lambda data, now: rotate_authorities(data, FakeClock(now))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_prefix_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    now, change = CHANGES[name]
    before, data = tmp_path / "before", tmp_path / "data"
    old_bundle = old_client = b""
    if name != "first start":
        pki = ensure(before)
        old_bundle = pki.server_ca.certificate.read_bytes()
        old_client = pki.client_admin.certificate.read_bytes()
    for count in (*range(8), *range(8, 40, 5)):  # the authorities come first, each file of theirs counts
        if before.exists():
            shutil.copytree(before, data)
        for module in (layout, rotation):
            monkeypatch.setattr(module, "write_files", cut_after(count))
        try:
            change(data, now)
            finished = True
        except PowerCut:
            finished = False
        for module in (layout, rotation):
            monkeypatch.setattr(module, "write_files", write_files)
        pki = ensure(data, now + 60)
        assert all(one.is_usable for one in inspect_certificates(data, now + 60)), count
        if old_bundle:
            assert verifies(pki.serving_kube_apiserver.certificate.read_bytes(), old_bundle, now + 60), count
            if now < NOW + YEAR:
                assert is_known(old_client, pki.client_ca.certificate.read_bytes(), now + 60), count
        shutil.rmtree(data)
        if finished:
            return
    raise AssertionError("the batch is longer than expected")
