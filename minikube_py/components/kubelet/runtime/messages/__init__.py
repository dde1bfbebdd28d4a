"""Message tables: CRI v1 (``cri.txt``) and the parts of containerd's own API in use (``containerd.txt``)."""

from __future__ import annotations

from functools import cache
from importlib import resources

from minikube_py.components.kubelet.runtime.rpc.protobuf import Table


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


# Read with the module, and not when a table is first used: that is on the event loop.
_cri_text, _containerd_text = _text("cri.txt"), _text("containerd.txt")


@cache
def cri() -> Table:
    """CRI v1's messages, by their names in package ``runtime.v1``."""
    return Table(_cri_text)


@cache
def containerd() -> Table:
    """Messages of containerd's services, by their names (see the table's head for packages)."""
    return Table(_containerd_text)
