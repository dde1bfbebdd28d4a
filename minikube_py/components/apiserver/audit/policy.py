"""The audit policy: which level a request is audited at, and which stages of it are left out.

In: a Policy file of ``audit.k8s.io/v1``. Out: for (user, attributes) the decision of the first rule that matches;
no rule means level None. Same rules as ``k8s.io/apiserver/pkg/audit/policy``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from minikube_py.components.apiserver.configuration_file import Section, raise_errors, read_document
from minikube_py.components.apiserver.types import Attributes, UserInfo

VERSION = "audit.k8s.io/v1"
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")


class Level(IntEnum):
    """How much is written down; each level includes the ones before it."""

    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3


LEVEL_NAMES = {
    Level.NONE: "None",
    Level.METADATA: "Metadata",
    Level.REQUEST: "Request",
    Level.REQUEST_RESPONSE: "RequestResponse",
}
_LEVELS = {name: level for level, name in LEVEL_NAMES.items()}


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with one request."""

    level: Level
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False


@dataclass(frozen=True, slots=True)
class Resources:
    """``resources`` of one group; empty: all of them. ``names`` empty: whatever the object is called."""

    group: str
    resources: tuple[str, ...]
    names: frozenset[str]

    def matches(self, attributes: Attributes) -> bool:
        if self.group != attributes.group:
            return False
        if not self.resources:
            return True
        if self.names and attributes.name not in self.names:
            return False
        whole = f"{attributes.resource}/{attributes.subresource}" if attributes.subresource else attributes.resource
        return any(_resource_matches(pattern, whole, attributes) for pattern in self.resources)


def _resource_matches(pattern: str, whole: str, attributes: Attributes) -> bool:
    if pattern in (whole, "*"):
        return True
    if not attributes.subresource:
        return False
    return pattern in (f"*/{attributes.subresource}", f"{attributes.resource}/*")


@dataclass(frozen=True, slots=True)
class Rule:
    """Empty fields match everything."""

    decision: Decision
    users: frozenset[str]
    groups: frozenset[str]
    verbs: frozenset[str]
    resources: tuple[Resources, ...]
    namespaces: frozenset[str]
    paths: tuple[str, ...]

    def matches(self, user: UserInfo, attributes: Attributes) -> bool:
        if self.users and user.name not in self.users:
            return False
        if self.groups and self.groups.isdisjoint(user.groups):
            return False
        if self.verbs and attributes.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            return attributes.resource_request and self._resource(attributes)
        if self.paths:
            return not attributes.resource_request and any(_path_matches(p, attributes.path) for p in self.paths)
        return True

    def _resource(self, attributes: Attributes) -> bool:
        if self.namespaces and attributes.namespace not in self.namespaces:
            return False
        return not self.resources or any(found.matches(attributes) for found in self.resources)


@dataclass(frozen=True, slots=True)
class Policy:
    rules: tuple[Rule, ...]

    def decide(self, user: UserInfo, attributes: Attributes) -> Decision:
        for rule in self.rules:
            if rule.matches(user, attributes):
                return rule.decision
        return _NOTHING


_NOTHING = Decision(Level.NONE)


def _path_matches(pattern: str, path: str) -> bool:
    return pattern == "*" or pattern == path or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def read_policy(path: Path) -> Policy:
    """The policy of a file. Blocks. Raises ConfigurationError."""
    document = read_document(path, {(VERSION, "Policy"): "which requests are audited"})
    errors: list[str] = []
    top = Section(document, "", errors)
    omitted = _stages(top, "omitStages")
    omit_fields = top.flag("omitManagedFields")
    sections = top.sections("rules")
    rules = tuple(_rule(section, omitted, omit_fields) for section in sections)
    top.close()
    if not sections:
        errors.append("rules: at least one rule is needed; add '- level: Metadata' to audit everything")
    raise_errors(f"audit policy {path}", errors)
    return Policy(rules)


def _rule(section: Section, omitted: frozenset[str], omit_fields: bool) -> Rule:
    level = section.text("level")
    if level not in _LEVELS:
        section.errors.append(f"{section.at('level')}: must be one of {', '.join(_LEVELS)}")
    decision = Decision(
        _LEVELS.get(level, Level.NONE),
        omitted | _stages(section, "omitStages"),
        section.flag("omitManagedFields") if section.has("omitManagedFields") else omit_fields,
    )
    section.raw("omitManagedFields")
    rule = Rule(
        decision=decision,
        users=frozenset(section.texts("users")),
        groups=frozenset(section.texts("userGroups")),
        verbs=frozenset(section.texts("verbs")),
        resources=tuple(_resources(found) for found in section.sections("resources")),
        namespaces=frozenset(section.texts("namespaces")),
        paths=section.texts("nonResourceURLs"),
    )
    if rule.paths and (rule.resources or rule.namespaces):
        section.errors.append(f"{section.path}: rules cannot apply to both regular resources and non-resource URLs")
    section.errors.extend(
        f"{section.at('nonResourceURLs')}: {path!r} must start with / or be *, with at most one * at its end"
        for path in rule.paths
        if path != "*" and (not path.startswith("/") or "*" in path[:-1])
    )
    section.close()
    return rule


def _resources(section: Section) -> Resources:
    found = Resources(section.text("group"), section.texts("resources"), frozenset(section.texts("resourceNames")))
    if "/" in found.group:
        section.errors.append(f"{section.at('group')}: {found.group!r} must be a group without its version")
    if found.names and not found.resources:
        section.errors.append(f"{section.at('resourceNames')}: needs at least one resource in resources")
    section.close()
    return found


def _stages(section: Section, field: str) -> frozenset[str]:
    stages: Sequence[str] = section.texts(field)
    wrong = [stage for stage in stages if stage not in STAGES]
    if wrong:
        section.errors.append(f"{section.at(field)}: {wrong[0]!r} is not one of {', '.join(STAGES)}")
    return frozenset(stages)
