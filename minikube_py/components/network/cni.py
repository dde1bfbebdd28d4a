"""The CNI configuration of a node: bridge, host-local addresses and host ports. Pure functions.

Who masquerades: not the plugins (``ipMasq`` is false) but the service proxy, which does so in
nftables for everything that leaves the pod range towards other networks. Pods reach themselves
through a Service since the bridge's ports have hairpin mode. Host ports are portmap's business;
it needs ``iptables``, which Debian's containernetworking-plugins depends on.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

CONFIG_NAME = "10-pyk3s.conflist"
NETWORK_NAME = "pyk3s"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """What the network of one node needs to know."""

    node_name: str
    cluster_cidr: str
    conf_dir: Path
    """Where the runtime looks for CNI configurations."""
    state_dir: Path
    """Address allocations of host-local; as long-lived as the sandboxes."""
    bridge: str = "cni0"
    node_ip: str = ""
    backend: str = "none"
    """How pods of other nodes are reached: vxlan, host-gw (``overlay``) or none."""

    @property
    def conf_file(self) -> Path:
        return self.conf_dir / CONFIG_NAME


def render_cni(settings: NetworkSettings, pod_cidrs: Sequence[str], mtu: int = 0) -> bytes:
    """The conflist for a node's pod ranges (one for each IP family). Raises ValueError for a bad range.

    ``mtu`` is that of pod interfaces; 0 takes the bridge's default.
    """
    ranges = [[{"subnet": str(ipaddress.ip_network(cidr))}] for cidr in pod_cidrs]
    families = {ipaddress.ip_network(cidr).version for cidr in pod_cidrs}
    bridge: dict[str, object] = {
        "type": "bridge",
        "bridge": settings.bridge,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "forceAddress": True,  # a node that gets another pod range re-uses the bridge
        "ipam": {
            "type": "host-local",
            "dataDir": str(settings.state_dir),
            "ranges": ranges,
            "routes": [{"dst": "::/0" if family == 6 else "0.0.0.0/0"} for family in sorted(families)],
        },
    }
    if mtu:
        bridge["mtu"] = mtu
    host_ports = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    conflist = {"cniVersion": "1.0.0", "name": NETWORK_NAME, "plugins": [bridge, host_ports]}
    return orjson.dumps(conflist, option=orjson.OPT_INDENT_2)


def pod_cidrs_of(node: Mapping[str, object]) -> tuple[str, ...]:
    """A node's pod ranges, ``spec.podCIDRs`` before ``spec.podCIDR``; empty until they are assigned."""
    spec = node.get("spec")
    if not isinstance(spec, Mapping):
        return ()
    listed = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    return tuple(str(cidr) for cidr in listed)
