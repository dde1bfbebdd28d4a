"""Who owns whom, over all kinds; pure bookkeeping.

Nodes are objects by uid. An owner that is referred to and was never seen is a *virtual* node: it may
just not have been seen yet, so only a look at the server tells whether it is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from minikube_py.machinery.objects import Object, is_deleting, metadata, name_of, namespace_of, uid_of
from minikube_py.machinery.owners import owner_references
from minikube_py.machinery.resources import Resource

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Owner:
    """One owner reference."""

    uid: str
    api_version: str
    kind: str
    name: str
    blocks: bool

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]


@dataclass(slots=True)
class Node:
    """An object of the graph; ``resource`` is None for a virtual node."""

    uid: str
    resource: Resource | None
    namespace: str
    name: str
    owners: tuple[Owner, ...] = ()
    dependents: set[str] = field(default_factory=set)
    deleting: bool = False
    foreground: bool = False
    """Whether it is being deleted and waits for its dependents."""
    orphaning: bool = False
    """Whether it is being deleted and its dependents must be set free."""
    referred: Owner | None = None
    """For a virtual node: one reference to it."""

    @property
    def virtual(self) -> bool:
        return self.resource is None


@dataclass(frozen=True, slots=True)
class Work:
    """What a change asks for: uids to look at for deletion, and uids whose dependents are orphaned."""

    examine: Sequence[str] = ()
    orphan: Sequence[str] = ()


def owners_of(obj: Object) -> tuple[Owner, ...]:
    references = owner_references(obj)
    if not references:
        return ()
    return tuple(
        Owner(
            str(each.get("uid", "")),
            str(each.get("apiVersion", "")),
            str(each.get("kind", "")),
            str(each.get("name", "")),
            bool(each.get("blockOwnerDeletion")),
        )
        for each in references
    )


class Graph:
    """The nodes; every method keeps owners' ``dependents`` and dependents' ``owners`` in step."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, uid: str) -> Node | None:
        return self._nodes.get(uid)

    def dependents(self, node: Node) -> list[Node]:
        return [self._nodes[uid] for uid in node.dependents if uid in self._nodes]

    def uids_of(self, resource: Resource) -> list[str]:
        return [uid for uid, node in self._nodes.items() if node.resource == resource]

    def observe(self, resource: Resource, obj: Object) -> Work:
        """An object was added or changed."""
        uid, owners = uid_of(obj), owners_of(obj)
        node = self._nodes.get(uid)
        fresh = node is None or node.virtual
        if node is None:
            node = self._nodes[uid] = Node(uid, resource, namespace_of(obj), name_of(obj))
        node.resource, node.namespace, node.name, node.referred = resource, namespace_of(obj), name_of(obj), None
        examine: list[str] = []
        if owners != node.owners:
            examine += self._change_owners(node, owners, fresh)
        orphan = self._change_deletion(node, obj, examine)
        return Work(examine, orphan)

    def forget(self, uid: str) -> Work:
        """An object is gone: its dependents must be looked at, and owners that wait for it."""
        node = self._nodes.pop(uid, None)
        if node is None:
            return Work()
        examine = list(node.dependents)
        self._unlink(node, node.owners)
        for owner in node.owners:
            above = self._nodes.get(owner.uid)
            if above is not None and above.foreground:
                examine.append(above.uid)
        return Work(examine)

    def _change_owners(self, node: Node, owners: tuple[Owner, ...], fresh: bool) -> list[str]:
        before = node.owners
        kept = {owner.uid for owner in owners}
        removed = [owner for owner in before if owner.uid not in kept]
        self._unlink(node, removed)
        node.owners = owners
        examine: list[str] = []
        for owner in owners:
            above = self._nodes.get(owner.uid)
            if above is None:
                above = self._nodes[owner.uid] = Node(owner.uid, None, node.namespace, owner.name, referred=owner)
            above.dependents.add(node.uid)
            if above.virtual:
                examine.append(above.uid)
            elif above.foreground or (above.namespace and above.namespace != node.namespace):
                examine.append(node.uid)
        for owner in before:
            above = self._nodes.get(owner.uid)
            if above is not None and above.foreground:
                examine.append(above.uid)
        if not fresh and removed:
            examine.append(node.uid)
        return examine

    def _unlink(self, node: Node, owners: Iterable[Owner]) -> None:
        for owner in owners:
            above = self._nodes.get(owner.uid)
            if above is not None:
                above.dependents.discard(node.uid)
                if above.virtual and not above.dependents:
                    del self._nodes[owner.uid]

    def _change_deletion(self, node: Node, obj: Object, examine: list[str]) -> list[str]:
        finalizers = metadata(obj).get("finalizers") or ()
        node.deleting = is_deleting(obj)
        foreground = node.deleting and FOREGROUND in finalizers
        if foreground and not node.foreground:
            examine += [*node.dependents, node.uid]
        node.foreground = foreground
        orphaning = node.deleting and ORPHAN in finalizers
        started = orphaning and not node.orphaning
        node.orphaning = orphaning
        return [node.uid] if started else []
