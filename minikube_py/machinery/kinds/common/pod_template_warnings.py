"""Warnings that a pod spec earns anywhere (``warningsForPodSpecAndMeta`` of ``k8s.io/kubernetes/pkg/api/pod``).

Deprecated labels, fields and annotations, duplicates, and values that mean something else than they seem to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.machinery.kinds.common.checks import ip_warnings
from minikube_py.machinery.kinds.common.claim_validation import claim_spec_warnings
from minikube_py.machinery.kinds.common.node_labels import DEPRECATED_LABELS, node_term_warnings
from minikube_py.machinery.quantities import parse_quantity

_DEPRECATED_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_MATCHES_NOTHING = "a null labelSelector results in matching no pod"
_FRACTION = "is invalid, must be an integer"


def template_warnings(path: str, template: Mapping[str, Any]) -> list[str]:
    """Warnings of a pod template; ``path`` is "" for a pod, such as "spec.template" for a template."""
    prefix = f"{path}." if path else ""
    spec, meta = template.get("spec") or {}, template.get("metadata") or {}
    annotations: Mapping[str, str] = meta.get("annotations") or {}
    found = [
        *_label_warnings(f"{prefix}spec", spec),
        *(
            f"{prefix}metadata.annotations[{key}]: {text}"
            for key, text in _DEPRECATED_ANNOTATIONS.items()
            if key in annotations
        ),
        *_volume_warnings(f"{prefix}spec.volumes", spec.get("volumes") or ()),
        *_token_path_warnings(f"{prefix}spec.volumes", spec.get("volumes") or ()),
        *_duplicate_warnings(f"{prefix}spec", spec),
        *_fraction_warnings(f"{prefix}spec.overhead", spec.get("overhead") or {}),
        *_profile_warnings(f"{prefix}metadata.annotations", annotations, spec, is_template=bool(path)),
        *_container_warnings(f"{prefix}spec", spec),
        *_port_warnings(f"{prefix}spec", spec),
    ]
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        field = f"{prefix}spec.terminationGracePeriodSeconds"
        found.append(f"{field}: must be >= 0; negative values are invalid and will be treated as 1")
    return [*found, *_affinity_warnings(f"{prefix}spec.affinity", spec), *_address_warnings(f"{prefix}spec", spec)]


def _containers(path: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All containers with their paths, as ``VisitContainersWithPath``."""
    for sort in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(sort) or ()):
            yield f"{path}.{sort}[{index}]", container


def _label_warnings(path: str, spec: Mapping[str, Any]) -> Iterator[str]:
    for key in spec.get("nodeSelector") or ():
        if key in DEPRECATED_LABELS:
            yield f"{path}.nodeSelector[{key}]: {DEPRECATED_LABELS[key]}"
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    for index, term in enumerate((affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()):
        yield from node_term_warnings(f"{path}.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms[{index}]", term)
    for index, weighted in enumerate(affinity.get(_PREFERRED) or ()):
        where = f"{path}.affinity.nodeAffinity.{_PREFERRED}[{index}].preference"
        yield from node_term_warnings(where, weighted.get("preference") or {}, values=True)
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        key = constraint.get("topologyKey")
        where = f"{path}.topologySpreadConstraints[{index}]"
        if key in DEPRECATED_LABELS:
            yield f"{where}.topologyKey: {key} is {DEPRECATED_LABELS[key]}"
        if constraint.get("labelSelector") is None:
            yield f"{where}.labelSelector: {_MATCHES_NOTHING}"


DEPRECATED_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}


def _volume_warnings(path: str, volumes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for index, volume in enumerate(volumes):
        for source, text in DEPRECATED_VOLUMES.items():
            if volume.get(source) is not None:
                yield f"{path}[{index}].{'storageOS' if source == 'storageos' else source}: {text}"
        template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if template:
            where = f"{path}[{index}].ephemeral.volumeClaimTemplate.spec"
            yield from claim_spec_warnings(where, template.get("spec") or {})


def _token_path_warnings(path: str, volumes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Files that a projected service account token hides."""
    sources = [(index, part) for index, volume in enumerate(volumes)
               for part in (volume.get("projected") or {}).get("sources") or ()]  # fmt: skip
    tokens = {part["serviceAccountToken"].get("path") for _, part in sources if part.get("serviceAccountToken")}
    if not tokens:
        return
    for index, part in sources:
        where = f"{path}[{index}].projected.sources"
        for field, shown in (("configMap", "configMap"), ("secret", "secrets"), ("downwardAPI", "downwardAPI")):
            for number, item in enumerate((part.get(field) or {}).get("items") or ()):
                if item.get("path") in tokens:
                    yield f'{where}.{shown}[{number}]: has duplicated path with ServiceAccountToken "{item["path"]}"'
        bundle = (part.get("clusterTrustBundle") or {}).get("path")
        if bundle in tokens:
            yield f'{where}.ClusterTrustBundle: has duplicated path with ServiceAccountToken "{bundle}"'


def _duplicate_warnings(path: str, spec: Mapping[str, Any]) -> Iterator[str]:
    addresses: set[str] = set()
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        address = alias.get("ip") or ""
        if address in addresses:
            yield f'{path}.hostAliases[{index}].ip: duplicate ip "{address}"'
        addresses.add(address)
    secrets = [secret.get("name") or "" for secret in spec.get("imagePullSecrets") or ()]
    for index, name in enumerate(secrets):
        if name in secrets[:index]:
            yield f'{path}.imagePullSecrets[{index}].name: duplicate name "{name}"'
    for index, name in enumerate(secrets):
        if not name:
            yield f'{path}.imagePullSecrets[{index}].name: invalid empty name ""'


def _fraction_warnings(path: str, amounts: Mapping[str, Any]) -> Iterator[str]:
    for name in ("memory", "ephemeral-storage"):
        amount = amounts.get(name)
        if amount is not None and parse_quantity(amount).milli() % 1000:
            yield f'{path}[{name}]: fractional byte value "{amount}" {_FRACTION}'


def _profile_warnings(
    path: str, annotations: Mapping[str, str], spec: Mapping[str, Any], *, is_template: bool
) -> Iterator[str]:
    """Annotations of profiles that the fields replace, where the field is not there."""
    context = spec.get("securityContext") or {}
    if context.get("seccompProfile") is None and _SECCOMP in annotations:
        yield f'{path}[{_SECCOMP}]: non-functional in v1.27+; use the "seccompProfile" field instead'
    for _, container in _containers("", spec):
        own, name = container.get("securityContext") or {}, container.get("name") or ""
        key = f"{_SECCOMP_CONTAINER}{name}"
        if own.get("seccompProfile") is None and key in annotations:
            yield f'{path}[{key}]: non-functional in v1.27+; use the "seccompProfile" field instead'
        key = f"{_APPARMOR}{name}"
        profile = context.get("appArmorProfile") or own.get("appArmorProfile")
        if is_template and profile is None and key in annotations:
            yield f'{path}[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead'


def _container_warnings(path: str, spec: Mapping[str, Any]) -> Iterator[str]:
    for where, container in _containers(path, spec):
        resources = container.get("resources") or {}
        for name in ("memory", "ephemeral-storage"):
            for kind in ("limits", "requests"):
                amount = (resources.get(kind) or {}).get(name)
                yield from _fraction_warnings(f"{where}.resources.{kind}", {name: amount})
        yield from _variable_warnings(f"{where}.env", container.get("env") or ())


def _variable_warnings(path: str, variables: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()
    for index, variable in enumerate(variables):
        name, value = variable.get("name") or "", variable.get("value") or ""
        reference = f"$({name})"
        hides = variable.get("valueFrom") is not None or value == reference or reference not in value
        if name in seen and hides:
            yield f'{path}[{index}]: hides previous definition of "{name}", which may be dropped when using apply'
        seen.add(name)


def _port_warnings(path: str, spec: Mapping[str, Any]) -> Iterator[str]:
    """Ports that are defined more than once in the pod."""
    known: dict[tuple[Any, Any], list[tuple[str, str, int]]] = {}
    for where, container in _containers(path, spec):
        for index, port in enumerate(container.get("ports") or ()):
            field, address, host = f"{where}.ports[{index}]", port.get("hostIP") or "", port.get("hostPort") or 0
            if address and not host:
                yield f"{field}: hostIP set without hostPort: {_go_port(port)}"
            others = known.setdefault((port.get("containerPort"), port.get("protocol")), [])
            for other, other_address, other_host in others:
                if (address, host) == (other_address, other_host):
                    yield f"{field}: duplicate port definition with {other}"
                elif not host or not other_host:
                    yield f"{field}: overlapping port definition with {other}"
                elif host == other_host and bool(address) != bool(other_address):
                    yield f"{field}: dangerously ambiguous port definition with {other}"
            others.append((field, address, host))


def _go_port(port: Mapping[str, Any]) -> str:
    """A container port as Go's ``%+v`` prints the structure."""
    return (
        f"{{Name:{port.get('name') or ''} HostPort:{port.get('hostPort') or 0} "
        f"ContainerPort:{port.get('containerPort') or 0} Protocol:{port.get('protocol') or ''} "
        f"HostIP:{port.get('hostIP') or ''}}}"
    )


def _affinity_warnings(path: str, spec: Mapping[str, Any]) -> Iterator[str]:
    for sort in ("podAffinity", "podAntiAffinity"):
        affinity = (spec.get("affinity") or {}).get(sort) or {}
        for index, term in enumerate(affinity.get(_REQUIRED) or ()):
            if term.get("labelSelector") is None:
                yield f"{path}.{sort}.{_REQUIRED}[{index}].labelSelector: {_MATCHES_NOTHING}"
        for index, weighted in enumerate(affinity.get(_PREFERRED) or ()):
            if (weighted.get("podAffinityTerm") or {}).get("labelSelector") is None:
                yield f"{path}.{sort}.{_PREFERRED}[{index}].podAffinityTerm.labelSelector: {_MATCHES_NOTHING}"


def _address_warnings(path: str, spec: Mapping[str, Any]) -> Iterator[str]:
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        yield from ip_warnings(f"{path}.dnsConfig.nameservers[{index}]", server)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        yield from ip_warnings(f"{path}.hostAliases[{index}].ip", alias.get("ip") or "")
