"""Which kernel parameters a pod may set (the kubelet's allowlist of safe sysctls). Pure.

Safe are those that belong to a namespace of the pod and harm no other pod. Everything else the node refuses.
"""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.components.kubelet.pods.model import spec_of
from minikube_py.components.kubelet.pods.status import Verdict
from minikube_py.machinery.objects import Object

SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)


def forbidden_sysctl(pod: Object, allowed: Sequence[str] = ()) -> Verdict | None:
    """Why the pod's first sysctl that this node refuses is refused; None when it may set all of its own.

    ``allowed`` are unsafe ones that the administrator permits; a name that ends in ``*`` permits all that begin so.
    """
    spec = spec_of(pod)
    for item in (spec.get("securityContext") or {}).get("sysctls") or ():
        name = _with_dots(item["name"])
        known = name in SAFE_SYSCTLS or any(_permits(pattern, name) for pattern in allowed)
        refusal = _shared_with_host(name, spec) if known else "not allowlisted"
        if refusal:
            return Verdict("SysctlForbidden", f'forbidden sysctl: "{name}" {refusal}')
    return None


def _permits(pattern: str, name: str) -> bool:
    dotted = _with_dots(pattern)
    return name.startswith(dotted[:-1]) if dotted.endswith("*") else name == dotted


def _shared_with_host(name: str, spec: Object) -> str:
    """A pod in the host's namespace would change the host."""
    if spec.get("hostNetwork") and name.startswith("net."):
        return "not allowed with host net enabled"
    if spec.get("hostIPC") and name.startswith(("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")):
        return "not allowed with host ipc enabled"
    return ""


def _with_dots(name: str) -> str:
    """The dotted spelling of a name that may be spelled with slashes (where a dot is part of an interface's name)."""
    separator = next((character for character in name if character in "./"), ".")
    return name if separator == "." else name.translate(str.maketrans("./", "/."))
