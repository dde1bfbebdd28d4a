"""The checks of the baseline level. Same rules and texts as ``pod-security-admission/policy/check_*.go``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minikube_py.components.apiserver.admission.pod_security.findings import (
    Finding,
    Subject,
    containers_named,
    plural,
    quote,
    setters,
)
from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.objects import Object

_DEFAULT_CAPABILITIES = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)
_APPARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_PROFILE_TYPES = ("RuntimeDefault", "Localhost")
# Since this version user namespaces loosen what is asked of pods in them (KEP-127).
user_namespaces_since_minor = 35
# Until this version seccomp profiles were annotations.
seccomp_fields_since_minor = 19
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
_SYSCTLS_SINCE = (
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
)


def app_armor_profile(subject: Subject, minor: int) -> Finding | None:
    """Fields and annotations in one sentence; an annotation is shown with its value, quoted inside quotes."""
    values: set[str] = set()

    def judge(context: Mapping[str, Any]) -> bool:
        profile = context.get("appArmorProfile")
        if profile is None or profile.get("type") in _PROFILE_TYPES:
            return False
        values.add(str(profile.get("type") or ""))
        return True

    pod = judge(subject.pod_context)
    names = [name for name, context in subject.contexts() if judge(context)]
    annotations = [
        f"{key}={go_quote(value)}"
        for key, value in sorted((subject.metadata.get("annotations") or {}).items())
        if key.startswith(_APPARMOR_PREFIX) and not _allows_app_armor(value)
    ]
    where = [setters(pod, names)] if pod or names else []
    if annotations:
        where.append(plural("annotation", "annotations", len(annotations)))
    if not where:
        return None
    listed = [*sorted(values), *annotations]
    return Finding(
        plural("forbidden AppArmor profile", "forbidden AppArmor profiles", len(listed)),
        f"{' and '.join(where)} must not set AppArmor profile type to {quote(listed)}",
    )


def _allows_app_armor(annotation: str) -> bool:
    return annotation in ("", "runtime/default") or annotation.startswith("localhost/")


def capabilities(subject: Subject, minor: int) -> Finding | None:
    bad: list[str] = []
    added: set[str] = set()
    for name, context in subject.contexts():
        extra = set((context.get("capabilities") or {}).get("add") or ()) - _DEFAULT_CAPABILITIES
        if extra:
            bad.append(name)
            added |= extra
    if not bad:
        return None
    detail = f"{containers_named(bad)} must not include {quote(sorted(added))} in securityContext.capabilities.add"
    return Finding("non-default capabilities", detail)


def host_namespaces(subject: Subject, minor: int) -> Finding | None:
    found = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if subject.spec.get(field)]
    return Finding("host namespaces", ", ".join(found)) if found else None


def host_path_volumes(subject: Subject, minor: int) -> Finding | None:
    names = [str(volume.get("name")) for volume in subject.spec.get("volumes") or () if volume.get("hostPath")]
    if not names:
        return None
    return Finding("hostPath volumes", f"{plural('volume', 'volumes', len(names))} {quote(names)}")


def host_ports(subject: Subject, minor: int) -> Finding | None:
    names: list[str] = []
    ports: set[int] = set()
    for container in subject.containers():
        used = {int(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")}
        if used:
            names.append(str(container.get("name")))
            ports |= used
    if not names:
        return None
    verb = plural("uses", "use", len(names))
    listed = ", ".join(sorted(map(str, ports)))
    return Finding(
        "hostPort", f"{containers_named(names)} {verb} {plural('hostPort', 'hostPorts', len(ports))} {listed}"
    )


def host_probes(subject: Subject, minor: int) -> Finding | None:
    names: list[str] = []
    hosts: set[str] = set()
    for container in subject.containers():
        used = {host for host in _hosts(container) if host}
        if used:
            names.append(str(container.get("name")))
            hosts |= used
    if not names:
        return None
    word = plural("probe or lifecycle host", "probe or lifecycle hosts", len(hosts))
    verb = plural("uses", "use", len(names))
    return Finding("probe or lifecycle host", f"{containers_named(sorted(names))} {verb} {word} {quote(sorted(hosts))}")


def _hosts(container: Object) -> Iterator[str]:
    lifecycle = container.get("lifecycle") or {}
    handlers = [container.get(probe) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    handlers += [lifecycle.get(hook) for hook in ("postStart", "preStop")]
    for handler in handlers:
        for action in ("httpGet", "tcpSocket"):
            yield str(((handler or {}).get(action) or {}).get("host") or "")


def privileged(subject: Subject, minor: int) -> Finding | None:
    names = [name for name, context in subject.contexts() if context.get("privileged")]
    if not names:
        return None
    return Finding("privileged", f"{containers_named(names)} must not set securityContext.privileged=true")


def in_user_namespace(subject: Subject, minor: int) -> bool:
    """Whether root in the pod is nobody on its node, and the policy knows of such pods."""
    return minor >= user_namespaces_since_minor and subject.spec.get("hostUsers") is False


def proc_mount(subject: Subject, minor: int) -> Finding | None:
    return None if in_user_namespace(subject, minor) else any_proc_mount(subject, minor)


def any_proc_mount(subject: Subject, minor: int) -> Finding | None:
    """As the restricted level asks it, also of pods in user namespaces."""
    bad = {
        name: str(context["procMount"])
        for name, context in subject.contexts()
        if context.get("procMount") not in (None, "Default")
    }
    if not bad:
        return None
    values = quote(sorted(set(bad.values())))
    return Finding("procMount", f"{containers_named(list(bad))} must not set securityContext.procMount to {values}")


def se_linux_options(subject: Subject, minor: int) -> Finding | None:
    types: set[str] = set()
    faults: dict[str, None] = {}

    def judge(context: Mapping[str, Any]) -> bool:
        options = context.get("seLinuxOptions") or {}
        kind = options.get("type") or ""
        allowed = kind in _SELINUX_TYPES or (kind == "container_engine_t" and minor >= 31)
        if not allowed:
            types.add(kind)
        for field in ("user", "role"):
            if options.get(field):
                faults[f"{field} may not be set"] = None
        return not allowed or bool(options.get("user")) or bool(options.get("role"))

    pod = judge(subject.pod_context)
    names = [name for name, context in subject.contexts() if judge(context)]
    if not pod and not names:
        return None
    listed = [f"{plural('type', 'types', len(types))} {quote(sorted(types))}"] if types else []
    listed += sorted(faults, reverse=True)
    where = setters(pod, names)
    return Finding("seLinuxOptions", f"{where} set forbidden securityContext.seLinuxOptions: {'; '.join(listed)}")


def seccomp_profile(subject: Subject, minor: int) -> Finding | None:
    if minor < seccomp_fields_since_minor:
        return _seccomp_annotations(subject)
    values: set[str] = set()

    def judge(context: Mapping[str, Any]) -> bool:
        profile = context.get("seccompProfile")
        if profile is None or profile.get("type") in _PROFILE_TYPES:
            return False
        values.add(str(profile.get("type") or ""))
        return True

    pod = judge(subject.pod_context)
    names = [name for name, context in subject.contexts() if judge(context)]
    if not pod and not names:
        return None
    where = setters(pod, names)
    listed = quote(sorted(values))
    return Finding("seccompProfile", f"{where} must not set securityContext.seccompProfile.type to {listed}")


def _seccomp_annotations(subject: Subject) -> Finding | None:
    given = subject.metadata.get("annotations") or {}
    keys = [_SECCOMP_POD, *(f"{_SECCOMP_CONTAINER}{name}" for name, _ in subject.contexts())]
    bad = {f"{key}={go_quote(given[key])}" for key in keys if key in given and not _allows_seccomp(given[key])}
    if not bad:
        return None
    return Finding(
        "seccompProfile", f"forbidden {plural('annotation', 'annotations', len(bad))} {', '.join(sorted(bad))}"
    )


def _allows_seccomp(annotation: str) -> bool:
    return annotation in ("runtime/default", "docker/default") or annotation.startswith("localhost/")


def sysctls(subject: Subject, minor: int) -> Finding | None:
    allowed = {name for since, name in _SYSCTLS_SINCE if minor >= since}
    used = (str(item.get("name", "")) for item in subject.pod_context.get("sysctls") or ())
    bad = [name for name in used if name not in allowed]
    return Finding("forbidden sysctls", ", ".join(bad)) if bad else None


def windows_host_process(subject: Subject, minor: int) -> Finding | None:
    pod = bool((subject.pod_context.get("windowsOptions") or {}).get("hostProcess"))
    names = [n for n, context in subject.contexts() if (context.get("windowsOptions") or {}).get("hostProcess")]
    if not pod and not names:
        return None
    return Finding("hostProcess", f"{setters(pod, names)} must not set securityContext.windowsOptions.hostProcess=true")
