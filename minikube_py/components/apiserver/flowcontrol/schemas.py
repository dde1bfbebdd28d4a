"""FlowSchemas compiled for matching: pure functions of (user, attributes).

In: FlowSchema objects. Out: the first schema by (matchingPrecedence, name) whose rules match, and the text that
tells its flows apart. Same rules as ``flowcontrol/rule.go``: a rule needs one of its subjects and one of its
resource or non-resource rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.components.apiserver.authentication.identity import service_account_user_name
from minikube_py.components.apiserver.types import Attributes, UserInfo
from minikube_py.machinery.objects import Object, name_of

ALL = "*"
_ACCOUNT_PREFIX = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class ResourceRule:
    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    namespaces: frozenset[str]
    cluster_scope: bool

    def matches(self, attributes: Attributes) -> bool:
        resource = attributes.resource
        if attributes.subresource:
            resource = f"{resource}/{attributes.subresource}"
        return (
            _has(self.verbs, attributes.verb)
            and _has(self.groups, attributes.group)
            and _has(self.resources, resource)
            and (_has(self.namespaces, attributes.namespace) if attributes.namespace else self.cluster_scope)
        )


@dataclass(frozen=True, slots=True)
class PathRule:
    verbs: frozenset[str]
    paths: tuple[str, ...]

    def matches(self, attributes: Attributes) -> bool:
        return _has(self.verbs, attributes.verb) and any(_path_matches(path, attributes.path) for path in self.paths)


@dataclass(frozen=True, slots=True)
class Rule:
    """``users`` holds whole names, ``namespaces`` those of which every service account is meant."""

    users: frozenset[str]
    groups: frozenset[str]
    namespaces: frozenset[str]
    resources: tuple[ResourceRule, ...]
    paths: tuple[PathRule, ...]

    def matches(self, user: UserInfo, attributes: Attributes) -> bool:
        if not self._subject(user):
            return False
        if attributes.resource_request:
            return any(rule.matches(attributes) for rule in self.resources)
        return any(rule.matches(attributes) for rule in self.paths)

    def _subject(self, user: UserInfo) -> bool:
        if _has(self.users, user.name) or ALL in self.groups or not self.groups.isdisjoint(user.groups):
            return True
        if self.namespaces and user.name.startswith(_ACCOUNT_PREFIX):
            return user.name.removeprefix(_ACCOUNT_PREFIX).partition(":")[0] in self.namespaces
        return False


@dataclass(frozen=True, slots=True)
class Schema:
    """One FlowSchema. ``distinguisher`` is ByUser, ByNamespace or empty: one flow for all."""

    name: str
    uid: str
    precedence: int
    level: str
    distinguisher: str
    rules: tuple[Rule, ...]

    def matches(self, user: UserInfo, attributes: Attributes) -> bool:
        return any(rule.matches(user, attributes) for rule in self.rules)

    def flow(self, user: UserInfo, attributes: Attributes) -> str:
        """What tells this request's flow from the schema's other flows."""
        if self.distinguisher == "ByUser":
            return user.name
        return attributes.namespace if self.distinguisher == "ByNamespace" else ""


def compile_schema(obj: Object) -> Schema:
    """A FlowSchema object in the form that is matched."""
    spec: Mapping[str, Any] = obj.get("spec") or {}
    return Schema(
        name=name_of(obj),
        uid=obj["metadata"].get("uid", ""),
        precedence=spec.get("matchingPrecedence", 1000),
        level=(spec.get("priorityLevelConfiguration") or {}).get("name", ""),
        distinguisher=(spec.get("distinguisherMethod") or {}).get("type", ""),
        rules=tuple(_rule(rule) for rule in spec.get("rules") or ()),
    )


def in_order(schemas: Iterable[Schema]) -> tuple[Schema, ...]:
    """The order in which schemas are tried: by precedence, then by name."""
    return tuple(sorted(schemas, key=lambda schema: (schema.precedence, schema.name)))


def _rule(rule: Mapping[str, Any]) -> Rule:
    users: set[str] = set()
    groups: set[str] = set()
    namespaces: set[str] = set()
    for subject in rule.get("subjects") or ():
        if subject.get("kind") == "User":
            users.add(subject["user"]["name"])
        elif subject.get("kind") == "Group":
            groups.add(subject["group"]["name"])
        elif subject.get("kind") == "ServiceAccount":
            namespace, name = subject["serviceAccount"]["namespace"], subject["serviceAccount"]["name"]
            if name == ALL:
                namespaces.add(namespace)
            else:
                users.add(service_account_user_name(namespace, name))
    return Rule(
        users=frozenset(users),
        groups=frozenset(groups),
        namespaces=frozenset(namespaces),
        resources=tuple(_resource_rule(entry) for entry in rule.get("resourceRules") or ()),
        paths=tuple(
            PathRule(frozenset(entry.get("verbs") or ()), tuple(entry.get("nonResourceURLs") or ()))
            for entry in rule.get("nonResourceRules") or ()
        ),
    )


def _resource_rule(entry: Mapping[str, Any]) -> ResourceRule:
    def texts(field: str) -> frozenset[str]:
        found: Sequence[str] = entry.get(field) or ()
        return frozenset(found)

    return ResourceRule(
        verbs=texts("verbs"),
        groups=texts("apiGroups"),
        resources=texts("resources"),
        namespaces=texts("namespaces"),
        cluster_scope=bool(entry.get("clusterScope")),
    )


def _has(allowed: frozenset[str], value: str) -> bool:
    return value in allowed or ALL in allowed


def _path_matches(pattern: str, path: str) -> bool:
    if pattern.endswith(ALL):
        return path.startswith(pattern[:-1])
    return pattern == path
