"""SubjectAccessReview and its relatives: questions to the authorizers, answered and never stored.

Handlers follow the protocol of virtual resources (see ``authentication.reviews``). Same rules and texts
as ``pkg/registry/authorization``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from minikube_py.components.apiserver.authorization.rbac import aggregate
from minikube_py.components.apiserver.authorization.rules import Rule, rule_object
from minikube_py.components.apiserver.authorization.selectors import field_selector_text, label_selector_text
from minikube_py.components.apiserver.authorization.union import AuthorizerError
from minikube_py.components.apiserver.registry.metadata import place
from minikube_py.components.apiserver.types import (
    Attributes,
    Authorizer,
    Decision,
    RequestContext,
    UserInfo,
)
from minikube_py.machinery.errors import ApiError, FieldError, bad_request, invalid
from minikube_py.machinery.field_selectors import parse_field_selector
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.authorization.reviews import validate_local, validate_self, validate_subject
from minikube_py.machinery.objects import Object
from minikube_py.machinery.selectors import parse_label_selector

GROUP = "authorization.k8s.io"


class RuleResolver(Protocol):
    """Lists the rules that hold for a user, what went wrong, and whether more may be allowed."""

    async def rules_for(self, user: UserInfo, namespace: str) -> tuple[list[Rule], list[str], bool]: ...


@dataclass(frozen=True, slots=True)
class SubjectAccessReviewHandler:
    """``create subjectaccessreviews``: may this user do that?"""

    authorizer: Authorizer

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        return await _answer(self.authorizer, _reviewed_user(body), body, validate_subject(body))


@dataclass(frozen=True, slots=True)
class LocalSubjectAccessReviewHandler:
    """``create localsubjectaccessreviews``: the same within one namespace."""

    authorizer: Authorizer

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        place(body.setdefault("metadata", {}), namespace)
        return await _answer(self.authorizer, _reviewed_user(body), body, validate_local(body))


@dataclass(frozen=True, slots=True)
class SelfSubjectAccessReviewHandler:
    """``create selfsubjectaccessreviews``: may I do that?"""

    authorizer: Authorizer

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        return await _answer(self.authorizer, ctx.user, body, validate_self(body))


@dataclass(frozen=True, slots=True)
class SelfSubjectRulesReviewHandler:
    """``create selfsubjectrulesreviews``: what may I do in this namespace?"""

    resolver: RuleResolver

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        asked = (body.get("spec") or {}).get("namespace") or ""
        if not asked:
            raise bad_request("no namespace on request")
        rules, errors, incomplete = await self.resolver.rules_for(ctx.user, asked)
        resource_rules = [Rule(rule.verbs, rule.groups, rule.resources, rule.names) for rule in rules if rule.resources]
        url_rules = [Rule(rule.verbs, urls=rule.urls) for rule in rules if rule.urls]
        status: Object = {
            "resourceRules": [rule_object(rule) for rule in resource_rules],
            "nonResourceRules": [rule_object(rule) for rule in url_rules],
            "incomplete": incomplete,
        }
        if errors:
            status["evaluationError"] = aggregate(errors)
        return {
            "kind": "SelfSubjectRulesReview",
            "apiVersion": kind.resource.api_version,
            "metadata": {},
            "spec": {},
            "status": status,
        }


async def _answer(authorizer: Authorizer, user: UserInfo, body: Object, errors: list[FieldError]) -> Object:
    if errors:
        raise invalid(GROUP, "", "", errors)
    failure = ""
    try:
        decision, reason = await authorizer.authorize(user, attributes_of(body.get("spec") or {}))
    except AuthorizerError as error:
        decision, reason, failure = error.decision, "", error.why
    failures = [failure] if failure else []
    failures += selector_problems((body.get("spec") or {}).get("resourceAttributes") or {})
    status: Object = {"allowed": decision is Decision.ALLOW}
    if decision is Decision.DENY:
        status["denied"] = True
    if reason:
        status["reason"] = reason
    if failures:
        status["evaluationError"] = "; ".join(failures)
    return {**body, "status": status}


def _reviewed_user(body: Object) -> UserInfo:
    spec = body.get("spec") or {}
    extra = {str(key).lower(): tuple(values or ()) for key, values in (spec.get("extra") or {}).items()}
    return UserInfo(spec.get("user") or "", tuple(spec.get("groups") or ()), spec.get("uid") or "", extra)


def attributes_of(spec: Mapping[str, Any]) -> Attributes:
    """The request that a review's spec describes."""
    other = spec.get("nonResourceAttributes")
    if other is not None:
        return Attributes(verb=other.get("verb") or "", path=other.get("path") or "")
    resource = spec.get("resourceAttributes") or {}
    return Attributes(
        verb=resource.get("verb") or "",
        path="",
        resource_request=True,
        group=resource.get("group") or "",
        version=resource.get("version") or "*",
        resource=resource.get("resource") or "",
        subresource=resource.get("subresource") or "",
        namespace=resource.get("namespace") or "",
        name=resource.get("name") or "",
        label_selector=_selector_text(resource.get("labelSelector"), label_selector_text),
        field_selector=_selector_text(resource.get("fieldSelector"), field_selector_text),
    )


def _selector_text(selector: Mapping[str, Any] | None, text_of: Callable[[Sequence[Mapping[str, Any]]], str]) -> str:
    """A selector of a review as text.

    A raw selector that cannot be read, and requirements that the text form cannot say, are left out,
    which asks for more than was meant and so never allows too much.
    """
    if not selector:
        return ""
    return str(selector["rawSelector"]) if selector.get("rawSelector") else text_of(selector.get("requirements") or ())


def selector_problems(resource: Mapping[str, Any]) -> list[str]:
    """That selectors of a review do not count, or not all of them (``BuildEvaluationError``)."""
    found: list[str] = []
    for field, text_of, parse in (
        ("fieldSelector", field_selector_text, parse_field_selector),
        ("labelSelector", label_selector_text, parse_label_selector),
    ):
        selector = resource.get(field) or {}
        raw, requirements = selector.get("rawSelector"), selector.get("requirements") or ()
        if raw:
            understood, asked = int(_parses(parse, str(raw))), 1
        else:
            understood, asked = sum(1 for item in requirements if text_of([item])), len(requirements)
        if understood < asked:
            how = "partially ignored" if understood else "ignored"
            found.append(f"spec.resourceAttributes.{field} {how} due to parse error")
    return found


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ApiError:
        return False
    return True
