"""What a read or write of the registry gives back."""

from __future__ import annotations

from dataclasses import dataclass

from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.machinery.objects import Object


@dataclass(frozen=True, slots=True)
class Outcome:
    """An object in the version that was asked for. ``entry`` is set when its bytes can be served as they are.

    ``made`` is the object where it differs from the entry's, or where there is no entry. ``created``: the object
    is new. ``status``: it is a Status, not the object. ``made_from``: the bytes of what it was made from.
    """

    made: Object | None
    entry: Entry | None = None
    created: bool = False
    status: bool = False
    made_from: int = 0

    @property
    def size(self) -> int:
        """About how many bytes of JSON the object has; 0 when that is not known."""
        return len(self.entry.item) if self.entry is not None else self.made_from

    @property
    def object(self) -> Object:
        """The object, read-only; an entry is parsed for it only now."""
        if self.made is not None:
            return self.made
        if self.entry is None:
            raise ValueError("an outcome has an object or an entry")
        return self.entry.object
