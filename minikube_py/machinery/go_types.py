"""Facts about the Go structures behind the built-in definitions that OpenAPI does not carry.

* ``go_field_type``: the Go type of a field, as decoding errors name it;
* ``always_written``, from ``go_fields.txt``: what Go writes for a field without a value (structures that
  are no pointers and what lacks ``omitempty``; ``{}``, or as the file says after "=");
* ``FIELD_DEFAULTS``: defaults that are part of a list-map key.

Observed from the recorded answers of a v1.36 server, and from its protobuf encoding, which writes every
field that is no pointer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minikube_py.machinery.schema import Schema

_API = "io.k8s.api."
_CORE = "io.k8s.api.core.v1."
_TABLE = Path(__file__).with_name("go_fields.txt")
_NOTHING: Mapping[str, Any] = {}
_WRITTEN: Mapping[str, Any] = {"": {}, "null": None, "0": 0, "false": False, '""': ""}

FIELD_DEFAULTS: Mapping[tuple[str, str], Any] = {
    (_CORE + "ContainerPort", "protocol"): "TCP",
    (_CORE + "ServicePort", "protocol"): "TCP",
    (_CORE + "EndpointPort", "protocol"): "TCP",
    (_CORE + "LocalObjectReference", "name"): "",
}

# Named string types, by structure: "field:Type", with the package only where it is another one.
_NAMED_FIELDS = {
    "core.v1": {
        "Container": "imagePullPolicy:PullPolicy terminationMessagePolicy:TerminationMessagePolicy",
        "EphemeralContainer": "imagePullPolicy:PullPolicy terminationMessagePolicy:TerminationMessagePolicy",
        "ContainerPort": "protocol:Protocol",
        "ServicePort": "protocol:Protocol",
        "EndpointPort": "protocol:Protocol",
        "PodSpec": "dnsPolicy:DNSPolicy restartPolicy:RestartPolicy preemptionPolicy:PreemptionPolicy",
        "PodStatus": "phase:PodPhase qosClass:PodQOSClass",
        "PodCondition": "type:PodConditionType status:ConditionStatus",
        "NodeCondition": "type:NodeConditionType status:ConditionStatus",
        "NamespaceCondition": "type:NamespaceConditionType status:ConditionStatus",
        "NamespaceStatus": "phase:NamespacePhase",
        "NodeStatus": "phase:NodePhase",
        "NodeAddress": "type:NodeAddressType",
        "ServiceSpec": "type:ServiceType sessionAffinity:ServiceAffinity ipFamilyPolicy:IPFamilyPolicy"
        " ipFamilies:IPFamily externalTrafficPolicy:ServiceExternalTrafficPolicy"
        " internalTrafficPolicy:ServiceInternalTrafficPolicy",
        "Secret": "type:SecretType",
        "Taint": "effect:TaintEffect",
        "Toleration": "effect:TaintEffect operator:TolerationOperator",
        "HTTPGetAction": "scheme:URIScheme",
        "PersistentVolumeSpec": "persistentVolumeReclaimPolicy:PersistentVolumeReclaimPolicy"
        " volumeMode:PersistentVolumeMode accessModes:PersistentVolumeAccessMode",
        "PersistentVolumeClaimSpec": "volumeMode:PersistentVolumeMode accessModes:PersistentVolumeAccessMode",
        "PersistentVolumeStatus": "phase:PersistentVolumePhase",
        "PersistentVolumeClaimStatus": "phase:PersistentVolumeClaimPhase accessModes:PersistentVolumeAccessMode",
        "VolumeMount": "mountPropagation:MountPropagationMode recursiveReadOnly:RecursiveReadOnlyMode",
        "EmptyDirVolumeSource": "medium:StorageMedium",
        "HostPathVolumeSource": "type:HostPathType",
        "NodeSelectorRequirement": "operator:NodeSelectorOperator",
        "TopologySpreadConstraint": "whenUnsatisfiable:UnsatisfiableConstraintAction",
        "Capabilities": "add:Capability drop:Capability",
        "ResourceQuotaSpec": "scopes:ResourceQuotaScope",
        "LimitRangeItem": "type:LimitType",
        "ObjectReference": "uid:types.UID",
    },
    "apps.v1": {
        "DeploymentStrategy": "type:DeploymentStrategyType",
        "DaemonSetUpdateStrategy": "type:DaemonSetUpdateStrategyType",
        "StatefulSetUpdateStrategy": "type:StatefulSetUpdateStrategyType",
        "StatefulSetSpec": "podManagementPolicy:PodManagementPolicyType",
        "DeploymentCondition": "type:DeploymentConditionType status:v1.ConditionStatus",
    },
    "batch.v1": {
        "CronJobSpec": "concurrencyPolicy:ConcurrencyPolicy",
        "JobSpec": "completionMode:CompletionMode podReplacementPolicy:PodReplacementPolicy",
    },
    "networking.v1": {
        "HTTPIngressPath": "pathType:PathType",
        "NetworkPolicySpec": "policyTypes:PolicyType",
        "NetworkPolicyPort": "protocol:v1.Protocol",
    },
    "discovery.v1": {
        "EndpointSlice": "addressType:AddressType",
        "EndpointPort": "protocol:v1.Protocol",
    },
    "storage.v1": {
        "StorageClass": "reclaimPolicy:v1.PersistentVolumeReclaimPolicy volumeBindingMode:VolumeBindingMode",
    },
    "scheduling.v1": {"PriorityClass": "preemptionPolicy:v1.PreemptionPolicy"},
}
_META_FIELDS = {
    "ObjectMeta": {"uid": "types.UID"},
    "OwnerReference": {"uid": "types.UID"},
    "LabelSelectorRequirement": {"operator": "v1.LabelSelectorOperator"},
    "Condition": {"status": "v1.ConditionStatus"},
    "ManagedFieldsEntry": {"operation": "v1.ManagedFieldsOperationType"},
}
_MAP_TYPES = {
    (_CORE + "ResourceRequirements", "limits"): "v1.ResourceList",
    (_CORE + "ResourceRequirements", "requests"): "v1.ResourceList",
    (_CORE + "NodeStatus", "capacity"): "v1.ResourceList",
    (_CORE + "NodeStatus", "allocatable"): "v1.ResourceList",
    (_CORE + "ResourceQuotaSpec", "hard"): "v1.ResourceList",
}


def _named() -> dict[tuple[str, str], str]:
    table: dict[tuple[str, str], str] = {}
    for package, structures in _NAMED_FIELDS.items():
        version = package.rpartition(".")[2]
        for structure, fields in structures.items():
            for entry in fields.split():
                field, _, type_name = entry.partition(":")
                qualified = type_name if "." in type_name else f"{version}.{type_name}"
                table[f"{_API}{package}.{structure}", field] = qualified
    for structure, named in _META_FIELDS.items():
        for field, type_name in named.items():
            table[f"io.k8s.apimachinery.pkg.apis.meta.v1.{structure}", field] = type_name
    return table


_NAMED = _named()
_BASIC = {"string": "string", "boolean": "bool", "number": "float64"}


def go_field_type(schema: Schema, owner: str = "", field: str = "") -> str:
    """The Go type of a place; ``owner`` and ``field`` tell named strings (``v1.Protocol``) from plain ones."""
    if schema.type == "array":
        if schema.items is None:
            return "[]interface {}"
        return "[]" + go_field_type(schema.items, owner, field)
    if (owner, field) in _MAP_TYPES and schema.additional is not None:
        return _MAP_TYPES[owner, field]
    if schema.additional is not None:
        return "map[string]" + go_field_type(schema.additional, owner, field)
    if schema.name:
        package, _, short = schema.name.rpartition(".")
        return f"{package.rpartition('.')[2]}.{short}"
    if schema.format == "byte":
        return "[]uint8"
    if schema.type == "integer":
        return schema.format or "int64"
    if schema.type == "string":
        return _NAMED.get((owner, field), "string")
    return _BASIC.get(schema.type, "interface {}")


@cache
def _written() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = {}
    package = ""
    for line in _TABLE.read_text().splitlines():
        if line.startswith("["):
            package = line[1:-1]
            continue
        structure, *words = line.split()
        pairs = (word.partition("=") for word in words)
        table[f"{package}.{structure}"] = {field: _WRITTEN[value] for field, _, value in pairs}
    return table


def always_written(definition: str) -> Mapping[str, Any]:
    """Fields that the reference writes even when nothing was given, with what it writes (read-only)."""
    return _written().get(definition, _NOTHING)
