"""Which requests a webhook or an admission policy is about: rules, equivalents, selectors.

In: a ``Subject`` (one request as dynamic admission sees it) and the match part of a webhook or policy,
read once into ``Criteria``. Out: the ``Target`` under which the request matches (its own resource, or
another version of it where the match policy is Equivalent), or None. Rules follow
``k8s.io/apiserver/pkg/admission/plugin/webhook/predicates`` and ``policy/matching``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.components.apiserver.admission.subjects import Subject, Target
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import Operation
from minikube_py.machinery.errors import not_found
from minikube_py.machinery.objects import Object, labels_of
from minikube_py.machinery.selectors import Selector, selector_from_label_selector

CONFIGURATION_GROUP = "admissionregistration.k8s.io"
_CONFIGURATIONS = frozenset(
    {
        "mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
        "validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
    }
)  # fmt: skip
_REVIEWS = frozenset(
    {
        ("authentication.k8s.io", "selfsubjectreviews"), ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"), ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"), ("authorization.k8s.io", "subjectaccessreviews"),
    }
)  # fmt: skip


def configures_admission(subject: Subject) -> bool:
    """Whether the request is about the configuration of admission itself, which nothing intercepts.

    Otherwise a webhook that is down could not be removed.
    """
    target = subject.target
    return target.group == CONFIGURATION_GROUP and target.plural in _CONFIGURATIONS


def is_review(subject: Subject) -> bool:
    """Whether the request only asks who may do what; admission policies do not see those."""
    return (subject.target.group, subject.target.plural) in _REVIEWS


@dataclass(frozen=True, slots=True)
class Rule:
    """``RuleWithOperations``, with the resource names of admission policies (none: all)."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]
    """(resource, subresource)."""
    scope: str
    names: frozenset[str] = frozenset()

    def matches(self, subject: Subject, target: Target) -> bool:
        """Whether the request, seen as ``target``, is what the rule names."""
        return (
            _has(self.operations, subject.operation)
            and _has(self.groups, target.group)
            and _has(self.versions, target.version)
            and any(
                resource in ("*", target.plural) and sub in ("*", target.subresource)
                for resource, sub in self.resources
            )
            and self._in_scope(subject, target)
            and (not self.names or subject.name in self.names)
        )

    def _in_scope(self, subject: Subject, target: Target) -> bool:
        if self.scope not in ("Namespaced", "Cluster"):
            return True
        cluster = not subject.namespace or (target.plural == "namespaces" and not target.group)
        return cluster is (self.scope == "Cluster")


def _has(items: frozenset[str], value: str) -> bool:
    return value in items or "*" in items


def read_rule(raw: Mapping[str, Any]) -> Rule:
    """A rule of a stored, validated object."""
    resources = []
    for text in raw.get("resources") or ():
        resource, _, subresource = str(text).partition("/")
        resources.append((resource, subresource))
    return Rule(
        frozenset(raw.get("operations") or ()),
        frozenset(raw.get("apiGroups") or ()),
        frozenset(raw.get("apiVersions") or ()),
        tuple(resources),
        str(raw.get("scope") or "*"),
        frozenset(raw.get("resourceNames") or ()),
    )


@dataclass(frozen=True, slots=True)
class Criteria:
    """The match part of a webhook, a policy (``matchConstraints``) or a binding (``matchResources``)."""

    rules: tuple[Rule, ...]
    excluded: tuple[Rule, ...]
    equivalent: bool
    namespaces: Selector
    objects: Selector
    any_resource: bool
    """Without rules everything matches; a webhook without rules matches nothing."""


def read_criteria(raw: Mapping[str, Any], *, rules: str, any_resource: bool) -> Criteria:
    """The criteria of a stored, validated object; ``rules`` names the field with the rules."""
    return Criteria(
        tuple(read_rule(rule) for rule in raw.get(rules) or ()),
        tuple(read_rule(rule) for rule in raw.get("excludeResourceRules") or ()),
        (raw.get("matchPolicy") or "Equivalent") == "Equivalent",
        selector_from_label_selector(raw.get("namespaceSelector") or {}),
        selector_from_label_selector(raw.get("objectSelector") or {}),
        any_resource,
    )


async def match(subject: Subject, criteria: Criteria, namespaces: Lookup) -> Target | None:
    """What the request matches as, None when it does not.

    Raises ApiError(404) when a matching request's namespace, which a selector asks about, does not exist, and
    ApiError(500) when the object cannot be had in the version of the match.
    """
    target = match_rules(subject, criteria)
    if target is None or not _object_selected(subject, criteria.objects):
        return None
    if not await _namespace_selected(subject, criteria.namespaces, namespaces):
        return None
    await subject.prepare(target)
    return target


def match_rules(subject: Subject, criteria: Criteria) -> Target | None:
    """The part of ``match`` that only looks at what is asked for."""
    if criteria.excluded and _first(subject, criteria.excluded, criteria.equivalent) is not None:
        return None
    if not criteria.rules and criteria.any_resource:
        return subject.target
    return _first(subject, criteria.rules, criteria.equivalent)


def _first(subject: Subject, rules: Sequence[Rule], equivalent: bool) -> Target | None:
    if any(rule.matches(subject, subject.target) for rule in rules):
        return subject.target
    if not equivalent:
        return None
    others = subject.equivalents
    return next((other for rule in rules for other in others if rule.matches(subject, other)), None)


def _object_selected(subject: Subject, selector: Selector) -> bool:
    """Whether the new or the old object has the labels; objects without metadata have none to match."""
    if selector.empty:
        return True
    return any(
        isinstance(obj, dict) and "metadata" in obj and selector.matches(labels_of(obj))
        for obj in (subject.object, subject.old)
    )


async def _namespace_selected(subject: Subject, selector: Selector, namespaces: Lookup) -> bool:
    about_namespace = subject.target.plural == "namespaces" and not subject.target.group
    if selector.empty or (not subject.namespace and not about_namespace):
        return True
    changed = subject.operation in (Operation.CREATE, Operation.UPDATE)
    if about_namespace and changed and not subject.target.subresource and subject.object is not None:
        return selector.matches(labels_of(subject.object))
    return selector.matches(labels_of(await namespace_object(subject.namespace, namespaces)))


async def namespace_object(name: str, namespaces: Lookup) -> Object:
    """The namespace of a request. Raises ApiError(404)."""
    found = await namespaces.get(name)
    if found is None:
        raise not_found("", "namespaces", name)
    return found
