"""Policy rules: what one allows, and whether a set of rules covers another.

Pure functions over ``PolicyRule`` objects compiled to records. Same rules as
``pkg/apis/rbac/v1/evaluation_helpers.go`` and ``component-helpers/auth/rbac/validation``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.components.apiserver.types import Attributes
from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.objects import Object

ALL = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """A PolicyRule; the order of its lists is kept for messages and reviews."""

    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


FULL_AUTHORITY = (Rule((ALL,), (ALL,), (ALL,)), Rule((ALL,), urls=(ALL,)))


def compile_rules(rules: Iterable[Mapping[str, Any]] | None) -> tuple[Rule, ...]:
    """The records of an object's ``rules``."""
    return tuple(
        Rule(
            tuple(rule.get("verbs") or ()),
            tuple(rule.get("apiGroups") or ()),
            tuple(rule.get("resources") or ()),
            tuple(rule.get("resourceNames") or ()),
            tuple(rule.get("nonResourceURLs") or ()),
        )
        for rule in rules or ()
    )


def rule_object(rule: Rule) -> Object:
    """The rule in wire form, without empty lists."""
    fields = (
        ("verbs", rule.verbs),
        ("apiGroups", rule.groups),
        ("resources", rule.resources),
        ("resourceNames", rule.names),
        ("nonResourceURLs", rule.urls),
    )
    return {key: list(values) for key, values in fields if values}


def rule_allows(rule: Rule, attributes: Attributes) -> bool:
    """Whether the rule permits the request."""
    verbs = rule.verbs
    if attributes.verb not in verbs and ALL not in verbs:
        return False
    if not attributes.resource_request:
        return any(url_matches(url, attributes.path) for url in rule.urls)
    if attributes.group not in rule.groups and ALL not in rule.groups:
        return False
    if rule.names and attributes.name not in rule.names:
        return False
    return _resource_matches(rule.resources, attributes.resource, attributes.subresource)


def _resource_matches(resources: Sequence[str], resource: str, subresource: str) -> bool:
    if ALL in resources:
        return True
    if not subresource:
        return resource in resources
    return f"{resource}/{subresource}" in resources or f"*/{subresource}" in resources


def url_matches(pattern: str, path: str) -> bool:
    if pattern in (ALL, path):
        return True
    return pattern.endswith(ALL) and path.startswith(pattern.rstrip(ALL))


def uncovered(owned: Sequence[Rule], wanted: Sequence[Rule]) -> list[Rule]:
    """The elementary rules of ``wanted`` that no owned rule covers."""
    return [part for rule in wanted for part in break_down(rule) if not any(_covers(owner, part) for owner in owned)]


def break_down(rule: Rule) -> list[Rule]:
    """The rule as rules with one verb, group, resource and name (or one verb and URL) each."""
    parts = [
        Rule((verb,), (group,), (resource,), (name,) if name else ())
        for group in rule.groups
        for resource in rule.resources
        for verb in rule.verbs
        for name in rule.names or ("",)
    ]
    parts += [Rule((verb,), urls=(url,)) for url in rule.urls for verb in rule.verbs]
    return parts


def _covers(owner: Rule, part: Rule) -> bool:
    if ALL not in owner.verbs and part.verbs[0] not in owner.verbs:
        return False
    if part.urls:
        return any(url_matches(url, part.urls[0]) for url in owner.urls)
    if ALL not in owner.groups and part.groups[0] not in owner.groups:
        return False
    if owner.names and (not part.names or part.names[0] not in owner.names):
        return False
    resource = part.resources[0]
    if ALL in owner.resources or resource in owner.resources:
        return True
    _, slash, subresource = resource.partition("/")
    return bool(slash) and f"*/{subresource}" in owner.resources


def compact(rules: Sequence[Rule]) -> list[Rule]:
    """Merge the verbs of rules that differ in nothing else (``validation.CompactRules``)."""
    merged: dict[tuple[tuple[str, ...], ...], Rule] = {}
    key: tuple[tuple[str, ...], ...]
    for rule in rules:
        key = (rule.groups, rule.resources, rule.names, rule.urls)
        simple = len(rule.groups) == 1 and len(rule.resources) == 1 and len(rule.names) <= 1 and not rule.urls
        if not simple:
            key = (*key, rule.verbs)
        found = merged.get(key)
        verbs = tuple(dict.fromkeys((*(found.verbs if found else ()), *rule.verbs)))
        merged[key] = Rule(verbs, rule.groups, rule.resources, rule.names, rule.urls)
    return list(merged.values())


def rule_text(rule: Rule) -> str:
    """``{APIGroups:[""], Resources:["pods"], Verbs:["get"]}``, as refusals of escalation list it."""
    fields = (
        ("APIGroups", rule.groups),
        ("Resources", rule.resources),
        ("NonResourceURLs", rule.urls),
        ("ResourceNames", rule.names),
        ("Verbs", rule.verbs),
    )
    return "{" + ", ".join(f"{name}:{quoted_list(values)}" for name, values in fields if values) + "}"


def quoted_list(values: Iterable[str]) -> str:
    """A list as Go's ``%q`` prints it: ``["a" "b"]``."""
    return "[" + " ".join(go_quote(value) for value in values) + "]"
