"""Warnings that a pod spec earns anywhere: deprecated labels, fields and annotations, duplicates, odd names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.machinery.quantities import parse_quantity

_DEPRECATED_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
_DEPRECATED_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
}
_SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


def template_warnings(path: str, template: Mapping[str, Any]) -> list[str]:
    """Warnings of a pod template; ``path`` is "" for a pod, such as "spec.template" for a template."""
    prefix = f"{path}." if path else ""
    spec, meta = template.get("spec") or {}, template.get("metadata") or {}
    found = [
        *_label_warnings(f"{prefix}spec", spec),
        *_annotation_warnings(f"{prefix}metadata.annotations", meta.get("annotations") or {}),
        *_volume_warnings(f"{prefix}spec.volumes", spec.get("volumes") or ()),
        *_duplicate_warnings(f"{prefix}spec", spec),
        *_container_warnings(f"{prefix}spec", spec),
    ]
    if spec.get("terminationGracePeriodSeconds") is not None and spec["terminationGracePeriodSeconds"] < 0:
        found.append(f"{prefix}spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will "
                     "be treated as 1")  # fmt: skip
    return found


def _label_warnings(path: str, spec: Mapping[str, Any]) -> Iterator[str]:
    for key in spec.get("nodeSelector") or ():
        if key in _DEPRECATED_LABELS:
            yield f"{path}.nodeSelector[{key}]: {_DEPRECATED_LABELS[key]}"
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        key = constraint.get("topologyKey")
        if key in _DEPRECATED_LABELS:
            yield f"{path}.topologySpreadConstraints[{index}].topologyKey: {key} is {_DEPRECATED_LABELS[key]}"
        if constraint.get("labelSelector") is None:
            yield (
                f"{path}.topologySpreadConstraints[{index}].labelSelector: a null labelSelector results in matching "
                "no pod"
            )
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    for index, term in enumerate((affinity.get(required) or {}).get("nodeSelectorTerms") or ()):
        where = f"{path}.affinity.nodeAffinity.{required}.nodeSelectorTerms[{index}]"
        yield from _expression_warnings(where, term)


def _expression_warnings(path: str, term: Mapping[str, Any]) -> Iterator[str]:
    for index, wanted in enumerate(term.get("matchExpressions") or ()):
        key = wanted.get("key")
        if key in _DEPRECATED_LABELS:
            yield f"{path}.matchExpressions[{index}].key: {key} is {_DEPRECATED_LABELS[key]}"


def _annotation_warnings(path: str, annotations: Mapping[str, str]) -> Iterator[str]:
    for key in sorted(annotations):
        if key in _DEPRECATED_ANNOTATIONS:
            yield f"{path}[{key}]: {_DEPRECATED_ANNOTATIONS[key]}"
        elif key == _SECCOMP or key.startswith(_SECCOMP_CONTAINER):
            yield f'{path}[{key}]: non-functional in v1.27+; use the "seccompProfile" field instead'
        elif key.startswith(_APPARMOR):
            yield f'{path}[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead'


_DEPRECATED_VOLUMES = {
    "gcePersistentDisk": "deprecated in v1.17; use CSI drivers",
    "awsElasticBlockStore": "deprecated in v1.17; use CSI drivers",
    "azureDisk": "deprecated in v1.19; use CSI drivers",
    "azureFile": "deprecated in v1.21; use CSI drivers",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "flexVolume": "deprecated in v1.23; use CSI drivers",
}


def _volume_warnings(path: str, volumes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for index, volume in enumerate(volumes):
        for source, text in _DEPRECATED_VOLUMES.items():
            if volume.get(source) is not None:
                yield f"{path}[{index}].{source}: {text}"


def _duplicate_warnings(path: str, spec: Mapping[str, Any]) -> Iterator[str]:
    seen: set[str] = set()
    for index, secret in enumerate(spec.get("imagePullSecrets") or ()):
        name = secret.get("name") or ""
        if not name:
            yield f'{path}.imagePullSecrets[{index}].name: invalid empty name ""'
        elif name in seen:
            yield f'{path}.imagePullSecrets[{index}].name: duplicate name "{name}"'
        seen.add(name)
    addresses: set[str] = set()
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        address = alias.get("ip") or ""
        if address in addresses:
            yield f'{path}.hostAliases[{index}].ip: duplicate ip "{address}"'
        addresses.add(address)


def _container_warnings(path: str, spec: Mapping[str, Any]) -> Iterator[str]:
    for sort in ("initContainers", "containers"):
        taken: dict[tuple[Any, Any], str] = {}
        for index, container in enumerate(spec.get(sort) or ()):
            where = f"{path}.{sort}[{index}]"
            yield from _fraction_warnings(f"{where}.resources", container.get("resources") or {})
            yield from _variable_warnings(f"{where}.env", container.get("env") or ())
            yield from _port_warnings(f"{where}.ports", container.get("ports") or (), taken)


def _fraction_warnings(path: str, resources: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("limits", "requests"):
        for name in ("memory", "ephemeral-storage"):
            amount = (resources.get(kind) or {}).get(name)
            if amount is not None and parse_quantity(amount).nano % 10**9:
                yield f'{path}.{kind}[{name}]: fractional byte value "{amount}" is invalid, must be an integer'


def _variable_warnings(path: str, variables: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    seen: dict[str, Mapping[str, Any]] = {}
    for index, variable in enumerate(variables):
        name = variable.get("name") or ""
        before = seen.get(name)
        refers = before is not None and f"$({name})" in (variable.get("value") or "")
        if before is not None and not refers:
            yield f'{path}[{index}]: hides previous definition of "{name}", which may be unexpected'
        seen[name] = variable


def _port_warnings(path: str, ports: Sequence[Mapping[str, Any]], taken: dict[tuple[Any, Any], str]) -> Iterator[str]:
    for index, port in enumerate(ports):
        if port.get("hostPort"):
            continue
        key = (port.get("containerPort"), port.get("protocol"))
        where = f"{path}[{index}]"
        if key in taken:
            yield f"{where}: duplicate port definition with {taken[key]}"
        else:
            taken[key] = where
