"""Adoption and release of children (``ControllerRefManager``).

A controller owns the matching children that it controls. It adopts matching orphans, unless it or
they are being deleted, and releases children whose labels no longer match.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from minikube_py.components.controllers.kit import WRITE, Kit
from minikube_py.machinery.errors import ApiError, conflict, is_not_found
from minikube_py.machinery.objects import (
    Object,
    is_deleting,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from minikube_py.machinery.owners import controller_of, owner_reference, owner_references
from minikube_py.machinery.resources import Resource


async def claim(
    kit: Kit,
    *,
    owner: Object,
    owner_resource: Resource,
    child_resource: Resource,
    candidates: Iterable[Object],
    matches: Callable[[Object], bool],
) -> list[Object]:
    """The children of ``owner`` among the candidates, after adoptions and releases. Raises ApiError."""
    mine: list[Object] = []
    fresh = _Freshness(kit, owner, owner_resource)
    for child in candidates:
        reference = controller_of(child)
        if reference is not None:
            if reference.get("uid") != uid_of(owner):
                continue
            if matches(child):
                mine.append(child)
            elif not is_deleting(owner):
                await release(kit, owner, child, child_resource)
        elif not is_deleting(owner) and not is_deleting(child) and matches(child):
            await fresh.check()
            adopted = await adopt(kit, owner, owner_resource, child, child_resource)
            if adopted is not None:
                mine.append(adopted)
    return mine


class _Freshness:
    """Asks the server once, before the first adoption, whether the owner is what the cache says."""

    def __init__(self, kit: Kit, owner: Object, resource: Resource) -> None:
        self._ask: Callable[[], Awaitable[Object]] = lambda: kit.client.get(
            resource, name_of(owner), namespace_of(owner) or None
        )
        self._owner = owner
        self._resource = resource
        self._checked = False

    async def check(self) -> None:
        if self._checked:
            return
        live = await self._ask()
        if uid_of(live) != uid_of(self._owner) or is_deleting(live):
            raise conflict(self._resource.group, self._resource.plural, name_of(live), "the owner is another or leaves")
        self._checked = True


async def adopt(
    kit: Kit, owner: Object, owner_resource: Resource, child: Object, child_resource: Resource
) -> Object | None:
    """Become the child's controller; None when the child is gone."""
    reference = owner_reference(owner, owner_resource.api_version, owner_resource.kind)
    return await _set_owners(kit, child, child_resource, [*owner_references(child), reference])


async def release(kit: Kit, owner: Object, child: Object, child_resource: Resource) -> None:
    """Stop being the child's controller."""
    rest = [reference for reference in owner_references(child) if reference.get("uid") != uid_of(owner)]
    await _set_owners(kit, child, child_resource, rest)


async def _set_owners(kit: Kit, child: Object, resource: Resource, references: list[Object]) -> Object | None:
    """The version in the patch guards the whole list, which a merge patch replaces."""
    guard = {"uid": uid_of(child), "resourceVersion": resource_version_of(child)}
    patch: Object = {"metadata": {**guard, "ownerReferences": references or None}}
    try:
        return await kit.client.patch(resource, name_of(child), patch, namespace_of(child) or None, options=WRITE)
    except ApiError as error:
        if is_not_found(error):
            return None
        raise
