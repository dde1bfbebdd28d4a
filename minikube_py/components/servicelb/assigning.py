"""Which Service gets which nodes' addresses; pure.

A node's address and port belong to one Service, the oldest that wants them; the others get the addresses that are left,
or a reason why there are none. Nodes that are not Ready or carry Kubernetes' label
``node.kubernetes.io/exclude-from-external-load-balancers`` are left out; a Service whose external traffic stays on the
node (``externalTrafficPolicy: Local``) gets only nodes that run one of its endpoints.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from minikube_py.machinery.objects import Object, is_deleting, key_of, labels_of, metadata, name_of, uid_of

CLASS = "pyk3s.io/servicelb"
_EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


@dataclass(frozen=True, slots=True)
class Assignment:
    """``addresses`` in order; ``problem`` says why there are none."""

    addresses: tuple[str, ...]
    problem: str = ""


def is_ours(service: Object) -> bool:
    """Whether nobody else is to serve it; once a class is named it never changes."""
    spec = service.get("spec") or {}
    wanted = spec.get("loadBalancerClass")
    return spec.get("type") == "LoadBalancer" and wanted in (None, CLASS) and not is_deleting(service)


def assign(
    services: Iterable[Object],
    nodes: Sequence[Object],
    local_nodes: Mapping[str, Collection[str]],
    reserved: Collection[tuple[str, int]],
) -> dict[str, Assignment]:
    """For every Service of ours, by key.

    ``local_nodes``: the names of the nodes that run endpoints of a Service, by its key. ``reserved``: what nodes listen
    on themselves, as ("TCP", port).
    """
    usable = sorted((name_of(node), address) for node in nodes if _takes_part(node) and (address := _address(node)))
    taken: dict[tuple[str, str, int], str] = {}
    found: dict[str, Assignment] = {}
    for service in sorted((each for each in services if is_ours(each)), key=_age):
        candidates = usable
        if service["spec"].get("externalTrafficPolicy") == "Local":
            candidates = [pair for pair in usable if pair[0] in local_nodes.get(key_of(service), ())]
        found[key_of(service)] = _assign_one(service, [address for _, address in candidates], taken, reserved)
    return found


def _assign_one(
    service: Object,
    addresses: Sequence[str],
    taken: dict[tuple[str, str, int], str],
    reserved: Collection[tuple[str, int]],
) -> Assignment:
    ports = [(str(port.get("protocol") or "TCP"), int(port["port"])) for port in service["spec"].get("ports") or ()]
    clash = next((port for port in ports if port in reserved), None)
    if clash is not None:
        return Assignment((), f"port {clash[1]}/{clash[0]} is used by the nodes themselves")
    wanted = service["spec"].get("loadBalancerIP")
    if wanted:
        addresses = [address for address in addresses if address == wanted]
        if not addresses:
            return Assignment((), f"no node of this cluster can serve it at the wanted address {wanted}")
    free = [address for address in addresses if not any((address, *port) in taken for port in ports)]
    if addresses and not free:
        holder, port = next((taken[addresses[0], *port], port) for port in ports if (addresses[0], *port) in taken)
        return Assignment((), f"port {port[1]}/{port[0]} of every node is taken, first by Service {holder}")
    for address in free:
        taken.update({(address, *port): key_of(service) for port in ports})
    return Assignment(tuple(free), "" if free else "no node is ready to serve it")


def _takes_part(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return ready and _EXCLUDED not in labels_of(node) and not is_deleting(node)


def _address(node: Object) -> str:
    """The node's own IPv4 address: translation happens on the node, so it must be one that packets arrive with."""
    addresses = (node.get("status") or {}).get("addresses") or ()
    return next(
        (each["address"] for each in addresses if each["type"] == "InternalIP" and ":" not in each["address"]), ""
    )


def _age(service: Object) -> tuple[str, str]:
    return str(metadata(service).get("creationTimestamp", "")), uid_of(service)
