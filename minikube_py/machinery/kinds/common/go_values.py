"""Structures as they print inside error texts: Kubernetes' internal Go types marshalled to JSON.

Internal types have no JSON tags, so fields carry their Go names, all of them are there, and unset ones
show their zero value. A layout lists a type's fields in order, each ``GoName`` with a sort:

    "" text   0 number   ? boolean   - null when unset (pointers, lists, maps)
    T struct of layout T   *T pointer to one   []T list of them   ! kept as it is in JSON (tagged types)
    ~ label selector
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from minikube_py.machinery.kinds.common.go_pod_values import POD_LAYOUTS

_LAYOUTS = {
    **POD_LAYOUTS,
    "ObjectReference": 'Kind"" Namespace"" Name"" UID"" APIVersion"" ResourceVersion"" FieldPath""',
    "RoleRef": 'APIGroup"" Kind"" Name""',
    "ParentReference": 'Group"" Resource"" Namespace"" Name""',
    "ServicePort": 'Name"" Protocol"" AppProtocol- Port0 TargetPort0 NodePort0',
    "HostPathVolumeSource": 'Path"" Type-',
    "NFSVolumeSource": 'Server"" Path"" ReadOnly?',
    "FCVolumeSource": 'TargetWWNs- Lun- FSType"" ReadOnly? WWIDs-',
    "LocalVolumeSource": 'Path"" FSType-',
    "SecretReference": 'Name"" Namespace""',
    "CSIPersistentVolumeSource": 'Driver"" VolumeHandle"" ReadOnly? FSType"" VolumeAttributes- '
    "ControllerPublishSecretRef*SecretReference NodeStageSecretRef*SecretReference "
    "NodePublishSecretRef*SecretReference ControllerExpandSecretRef*SecretReference "
    "NodeExpandSecretRef*SecretReference",
    "PersistentVolumeSource": "GCEPersistentDisk! AWSElasticBlockStore! HostPath*HostPathVolumeSource Glusterfs! "
    "NFS*NFSVolumeSource RBD! Quobyte! ISCSI! FlexVolume! Cinder! CephFS! FC*FCVolumeSource Flocker! AzureFile! "
    "VsphereVolume! AzureDisk! PhotonPersistentDisk! PortworxVolume! ScaleIO! Local*LocalVolumeSource StorageOS! "
    "CSI*CSIPersistentVolumeSource",
    "NodeSelector": "NodeSelectorTerms[]NodeSelectorTerm",
    "VolumeNodeAffinity": "Required*NodeSelector",
    "Taint": 'Key"" Value"" Effect"" TimeAdded-',
    "NodeAddress": 'Type"" Address""',
    "PodIP": 'IP""',
    "ScopedResourceSelectorRequirement": 'ScopeName"" Operator"" Values-',
    "ScopeSelector": "MatchExpressions[]ScopedResourceSelectorRequirement",
    "ClusterTrustBundleProjection": 'Name- SignerName- LabelSelector~ Optional- Path""',
    "VolumeResourceRequirements": "Limits- Requests-",
    "Toleration": 'Key"" Operator"" Value"" Effect"" TolerationSeconds-',
    "TypedLocalObjectReference": 'APIGroup- Kind"" Name""',
    "TypedObjectReference": 'APIGroup- Kind"" Name"" Namespace-',
    "PersistentVolumeClaimSpec": 'AccessModes- Selector~ ResourcesVolumeResourceRequirements VolumeName"" '
    "StorageClassName- VolumeMode- DataSource*TypedLocalObjectReference DataSourceRef*TypedObjectReference "
    "VolumeAttributesClassName-",
    "RollingUpdateStatefulSetStrategy": "Partition0 MaxUnavailable-",
    "RollingUpdateDaemonSet": "MaxUnavailable- MaxSurge-",
    "RollingUpdateDeployment": "MaxUnavailable0 MaxSurge0",
    "DeploymentStrategy": 'Type"" RollingUpdate*RollingUpdateDeployment',
    "StatefulSetUpdateStrategy": 'Type"" RollingUpdate*RollingUpdateStatefulSetStrategy',
    "DaemonSetUpdateStrategy": 'Type"" RollingUpdate*RollingUpdateDaemonSet',
    "SuccessPolicyRule": "SucceededIndexes- SucceededCount-",
    "SuccessPolicy": "Rules[]SuccessPolicyRule",
    "PodFailurePolicyOnExitCodesRequirement": 'ContainerName- Operator"" Values-',
    "PodFailurePolicyOnPodConditionsPattern": 'Type"" Status""',
    "PodFailurePolicyRule": 'Action"" OnExitCodes*PodFailurePolicyOnExitCodesRequirement '
    "OnPodConditions[]PodFailurePolicyOnPodConditionsPattern",
    "PodFailurePolicy": "Rules[]PodFailurePolicyRule",
    "PodDisruptionBudgetSpec": "MinAvailable- Selector~ MaxUnavailable- UnhealthyPodEvictionPolicy-",
    "ServiceCIDRSpec": "CIDRs-",
    "PriorityLevelConfigurationReference": 'Name""',
    "FlowDistinguisherMethod": 'Type""',
    "UserSubject": 'Name""',
    "GroupSubject": 'Name""',
    "ServiceAccountSubject": 'Namespace"" Name""',
    "FlowSchemaSubject": 'Kind"" User*UserSubject Group*GroupSubject ServiceAccount*ServiceAccountSubject',
    "ResourcePolicyRule": "Verbs- APIGroups- Resources- ClusterScope? Namespaces-",
    "NonResourcePolicyRule": "Verbs- NonResourceURLs-",
    "PolicyRulesWithSubjects": "Subjects[]FlowSchemaSubject ResourceRules[]ResourcePolicyRule "
    "NonResourceRules[]NonResourcePolicyRule",
    "FlowSchemaSpec": "PriorityLevelConfigurationPriorityLevelConfigurationReference MatchingPrecedence0 "
    "DistinguisherMethod*FlowDistinguisherMethod Rules[]PolicyRulesWithSubjects",
    "QueuingConfiguration": "Queues0 HandSize0 QueueLengthLimit0",
    "LimitResponse": 'Type"" Queuing*QueuingConfiguration',
    "LimitedPriorityLevelConfiguration": "NominalConcurrencyShares0 LimitResponseLimitResponse LendablePercent- "
    "BorrowingLimitPercent-",
    "ExemptPriorityLevelConfiguration": "NominalConcurrencyShares- LendablePercent-",
    "PriorityLevelConfigurationSpec": 'Type"" Limited*LimitedPriorityLevelConfiguration '
    "Exempt*ExemptPriorityLevelConfiguration",
    "CSINodeDriver": 'Name"" NodeID"" TopologyKeys- Allocatable-',
    "VolumeAttachmentSource": "PersistentVolumeName- InlineVolumeSpec-",
    "VolumeAttachmentSpec": 'Attacher"" SourceVolumeAttachmentSource NodeName""',
    "NonResourceAttributes": 'Path"" Verb""',
    "DeviceRequestExact": 'DeviceClassName"" Selectors[]DeviceSelector AllocationMode"" Count0 AdminAccess- '
    "Tolerations[]DeviceToleration Capacity-",
    "DeviceSelector": "CEL*CELDeviceSelector",
    "CELDeviceSelector": 'Expression""',
    "DeviceToleration": 'Key"" Operator"" Value"" Effect"" TolerationSeconds-',
    "DeviceSubRequest": 'Name"" DeviceClassName"" Selectors[]DeviceSelector AllocationMode"" Count0 '
    "Tolerations[]DeviceToleration Capacity-",
    "DeviceRequest": 'Name"" Exactly*DeviceRequestExact FirstAvailable[]DeviceSubRequest',
    "DeviceConstraint": "Requests- MatchAttribute- DistinctAttribute-",
    "DeviceClaimConfiguration": "Requests- Opaque-",
    "DeviceClaim": "Requests[]DeviceRequest Constraints[]DeviceConstraint Config[]DeviceClaimConfiguration",
    "AuditAnnotation": 'Key"" ValueExpression""',
    "NodeSelectorTerm": "MatchExpressions[]NodeSelectorRequirement MatchFields[]NodeSelectorRequirement",
    "NodeSelectorRequirement": 'Key"" Operator"" Values-',
    "ResourceClaimSpec": "DevicesDeviceClaim",
    "CustomResourceDefinitionVersion": 'Name"" Served? Storage? Deprecated? DeprecationWarning- Schema- Subresources- '
    "AdditionalPrinterColumns- SelectableFields-",
    "ValidationRule": 'Rule"" Message"" MessageExpression"" Reason- FieldPath"" OptionalOldSelf-',
}

_LOWER = {"StorageOS": "storageos", "CephFS": "cephfs", "WWIDs": "wwids"}
_PREFIXES = (
    "GCE", "AWS", "NFS", "RBD", "ISCSI", "CSI", "FC", "TTY", "CEL", "CIDR", "SELinux", "GMSA", "DNS", "API", "UID",
    "HTTP", "TCP", "TLS", "GRPC", "FS", "OS", "IP", "ID",
)  # fmt: skip


def go_object(layout: str, value: Mapping[str, Any] | None) -> Any:
    """The value in Go's form; None stays None. The result is private."""
    if value is None:
        return None
    return {name: _field(sort, value.get(key)) for name, key, sort in _fields(layout)}


def go_list(layout: str, values: Any) -> Any:
    """A list of such values; null when there are none."""
    return [go_object(layout, value) for value in values] if values else None


def go_selector(selector: Mapping[str, Any] | None) -> Any:
    """A label selector, whose type has JSON tags: labels are sorted, what is empty is left out."""
    if selector is None:
        return None
    shown: dict[str, Any] = {}
    if selector.get("matchLabels"):
        shown["matchLabels"] = dict(sorted(selector["matchLabels"].items()))
    if selector.get("matchExpressions"):
        shown["matchExpressions"] = [
            {"key": "", "operator": ""} | {key: each[key] for key in ("key", "operator", "values") if each.get(key)}
            for each in selector["matchExpressions"]
        ]
    return shown


def _field(sort: str, value: Any) -> Any:
    if sort.startswith("[]"):
        return go_list(sort[2:], value)
    if sort.startswith("*"):
        return go_object(sort[1:], value)
    if sort == "~":
        return go_selector(value)
    if sort in _ZEROS:
        if value is not None:
            return dict(sorted(value.items())) if isinstance(value, dict) else value
        return _ZEROS[sort]
    return go_object(sort, value or {})


_ZEROS: dict[str, Any] = {'""': "", "0": 0, "?": False, "-": None, "!": None, "~": None}


@cache
def _fields(layout: str) -> tuple[tuple[str, str, str], ...]:
    return tuple(_parse(text) for text in _LAYOUTS[layout].split())


def _parse(text: str) -> tuple[str, str, str]:
    for mark in ('""', "0", "?", "-", "!", "~"):
        if text.endswith(mark):
            name = text.removesuffix(mark)
            return name, json_name(name), mark
    for mark in ("[]", "*"):
        name, found, rest = text.partition(mark)
        if found:
            return name, json_name(name), mark + rest
    for known in sorted(_LAYOUTS, key=len, reverse=True):
        if text.endswith(known) and text != known:
            name = text.removesuffix(known)
            return name, json_name(name), known
    raise KeyError(text)


def go_diff(old: Any, new: Any) -> str:
    """Two values in Go's form as ``k8s.io/apimachinery/pkg/util/diff`` compares them: a unified diff of JSON."""
    before, after = (json.dumps(value, indent=1).splitlines() for value in (old, new))
    lines = list(difflib.unified_diff(before, after, lineterm=""))[2:]
    return "".join(f"{line}\n" for line in lines)


_POD_SECURITY = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")


def go_pod_template(template: Mapping[str, Any]) -> Any:
    """A pod template: tagged metadata without its name, then ``Spec`` in Go's form."""
    spec = dict(template.get("spec") or {})
    security = dict(spec.get("securityContext") or {})
    security.update({name: spec[name] for name in _POD_SECURITY if name in spec})
    if spec.get("securityContext") is not None:
        spec["securityContext"] = security
    meta = template.get("metadata") or {}
    shown = {key: dict(sorted(value.items())) if isinstance(value, dict) else value for key, value in meta.items()}
    return {**shown, "Spec": go_object("PodSpec", spec)}


def json_name(go_name: str) -> str:
    """The JSON name of a Go field: leading initialisms are lower-cased as a whole."""
    if go_name in _LOWER:
        return _LOWER[go_name]
    for prefix in _PREFIXES:
        if go_name.startswith(prefix):
            return prefix.lower() + go_name[len(prefix) :] if prefix != "SELinux" else "se" + go_name[2:]
    return go_name[:1].lower() + go_name[1:]
