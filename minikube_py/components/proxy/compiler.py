"""Compiles service ports into nftables rules. Pure.

How a packet travels: the nat hooks of new connections look its destination up in ``service_ips``
(address, protocol, port) or, for addresses of this node, in ``node_ports``; the verdict leads to a
chain of the service port, which picks an endpoint at random and translates the destination. What
no rule translates is refused in ``refused_ips`` and ``refused_node_ports``, or by the guard on the
whole service range; it never leaves the machine.

Chains of a service port with id I (``ServicePort.id``):

* ``svc-I``   traffic to the cluster IP: pods and this node; masquerades what comes from elsewhere;
* ``ext-I``   traffic from outside: node port, external and load balancer addresses;
* ``ep-I-N``  with session affinity: remembers the client and translates to endpoint N.

TCP is refused by a reset: for a connection of this node the kernel would have to send an ICMP error
from the Service's address, which it does not (the address is not its own).

Masquerading is decided by the mark bit 0x4000 (kube-proxy's); hairpin connections (a pod that
reaches itself through its Service) by the set ``hairpin`` of equal address pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minikube_py.components.proxy.model import Endpoint, ServicePort
from minikube_py.components.proxy.ruleset import Ruleset

MASQUERADE_BIT = "0x4000"
MARK = f"meta mark set meta mark or {MASQUERADE_BIT}"
affinity_entries_at_most = 65535


def skeleton(table: str, *, cluster_cidr: str, service_cidr: str) -> str:
    """The fixed part of the table, as an nft script that replaces whatever was there."""
    t = f"ip {table}"
    lookup = ". meta l4proto . th dport vmap"
    local = "fib daddr type local ip daddr != 127.0.0.0/8"
    lines = [
        f"add table {t}",
        f"delete table {t}",
        f"add table {t}",
        f"add map {t} service_ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}",
        f"add map {t} refused_ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}",
        f"add map {t} node_ports {{ type inet_proto . inet_service : verdict; }}",
        f"add map {t} refused_node_ports {{ type inet_proto . inet_service : verdict; }}",
        f"add set {t} hairpin {{ type ipv4_addr . ipv4_addr; }}",
        f"add chain {t} services",
        f"add chain {t} refuse",
        f"add chain {t} refused",
        f"add rule {t} services ip daddr {lookup} @service_ips",
        f"add rule {t} services {local} meta l4proto . th dport vmap @node_ports",
        f"add rule {t} refuse meta l4proto tcp reject with tcp reset",
        f"add rule {t} refuse reject with icmp type port-unreachable",
        f"add rule {t} refused ip daddr {lookup} @refused_ips",
        f"add rule {t} refused {local} meta l4proto . th dport vmap @refused_node_ports",
        f"add chain {t} prerouting {{ type nat hook prerouting priority -100; policy accept; }}",
        f"add chain {t} output {{ type nat hook output priority -100; policy accept; }}",
        f"add chain {t} postrouting {{ type nat hook postrouting priority 100; policy accept; }}",
        f"add chain {t} filter_input {{ type filter hook input priority -10; policy accept; }}",
        f"add chain {t} filter_forward {{ type filter hook forward priority -10; policy accept; }}",
        f"add chain {t} filter_output {{ type filter hook output priority -10; policy accept; }}",
        f"add rule {t} prerouting jump services",
        f"add rule {t} output jump services",
        f"add rule {t} postrouting meta mark & {MASQUERADE_BIT} == {MASQUERADE_BIT} "
        f"meta mark set meta mark xor {MASQUERADE_BIT} masquerade fully-random",
        f"add rule {t} postrouting ct status dnat ip saddr . ip daddr @hairpin masquerade fully-random",
        f"add rule {t} postrouting ip saddr {cluster_cidr} ip daddr != {cluster_cidr} "
        "fib daddr type != { local, multicast, broadcast } masquerade fully-random",
        f"add rule {t} filter_input ct state new jump refused",
        f"add rule {t} filter_forward ct state new jump refused",
        f"add rule {t} filter_forward ip daddr {service_cidr} goto refuse",
        f"add rule {t} filter_output ct state new jump refused",
        f"add rule {t} filter_output ip daddr {service_cidr} fib daddr type != local goto refuse",
    ]
    return "\n".join(lines) + "\n"


def compile_rules(ports: Iterable[ServicePort], *, cluster_cidr: str) -> Ruleset:
    """The rule set for all service ports."""
    chains: dict[str, tuple[str, ...]] = {}
    ips: dict[str, str] = {}
    refused_ips: dict[str, str] = {}
    nodes: dict[str, str] = {}
    refused_nodes: dict[str, str] = {}
    hairpin: set[str] = set()
    dynamic: dict[str, str] = {}
    for port in ports:
        hairpin.update(f"{endpoint.address} . {endpoint.address}" for endpoint in port.cluster_endpoints)
        inside, verdict = _internal(port, cluster_cidr, chains, dynamic)
        (ips if inside else refused_ips)[_destination(port.cluster_ip, port)] = verdict
        outside, verdict = _external(port, cluster_cidr, chains, dynamic)
        for address in (*port.external_ips, *port.load_balancer_ips):
            (ips if outside else refused_ips)[_destination(address, port)] = verdict
        if port.node_port:
            (nodes if outside else refused_nodes)[f"{port.protocol} . {port.node_port}"] = verdict
    maps = {"service_ips": ips, "refused_ips": refused_ips, "node_ports": nodes, "refused_node_ports": refused_nodes}
    return Ruleset(chains=chains, maps=maps, sets={"hairpin": frozenset(hairpin)}, dynamic_maps=dynamic)


def _destination(address: str, port: ServicePort) -> str:
    return f"{address} . {port.protocol} . {port.port}"


def _internal(
    port: ServicePort, cluster_cidr: str, chains: dict[str, tuple[str, ...]], dynamic: dict[str, str]
) -> tuple[bool, str]:
    """Build the chain for the cluster IP; (whether it translates, verdict)."""
    endpoints = port.local_endpoints if port.internal_local else port.cluster_endpoints
    if not endpoints:
        return False, "drop" if port.internal_local and port.cluster_endpoints else "goto refuse"
    name = f"svc-{port.id}"
    masquerade = f"ip saddr != {cluster_cidr} fib saddr type != local {MARK}"
    chains[name] = (masquerade, *_translate(port, endpoints, name, chains, dynamic))
    return True, f"goto {name}"


def _external(
    port: ServicePort, cluster_cidr: str, chains: dict[str, tuple[str, ...]], dynamic: dict[str, str]
) -> tuple[bool, str]:
    """Build the chain for traffic from outside; (whether it translates, verdict)."""
    if not (port.node_port or port.external_ips or port.load_balancer_ips):
        return True, "accept"
    if not port.cluster_endpoints:
        return False, "goto refuse"
    name = f"ext-{port.id}"
    rules: list[str] = []
    if port.source_ranges:
        allowed = ", ".join((*port.source_ranges, cluster_cidr))
        balanced = ", ".join(port.load_balancer_ips)
        if balanced:
            rules.append(f"ip daddr {{ {balanced} }} ip saddr != {{ {allowed} }} fib saddr type != local drop")
    if not port.external_local:
        rules.append(MARK)
        rules.extend(_translate(port, port.cluster_endpoints, name, chains, dynamic))
    else:
        # Traffic of this cluster to an external address is not external: it may go to any endpoint.
        inner = f"all-{port.id}"
        chains[inner] = (MARK, *_translate(port, port.cluster_endpoints, inner, chains, dynamic))
        rules.append(f"ip saddr {cluster_cidr} goto {inner}")
        rules.append(f"fib saddr type local goto {inner}")
        local = port.local_endpoints
        rules.extend(_translate(port, local, name, chains, dynamic) if local else ["drop"])
    chains[name] = tuple(rules)
    return True, f"goto {name}"


def _translate(
    port: ServicePort,
    endpoints: Sequence[Endpoint],
    chain: str,
    chains: dict[str, tuple[str, ...]],
    dynamic: dict[str, str],
) -> list[str]:
    """Rules that pick an endpoint; with affinity, the one this client had before."""
    if not port.affinity_seconds:
        return [f"meta l4proto {port.protocol} dnat ip to {_pick(endpoints)}"]
    memory = f"aff-{chain}"
    dynamic[memory] = (
        "type ipv4_addr : ipv4_addr . inet_service; flags dynamic,timeout; "
        f"timeout {port.affinity_seconds}s; size {affinity_entries_at_most};"
    )
    verdicts = []
    for index, endpoint in enumerate(endpoints):
        target = f"ep-{chain}-{index}"
        chains[target] = (
            f"update @{memory} {{ ip saddr timeout {port.affinity_seconds}s : {endpoint.address} . {endpoint.port} }}",
            f"meta l4proto {port.protocol} dnat to {endpoint.address}:{endpoint.port}",
        )
        verdicts.append(f"{index} : goto {target}")
    return [
        f"meta l4proto {port.protocol} dnat ip to ip saddr map @{memory}",
        f"numgen random mod {len(endpoints)} vmap {{ {', '.join(verdicts)} }}",
    ]


def _pick(endpoints: Sequence[Endpoint]) -> str:
    if len(endpoints) == 1:
        return f"{endpoints[0].address}:{endpoints[0].port}"
    choices = ", ".join(f"{index} : {item.address} . {item.port}" for index, item in enumerate(endpoints))
    return f"numgen random mod {len(endpoints)} map {{ {choices} }}"
