"""From the kubelet's records to CRI messages (dicts as ``rpc.protobuf`` takes them). Pure functions."""

from __future__ import annotations

from minikube_py.components.kubelet.runtime.rpc.protobuf import Message
from minikube_py.components.kubelet.runtime.types import (
    ContainerConfig,
    ContainerSecurity,
    NamespaceMode,
    NamespaceOptions,
    PortMapping,
    RegistryCredentials,
    Resources,
    SandboxConfig,
    SecurityProfile,
)

_PROTOCOLS = {"TCP": 0, "UDP": 1, "SCTP": 2}
_PROFILES = {"RuntimeDefault": 0, "Unconfined": 1, "Localhost": 2}


def sandbox_config(config: SandboxConfig) -> Message:
    """PodSandboxConfig."""
    identity = config.identity
    message: Message = {
        "metadata": {
            "name": identity.name,
            "uid": identity.uid,
            "namespace": identity.namespace,
            "attempt": identity.attempt,
        },
        # On the host's network the sandbox has the host's name too, which is not its to set.
        "hostname": "" if config.namespaces.network is NamespaceMode.NODE else config.hostname,
        "log_directory": config.log_directory,
        "port_mappings": [_port_mapping(item) for item in config.port_mappings],
        "labels": config.labels,
        "annotations": config.annotations,
        "linux": {
            "cgroup_parent": config.cgroup_parent,
            "security_context": _sandbox_security(config),
            "sysctls": config.sysctls,
        },
    }
    if config.dns is not None:
        message["dns_config"] = {
            "servers": config.dns.servers,
            "searches": config.dns.searches,
            "options": config.dns.options,
        }
    if config.resources is not None:
        message["linux"]["resources"] = resources(config.resources)
    return message


def container_config(config: ContainerConfig) -> Message:
    """ContainerConfig."""
    return {
        "metadata": {"name": config.name, "attempt": config.attempt},
        "image": {"image": config.image, "user_specified_image": config.user_specified_image},
        "command": config.command,
        "args": config.args,
        "working_dir": config.working_dir,
        "envs": [{"key": key, "value": value.encode()} for key, value in config.env],
        "mounts": [
            {
                "container_path": mount.container_path,
                "host_path": mount.host_path,
                "readonly": mount.readonly,
                "selinux_relabel": mount.selinux_relabel,
                "propagation": mount.propagation.value,
            }
            for mount in config.mounts
        ],
        "devices": [
            {
                "container_path": device.container_path,
                "host_path": device.host_path,
                "permissions": device.permissions,
            }
            for device in config.devices
        ],
        "labels": config.labels,
        "annotations": config.annotations,
        "log_path": config.log_path,
        "stdin": config.stdin,
        "stdin_once": config.stdin_once,
        "tty": config.tty,
        "linux": {
            "resources": resources(config.resources),
            "security_context": _container_security(config.security),
        },
    }


def resources(limits: Resources) -> Message:
    """LinuxContainerResources."""
    return {
        "cpu_period": limits.cpu_period,
        "cpu_quota": limits.cpu_quota,
        "cpu_shares": limits.cpu_shares,
        "memory_limit_in_bytes": limits.memory_limit_bytes,
        "oom_score_adj": limits.oom_score_adj,
        "cpuset_cpus": limits.cpuset_cpus,
        "cpuset_mems": limits.cpuset_mems,
        "hugepage_limits": [{"page_size": size, "limit": limit} for size, limit in limits.hugepage_limits.items()],
        "unified": limits.unified,
    }


def credentials(given: RegistryCredentials) -> Message:
    """AuthConfig."""
    return {
        "username": given.username,
        "password": given.password,
        "auth": given.auth,
        "server_address": given.server_address,
        "identity_token": given.identity_token,
        "registry_token": given.registry_token,
    }


def _port_mapping(mapping: PortMapping) -> Message:
    return {
        "protocol": _PROTOCOLS[mapping.protocol],
        "container_port": mapping.container_port,
        "host_port": mapping.host_port,
        "host_ip": mapping.host_ip,
    }


def _namespaces(options: NamespaceOptions) -> Message:
    return {
        "network": options.network.value,
        "pid": options.pid.value,
        "ipc": options.ipc.value,
        "target_id": options.target_id,
    }


def _profile(profile: SecurityProfile | None) -> Message | None:
    if profile is None:
        return None
    return {"profile_type": _PROFILES[profile.type], "localhost_ref": profile.localhost_ref}


def _legacy_apparmor(profile: SecurityProfile | None) -> str:
    """The older field, which containerd 1.6 reads when the newer one is missing."""
    if profile is None:
        return ""
    return {"RuntimeDefault": "runtime/default", "Unconfined": "unconfined"}.get(
        profile.type, f"localhost/{profile.localhost_ref}"
    )


def _number(value: int | None) -> Message | None:
    return None if value is None else {"value": value}


def _sandbox_security(config: SandboxConfig) -> Message:
    return {
        "namespace_options": _namespaces(config.namespaces),
        "selinux_options": dict(config.selinux) if config.selinux else None,
        "run_as_user": _number(config.run_as_user),
        "run_as_group": _number(config.run_as_group),
        "supplemental_groups": config.supplemental_groups,
        "privileged": config.privileged,
        "seccomp": _profile(config.seccomp),
    }


def _container_security(security: ContainerSecurity) -> Message:
    return {
        "capabilities": {
            "add_capabilities": security.add_capabilities,
            "drop_capabilities": security.drop_capabilities,
        },
        "privileged": security.privileged,
        "namespace_options": _namespaces(security.namespaces),
        "selinux_options": dict(security.selinux) if security.selinux else None,
        "run_as_user": _number(security.run_as_user),
        "run_as_group": _number(security.run_as_group),
        "run_as_username": security.run_as_username,
        "readonly_rootfs": security.readonly_rootfs,
        "supplemental_groups": security.supplemental_groups,
        "no_new_privs": security.no_new_privs,
        "masked_paths": security.masked_paths,
        "readonly_paths": security.readonly_paths,
        "seccomp": _profile(security.seccomp),
        "apparmor": _profile(security.apparmor),
        "apparmor_profile": _legacy_apparmor(security.apparmor),
    }
