"""One running cluster for the session, and throw-away ones for tests that hurt their server."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import IMAGE, Cluster, new_cluster, short_folder

from minikube_py.components.kubelet.runtime.images.build import ImageSpec, build_archive, busybox_files


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.e2e)
        item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def test_image() -> Iterator[Path]:
    """An archive of a busybox image, built without any registry."""
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    folder = short_folder()
    folder.mkdir()
    path = folder / "image.tar"
    files = busybox_files(Path("/bin/busybox"), applets)
    build_archive(path, ImageSpec(name=IMAGE, files=files, cmd=("/bin/sh",)))
    yield path
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster(test_image: Path) -> Iterator[Cluster]:
    """The cluster that most tests share; each test uses a namespace of its own."""
    made = new_cluster(short_folder())
    try:
        images = made.data_dir / "agent" / "images"
        images.mkdir(parents=True)
        shutil.copy(test_image, images / "test.tar")
        made.start()
        yield made
    finally:
        made.remove()
        shutil.rmtree(made.folder)


@pytest.fixture
def own_cluster(test_image: Path) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters that the test may kill; they are not started."""
    made: list[Cluster] = []

    def make(*arguments: str) -> Cluster:
        cluster = new_cluster(short_folder(), *arguments)
        made.append(cluster)
        images = cluster.data_dir / "agent" / "images"
        images.mkdir(parents=True)
        shutil.copy(test_image, images / "test.tar")
        return cluster

    try:
        yield make
    finally:
        for cluster in made:
            cluster.remove()
            shutil.rmtree(cluster.folder)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the shared cluster, deleted afterwards without waiting for it."""
    name = f"t-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
