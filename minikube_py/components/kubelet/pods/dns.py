"""A pod's name and resolver: hostname, domain, /etc/hosts and resolv.conf content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.components.kubelet.pods.model import host_network, spec_of
from minikube_py.components.kubelet.runtime.types import DnsConfig
from minikube_py.machinery.objects import Object, name_of, namespace_of

most_searches = 32
most_servers = 3
longest_hostname = 63


@dataclass(frozen=True, slots=True)
class ClusterDns:
    """Where cluster names are answered and what they end with."""

    servers: tuple[str, ...]
    domain: str
    resolv_conf: Path


def hostname(pod: Object) -> str:
    """The pod's host name: the spec's, else its name cut to 63 characters without trailing ``-`` or ``.``."""
    spec = spec_of(pod)
    if spec.get("hostnameOverride"):
        return str(spec["hostnameOverride"])
    if spec.get("hostname"):
        return str(spec["hostname"])
    return name_of(pod)[:longest_hostname].rstrip("-.")


def host_domain(pod: Object, cluster_domain: str) -> str:
    """The domain of a pod with a subdomain; empty for others."""
    spec = spec_of(pod)
    if spec.get("hostnameOverride") or not spec.get("subdomain"):
        return ""
    return f"{spec['subdomain']}.{namespace_of(pod)}.svc.{cluster_domain}"


def sandbox_hostname(pod: Object, cluster_domain: str) -> str:
    """What the sandbox's UTS namespace is told: the full name where ``setHostnameAsFQDN`` asks for it."""
    name, domain = hostname(pod), host_domain(pod, cluster_domain)
    if spec_of(pod).get("setHostnameAsFQDN") and domain:
        return f"{name}.{domain}"
    return name


def hosts_file(pod: Object, ips: Sequence[str], cluster_domain: str, host_content: str | None) -> str:
    """The text of /etc/hosts. ``host_content`` is the node's own file, for pods on the host's network."""
    if host_content is not None:
        lines = ["# Kubernetes-managed hosts file (host network).", host_content.rstrip("\n")]
    else:
        lines = [
            "# Kubernetes-managed hosts file.",
            "127.0.0.1\tlocalhost",
            "::1\tlocalhost ip6-localhost ip6-loopback",
            "fe00::0\tip6-localnet",
            "fe00::0\tip6-mcastprefix",
            "fe00::1\tip6-allnodes",
            "fe00::2\tip6-allrouters",
        ]
        name, domain = hostname(pod), host_domain(pod, cluster_domain)
        for ip in ips:
            lines.append(f"{ip}\t{name}.{domain}\t{name}" if domain else f"{ip}\t{name}")
    aliases = spec_of(pod).get("hostAliases") or ()
    if aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join([item["ip"], *(item.get("hostnames") or ())]) for item in aliases]
    return "\n".join(lines) + "\n"


def parse_resolv_conf(text: str) -> DnsConfig:
    """Servers, searches and options of a resolv.conf; the last ``search`` and ``options`` lines count."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        if len(words) > 1 and words[0] == "nameserver":
            servers.append(words[1])
        elif words and words[0] == "search":
            searches = tuple(word.rstrip(".") or "." for word in words[1:])
        elif words and words[0] == "options":
            options = tuple(words[1:])
    return DnsConfig(tuple(servers), searches, options)


def dns_config(pod: Object, cluster: ClusterDns, host_text: str) -> DnsConfig:
    """The resolver of a pod by its dnsPolicy and dnsConfig. ``host_text`` is the node's resolv.conf."""
    spec = spec_of(pod)
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    host = parse_resolv_conf(host_text)
    if policy == "None":
        base = DnsConfig()
    elif policy == "Default" or (policy == "ClusterFirst" and host_network(pod)) or not cluster.servers:
        base = host
    else:
        domain = cluster.domain
        own = (f"{namespace_of(pod)}.svc.{domain}", f"svc.{domain}", domain)
        base = DnsConfig(cluster.servers, _unique([*own, *host.searches]), ("ndots:5",))
    return _with_custom(base, spec.get("dnsConfig") or {})


def _with_custom(base: DnsConfig, custom: Object) -> DnsConfig:
    options: dict[str, str | None] = {}
    for text in base.options:
        name, colon, value = text.partition(":")
        options[name] = value if colon else None
    for item in custom.get("options") or ():
        options[item["name"]] = item.get("value")
    return DnsConfig(
        _unique([*base.servers, *(custom.get("nameservers") or ())])[:most_servers],
        _unique([*base.searches, *(custom.get("searches") or ())])[:most_searches],
        tuple(name if value in (None, "") else f"{name}:{value}" for name, value in options.items()),
    )


def _unique(items: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
