"""Settings of a worker (``pyk3s agent``): config file < environment < flags, as for a server (``config``).

What a node can be told has the names and defaults that it has on a server; ``server`` and ``token`` are k3s's. What all
nodes have in common (address ranges, DNS) is not set here: it comes from the server (``joining.cluster``). A
configuration file may also hold keys of a server; they are passed over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from minikube_py import config, config_checks
from minikube_py.config import ConfigError, ServerSettings

_SERVER_FIELDS = {item.name: item for item in dataclasses.fields(ServerSettings)}


def _as_server(name: str) -> Any:
    """The field of that name as servers have it."""
    return field(default=_SERVER_FIELDS[name].default, metadata=_SERVER_FIELDS[name].metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Everything ``pyk3s agent`` can be told. Empty strings and tuples mean "choose"."""

    server: str = config.option("", "URL of the server to join, https://HOST:PORT", short="-s")
    token: str = config.option("", "Token that joins: of `pyk3s token create`, or the server's node-token", short="-t")
    token_file: str = config.option("", "File with that token, which the command line then does not show")
    data_dir: str = _as_server("data_dir")
    run_dir: str = _as_server("run_dir")
    node_name: str = _as_server("node_name")
    node_ip: str = _as_server("node_ip")
    node_label: tuple[str, ...] = _as_server("node_label")
    node_taint: tuple[str, ...] = _as_server("node_taint")
    container_runtime_endpoint: str = _as_server("container_runtime_endpoint")
    snapshotter: str = _as_server("snapshotter")
    pod_logs_dir: str = _as_server("pod_logs_dir")
    kubelet_port: int = _as_server("kubelet_port")
    max_pods: int = _as_server("max_pods")
    pod_max_pids: int = _as_server("pod_max_pids")
    allowed_unsafe_sysctls: tuple[str, ...] = _as_server("allowed_unsafe_sysctls")
    seccomp_default: bool = _as_server("seccomp_default")
    protect_kernel_defaults: bool = _as_server("protect_kernel_defaults")
    bridge_name: str = _as_server("bridge_name")
    tls_min_version: str = _as_server("tls_min_version")
    tls_cipher_suites: tuple[str, ...] = _as_server("tls_cipher_suites")
    log_format: str = _as_server("log_format")
    debug: bool = _as_server("debug")
    config: str = _as_server("config")


OWN = ("server",)
"""Fields that servers do not have."""
SHARED = tuple(item.name for item in dataclasses.fields(AgentSettings) if item.name not in OWN)


def load_agent_settings(flags: Mapping[str, Any], environment: Mapping[str, str]) -> AgentSettings:
    """Merge the three sources and check every value. ``PYK3S_URL`` is the server's URL too, as k3s's K3S_URL.

    Raises ConfigError.
    """
    known = {item.name: item for item in dataclasses.fields(AgentSettings)}
    url = environment.get("PYK3S_URL")
    if url and not environment.get("PYK3S_SERVER"):
        environment = {**environment, "PYK3S_SERVER": url}
    values = config.merged(known, flags, environment, foreign=frozenset(_SERVER_FIELDS) - frozenset(known))
    settings = AgentSettings(**values)
    config_checks.check(node_settings(settings))
    _check_server(settings.server)
    _check_labels(config.labels(settings.node_label))
    return settings


def node_settings(settings: AgentSettings, **cluster: Any) -> ServerSettings:
    """As the node's components take them; ``cluster`` holds what the server told."""
    return ServerSettings(**{name: getattr(settings, name) for name in SHARED}, **cluster)


def _check_server(url: str) -> None:
    if not url:
        raise ConfigError("--server is missing: the URL of the server to join, such as https://192.0.2.1:6443")
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.path in ("", "/") and not parts.query
        good = good and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"--server: {url!r} is not https://HOST:PORT")


_KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch", "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    }
)  # fmt: skip
_KUBELET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESERVED_DOMAINS = ("kubernetes.io", "k8s.io")


def _check_labels(labels: Mapping[str, str]) -> None:
    """A node may give itself no other label of Kubernetes' domains; the server would refuse it for ever."""
    for name in labels:
        domain, slash, _ = name.partition("/")
        if not slash or name in _KUBELET_LABELS or _within(domain, _KUBELET_DOMAINS):
            continue
        if _within(domain, _RESERVED_DOMAINS):
            raise ConfigError(
                f"--node-label: a node may not give itself {name}; set it with `pyk3s kubectl label node` on the server"
            )


def _within(domain: str, domains: tuple[str, ...]) -> bool:
    return any(domain == one or domain.endswith("." + one) for one in domains)
