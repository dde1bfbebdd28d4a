"""EndpointSlices of a Service or of Endpoints: whose they are, what a new one looks like, and carrying out a plan.

Shared by the two loops that write slices; ``managed-by`` tells their slices apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from minikube_py.components.controllers.endpoints.model import PortKey, slice_ports
from minikube_py.components.controllers.endpoints.slices import SlicePlan
from minikube_py.components.controllers.kit import WRITE, Kit
from minikube_py.components.controllers.pods import namespace_is_terminating
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, labels_of, name_of, namespace_of, thaw
from minikube_py.machinery.owners import owner_reference
from minikube_py.machinery.resources import ENDPOINT_SLICES

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


def service_of(piece: Object, manager: str) -> Sequence[str]:
    """The key of the Service that a slice of this manager is of: an index function."""
    labels = labels_of(piece)
    if labels.get(MANAGED_BY) != manager or not labels.get(SERVICE_NAME):
        return ()
    return (f"{namespace_of(piece)}/{labels[SERVICE_NAME]}",)


def new_slice(
    owner: Object, kind: str, family: str, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> Callable[[PortKey, list[Object]], Object]:
    """What makes slices of one address type of a Service, or of Endpoints (``kind``)."""

    def make(ports: PortKey, entries: list[Object]) -> Object:
        return {
            "apiVersion": ENDPOINT_SLICES.api_version,
            "kind": ENDPOINT_SLICES.kind,
            "metadata": {
                "generateName": f"{name_of(owner)}-",
                "namespace": namespace_of(owner),
                "labels": dict(labels),
                "annotations": dict(annotations),
                "ownerReferences": [owner_reference(owner, "v1", kind)],
            },
            "addressType": family,
            "endpoints": entries,
            "ports": slice_ports(ports),
        }

    return make


async def write_plan(
    kit: Kit,
    plan: SlicePlan,
    present: Sequence[Object],
    make: Callable[[PortKey, list[Object]], Object],
    *,
    describes: Callable[[Object], bool],
    mark: Callable[[Object], None],
) -> None:
    """Create, update and delete slices. Raises ApiError.

    ``describes`` says whether the metadata of a slice is as it should be, ``mark`` makes a draft's so; slices that
    the plan leaves alone are written when theirs is not.
    """
    for ports, entries in plan.create:
        draft = make(ports, entries)
        try:
            await kit.client.create(ENDPOINT_SLICES, draft, namespace_of(draft), options=WRITE)
        except ApiError as error:
            if not namespace_is_terminating(error):
                raise
    planned = {name_of(piece) for piece, _ in plan.update} | {name_of(piece) for piece in plan.delete}
    stale = [
        (piece, piece.get("endpoints") or [])
        for piece in present
        if name_of(piece) not in planned and not describes(piece)
    ]
    for piece, entries in [*plan.update, *stale]:
        draft = thaw(piece)
        draft["endpoints"] = entries
        mark(draft)
        await kit.client.update(ENDPOINT_SLICES, draft, namespace_of(draft), options=WRITE)
    for piece in plan.delete:
        await delete_slice(kit, piece)


async def delete_slice(kit: Kit, piece: Object) -> None:
    """Delete a slice; it may be gone already. Raises ApiError."""
    try:
        await kit.client.delete(ENDPOINT_SLICES, name_of(piece), namespace_of(piece))
    except ApiError as error:
        if not is_not_found(error):
            raise
