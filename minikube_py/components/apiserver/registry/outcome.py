"""What a read or write of the registry gives back."""

from __future__ import annotations

from dataclasses import dataclass

from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.machinery.objects import Object


@dataclass(frozen=True, slots=True)
class Outcome:
    """An object in the version that was asked for. ``entry`` is set when its bytes can be served as they are.

    ``object`` is read-only. ``created``: the object is new. ``status``: it is a Status, not the object.
    """

    object: Object
    entry: Entry | None = None
    created: bool = False
    status: bool = False
