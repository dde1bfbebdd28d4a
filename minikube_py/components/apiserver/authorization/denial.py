"""The error that a refused request gets (``responsewriters.Forbidden``)."""

from __future__ import annotations

from minikube_py.components.apiserver.types import Attributes, UserInfo
from minikube_py.machinery.errors import ApiError, forbidden, go_quote

_NO_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""Nothing that a browser might take for a page comes back from a path or a user's name."""


def denied(user: UserInfo, attributes: Attributes, reason: str = "") -> ApiError:
    """403 with Kubernetes' sentence; the authorizer's reason follows after a colon."""
    sentence = describe(user, attributes).translate(_NO_HTML)
    why = f"{sentence}: {reason}" if reason else sentence
    if not attributes.resource_request:
        return forbidden("", "", "", why)
    return forbidden(attributes.group, attributes.resource, attributes.name, why)


def describe(user: UserInfo, attributes: Attributes) -> str:
    """``User "x" cannot list resource "pods" in API group "" in the namespace "y"``."""
    who = go_quote(user.name)
    if not attributes.resource_request:
        return f"User {who} cannot {attributes.verb} path {go_quote(attributes.path)}"
    resource = attributes.resource
    if attributes.subresource:
        resource = f"{resource}/{attributes.subresource}"
    where = f"in the namespace {go_quote(attributes.namespace)}" if attributes.namespace else "at the cluster scope"
    return (
        f"User {who} cannot {attributes.verb} resource {go_quote(resource)} "
        f"in API group {go_quote(attributes.group)} {where}"
    )
