"""SubjectAccessReview and its relatives: questions to the authorizers, answered and never stored.

Handlers follow the protocol of virtual resources (see ``authentication.reviews``). Same rules and texts
as ``pkg/registry/authorization``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from minikube_py.components.apiserver.authorization.rules import Rule, rule_object
from minikube_py.components.apiserver.authorization.selectors import field_selector_text, label_selector_text
from minikube_py.components.apiserver.authorization.union import AuthorizerError
from minikube_py.components.apiserver.types import (
    Attributes,
    Authorizer,
    Decision,
    RequestContext,
    UserInfo,
)
from minikube_py.machinery.errors import FieldError, bad_request, forbidden_field, invalid, invalid_value, required
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object, metadata

GROUP = "authorization.k8s.io"


class RuleResolver(Protocol):
    """Lists the rules that hold for a user."""

    async def rules_for(self, user: UserInfo, namespace: str) -> tuple[list[Rule], list[str]]: ...


@dataclass(frozen=True, slots=True)
class SubjectAccessReviewHandler:
    """``create subjectaccessreviews``: may this user do that?"""

    authorizer: Authorizer

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        errors = _spec_errors(body.get("spec") or {}, with_user=True)
        errors += _metadata_errors(body, {})
        return await _answer(self.authorizer, _reviewed_user(body), body, errors)


@dataclass(frozen=True, slots=True)
class LocalSubjectAccessReviewHandler:
    """``create localsubjectaccessreviews``: the same within one namespace."""

    authorizer: Authorizer

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        spec = body.get("spec") or {}
        errors = _spec_errors(spec, with_user=True)
        errors += _metadata_errors(body, {"namespace": namespace})
        resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if resource is not None and (resource.get("namespace") or "") != namespace:
            why = "must match metadata.namespace"
            errors.append(invalid_value("spec.resourceAttributes.namespace", resource.get("namespace") or "", why))
        if other is not None:
            why = "disallowed on this kind of request"
            errors.append(invalid_value("spec.nonResourceAttributes", _internal(other), why))
        return await _answer(self.authorizer, _reviewed_user(body), body, errors)


@dataclass(frozen=True, slots=True)
class SelfSubjectAccessReviewHandler:
    """``create selfsubjectaccessreviews``: may I do that?"""

    authorizer: Authorizer

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        errors = _spec_errors(body.get("spec") or {}, with_user=False)
        errors += _metadata_errors(body, {})
        return await _answer(self.authorizer, ctx.user, body, errors)


@dataclass(frozen=True, slots=True)
class SelfSubjectRulesReviewHandler:
    """``create selfsubjectrulesreviews``: what may I do in this namespace?"""

    resolver: RuleResolver

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        asked = (body.get("spec") or {}).get("namespace") or ""
        if not asked:
            raise bad_request("no namespace on request")
        rules, errors = await self.resolver.rules_for(ctx.user, asked)
        resource_rules = [Rule(rule.verbs, rule.groups, rule.resources, rule.names) for rule in rules if rule.resources]
        url_rules = [Rule(rule.verbs, urls=rule.urls) for rule in rules if rule.urls]
        status: Object = {
            "resourceRules": [rule_object(rule) for rule in resource_rules],
            "nonResourceRules": [rule_object(rule) for rule in url_rules],
            "incomplete": bool(errors),
        }
        if errors:
            status["evaluationError"] = ", ".join(errors)
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
    status: Object = {"allowed": decision is Decision.ALLOW}
    if decision is Decision.DENY:
        status["denied"] = True
    if reason:
        status["reason"] = reason
    if failure:
        status["evaluationError"] = failure
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


def _spec_errors(spec: Mapping[str, Any], *, with_user: bool) -> list[FieldError]:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    errors: list[FieldError] = []
    if resource is not None and other is not None:
        why = "cannot be specified in combination with resourceAttributes"
        errors.append(invalid_value("spec.nonResourceAttributes", _internal(other), why))
    if resource is None and other is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        errors.append(invalid_value("spec.resourceAttributes", None, why))
    if with_user and not spec.get("user") and not spec.get("groups"):
        errors.append(invalid_value("spec.user", "", "at least one of user or group must be specified"))
    for field in ("fieldSelector", "labelSelector"):
        errors += _selector_errors((resource or {}).get(field), f"spec.resourceAttributes.{field}")
    return errors


def _selector_errors(selector: Mapping[str, Any] | None, path: str) -> list[FieldError]:
    if selector is None:
        return []
    raw, requirements = selector.get("rawSelector"), selector.get("requirements")
    if raw and requirements:
        return [invalid_value(f"{path}.rawSelector", raw, "may not specified at the same time as requirements")]
    if not raw and not requirements:
        why = f"when {path} is specified, requirements or rawSelector is required"
        return [required(f"{path}.requirements", why)]
    errors: list[FieldError] = []
    for index, item in enumerate(requirements or ()):
        errors += _requirement_errors(item, f"{path}.requirements[{index}]")
    return errors


def _requirement_errors(item: Mapping[str, Any], path: str) -> list[FieldError]:
    """Operators that this version does not know are let through: newer clients may send them."""
    errors: list[FieldError] = []
    operator, values = item.get("operator"), item.get("values")
    if operator in ("In", "NotIn") and not values:
        errors.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    if operator in ("Exists", "DoesNotExist") and values:
        why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        errors.append(forbidden_field(f"{path}.values", why))
    if not item.get("key"):
        errors.append(required(f"{path}.key", "must be specified"))
    return errors


def _internal(attributes: Mapping[str, Any]) -> Object:
    """Non-resource attributes as the internal type prints: with Go's field names."""
    return {"Path": attributes.get("path") or "", "Verb": attributes.get("verb") or ""}


def _metadata_errors(body: Object, allowed: Mapping[str, str]) -> list[FieldError]:
    """Reviews carry no metadata (managed fields and what the server fills in apart)."""
    filled = ("managedFields", "creationTimestamp")
    given = {key: value for key, value in metadata(body).items() if value and key not in filled}
    if all(allowed.get(key) == value for key, value in given.items()):
        return []
    why = "must be empty except for namespace" if allowed else "must be empty"
    return [invalid_value("metadata", given, why)]
