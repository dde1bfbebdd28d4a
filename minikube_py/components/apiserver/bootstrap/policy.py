"""The bootstrap policy of Kubernetes v1.36 as objects, from the compact text form of ``policy.json``.

The file names every object once and says rules as sentences::

    "get,list,watch on pods,pods/log in core named a,b"      a resource rule (core: the empty API group)
    "get at /healthz,/version/*"                             a rule for URLs
    "ServiceAccount kube-system/job-controller"              a subject

Everything else about the objects (labels, annotations, kinds) follows from the section they stand in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import orjson

from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    PRIORITY_CLASSES,
    ROLE_BINDINGS,
    ROLES,
    Resource,
)

RBAC = "rbac.authorization.k8s.io"
FLOW_CONTROL = "flowcontrol.apiserver.k8s.io"
FLOW_SCHEMAS = Resource(FLOW_CONTROL, "v1", "flowschemas", "FlowSchema", namespaced=False)
PRIORITY_LEVELS = Resource(
    FLOW_CONTROL, "v1", "prioritylevelconfigurations", "PriorityLevelConfiguration", namespaced=False
)
RBAC_AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
FLOW_AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
_MANDATORY = ("exempt", "catch-all")
_BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}


@dataclass(frozen=True, slots=True)
class Section:
    """The wanted objects of one resource."""

    resource: Resource
    objects: tuple[Object, ...]


@cache
def bootstrap_sections() -> tuple[Section, ...]:
    """All wanted objects; namespaces come first. Shared: do not change them."""
    policy = orjson.loads(resources.files(__package__).joinpath("policy.json").read_bytes())
    return (
        Section(NAMESPACES, tuple(_namespace(name) for name in policy["namespaces"])),
        _section(CLUSTER_ROLES, policy["clusterRoles"], _role),
        _section(CLUSTER_ROLE_BINDINGS, policy["clusterRoleBindings"], _binding),
        _section(ROLES, policy["roles"], _role),
        _section(ROLE_BINDINGS, policy["roleBindings"], _binding),
        _section(PRIORITY_CLASSES, policy["priorityClasses"], lambda entry: ({}, dict(entry))),
        _section(PRIORITY_LEVELS, policy["priorityLevelConfigurations"], _flow_control),
        _section(FLOW_SCHEMAS, policy["flowSchemas"], _flow_control),
    )


@cache
def cluster_role_rules(name: str) -> tuple[Object, ...]:
    """The rules of a bootstrap ClusterRole."""
    section = next(section for section in bootstrap_sections() if section.resource is CLUSTER_ROLES)
    return tuple(next(obj for obj in section.objects if obj["metadata"]["name"] == name)["rules"])


def mandatory_flow_control() -> Mapping[Resource, tuple[Object, ...]]:
    """The flow control objects that hold even where the store lacks them: ``exempt`` and ``catch-all``."""
    return {
        section.resource: tuple(obj for obj in section.objects if obj["metadata"]["name"] in _MANDATORY)
        for section in bootstrap_sections()
        if section.resource in (PRIORITY_LEVELS, FLOW_SCHEMAS)
    }


def _section(resource: Resource, entries: Mapping[str, Any], build: Any) -> Section:
    objects = []
    for key, entry in entries.items():
        namespace, _, name = key.rpartition("/") if resource.namespaced else ("", "", key)
        extra_metadata, fields = build(entry)
        metadata: Object = {"name": name, **({"namespace": namespace} if namespace else {}), **extra_metadata}
        objects.append({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **fields})
    return Section(resource, tuple(objects))


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _role(entry: Mapping[str, Any]) -> tuple[Object, Object]:
    labels = {**_BOOTSTRAPPING, **{f"{RBAC}/{label}": "true" for label in entry.get("labels", ())}}
    fields: Object = {}
    if entry.get("aggregates"):
        selectors = [{"matchLabels": {f"{RBAC}/{label}": "true"}} for label in entry["aggregates"]]
        fields["aggregationRule"] = {"clusterRoleSelectors": selectors}
    fields["rules"] = [parse_rule(sentence) for sentence in entry["rules"]]
    return {"annotations": {RBAC_AUTOUPDATE: "true"}, "labels": labels}, fields


def _binding(entry: Mapping[str, Any]) -> tuple[Object, Object]:
    kind, _, name = entry["role"].partition(" ")
    fields: Object = {"roleRef": {"apiGroup": RBAC, "kind": kind, "name": name}}
    if entry["subjects"]:
        fields["subjects"] = [parse_subject(text) for text in entry["subjects"]]
    return {"annotations": {RBAC_AUTOUPDATE: "true"}, "labels": dict(_BOOTSTRAPPING)}, fields


def _flow_control(spec: Mapping[str, Any]) -> tuple[Object, Object]:
    return {"annotations": {FLOW_AUTOUPDATE: "true"}}, {"spec": spec}


def parse_rule(sentence: str) -> Object:
    """A PolicyRule from its sentence (see the module text)."""
    words = sentence.split(" ")
    verbs = words[0].split(",")
    if words[1] == "at":
        return {"nonResourceURLs": words[2].split(","), "verbs": verbs}
    rule: Object = {
        "apiGroups": ["" if group == "core" else group for group in words[4].split(",")],
        "resources": words[2].split(","),
        "verbs": verbs,
    }
    if len(words) > 5:
        rule["resourceNames"] = words[6].split(",")
    return rule


def parse_subject(text: str) -> Object:
    """A subject of a binding from its text."""
    kind, _, name = text.partition(" ")
    if kind == "ServiceAccount":
        namespace, _, account = name.partition("/")
        return {"kind": kind, "name": account, "namespace": namespace}
    return {"apiGroup": RBAC, "kind": kind, "name": name}
