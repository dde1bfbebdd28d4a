"""Builds the runtime's description of a pod's sandbox. Pure, but for the text of resolv.conf handed in."""

from __future__ import annotations

from minikube_py.components.kubelet.pods.dns import ClusterDns, dns_config, sandbox_hostname
from minikube_py.components.kubelet.pods.model import (
    POD_NAME_LABEL,
    POD_NAMESPACE_LABEL,
    POD_UID_LABEL,
    containers,
    host_network,
    log_directory,
    spec_of,
)
from minikube_py.components.kubelet.pods.resources import pod_cgroup_path
from minikube_py.components.kubelet.pods.security import (
    namespaces_of,
    seccomp_profile,
    selinux_options,
    supplemental_groups,
)
from minikube_py.components.kubelet.runtime.types import PodIdentity, PortMapping, SandboxConfig
from minikube_py.components.kubelet.settings import KubeletSettings
from minikube_py.machinery.objects import Object, annotations_of, labels_of, name_of, namespace_of, uid_of


def sandbox_config(
    pod: Object, *, attempt: int, settings: KubeletSettings, resolv_conf: str, runtime_handler: str = ""
) -> SandboxConfig:
    """Kuberuntime's ``generatePodSandboxConfig`` in the seam's records."""
    uid = uid_of(pod)
    context = spec_of(pod).get("securityContext") or {}
    cluster = ClusterDns(settings.cluster_dns, settings.cluster_domain, settings.resolv_conf)
    privileged = _any_privileged(pod)
    return SandboxConfig(
        identity=PodIdentity(name_of(pod), namespace_of(pod), uid, attempt),
        hostname="" if host_network(pod) else sandbox_hostname(pod, settings.cluster_domain),
        log_directory=str(log_directory(settings.pod_logs_dir, pod)),
        cgroup_parent=pod_cgroup_path(pod, uid, settings.cgroup_root),
        dns=dns_config(pod, cluster, resolv_conf),
        port_mappings=() if host_network(pod) else _port_mappings(pod),
        labels={
            **labels_of(pod),
            POD_NAME_LABEL: name_of(pod),
            POD_NAMESPACE_LABEL: namespace_of(pod),
            POD_UID_LABEL: uid,
        },
        annotations=dict(annotations_of(pod)),
        namespaces=namespaces_of(pod),
        sysctls={item["name"]: item["value"] for item in context.get("sysctls") or ()},
        run_as_user=context.get("runAsUser"),
        run_as_group=context.get("runAsGroup"),
        supplemental_groups=supplemental_groups(pod),
        privileged=privileged,
        # The sandbox's own process needs no more than the runtime's default profile.
        seccomp=seccomp_profile({"type": "RuntimeDefault"}, privileged),
        selinux=selinux_options(context.get("seLinuxOptions")),
        runtime_handler=runtime_handler,
    )


def _port_mappings(pod: Object) -> tuple[PortMapping, ...]:
    return tuple(
        PortMapping(port["containerPort"], port["hostPort"], port.get("protocol") or "TCP", port.get("hostIP") or "")
        for item in containers(pod)
        for port in item.get("ports") or ()
        if port.get("hostPort")
    )


def _any_privileged(pod: Object) -> bool:
    spec = spec_of(pod)
    return any(
        (item.get("securityContext") or {}).get("privileged")
        for role in ("initContainers", "containers", "ephemeralContainers")
        for item in spec.get(role) or ()
    )
