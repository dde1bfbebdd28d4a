"""The parameters of a policy binding: which objects an expression sees as ``params``.

Follows ``policy/generic.CollectParams`` and its texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.client.types import Client
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object, key_of, labels_of
from minikube_py.machinery.resources import Resource
from minikube_py.machinery.selectors import Selector, selector_from_label_selector

NO_PARAMS: tuple[None, ...] = (None,)


class ConfigurationProblem(Exception):
    """A policy or binding that cannot be applied as it is configured; the text is Kubernetes'."""


@dataclass(frozen=True, slots=True)
class ParamKind:
    """The type of a policy's parameters."""

    api_version: str
    kind: str

    def find(self, kinds: Kinds) -> Kind:
        """The kind, if it is served. Raises ConfigurationProblem."""
        found = kinds.by_kind(self.api_version, self.kind)
        if found is None:
            group, _, version = self.api_version.rpartition("/")
            raise ConfigurationProblem(
                f"failed to find resource referenced by paramKind: '{group}/{version}, Kind={self.kind}'"
            )
        return found


@dataclass(frozen=True, slots=True)
class ParamReference:
    """Which objects of the kind a binding means: one by name, or all that a selector matches."""

    name: str
    namespace: str
    selector: Selector | None
    missing_denied: bool


def read_param_kind(raw: Mapping[str, Any] | None) -> ParamKind | None:
    return None if raw is None else ParamKind(str(raw.get("apiVersion") or ""), str(raw.get("kind") or ""))


def read_param_reference(raw: Mapping[str, Any] | None) -> ParamReference | None:
    if raw is None:
        return None
    selector = raw.get("selector")
    return ParamReference(
        str(raw.get("name") or ""),
        str(raw.get("namespace") or ""),
        None if selector is None else selector_from_label_selector(selector),
        raw.get("parameterNotFoundAction") == "Deny",
    )


async def collect_params(
    client: Client, kind: Kind | None, reference: ParamReference | None, namespace: str
) -> Sequence[Object | None]:
    """The parameters to evaluate with, one after the other; ``(None,)`` where the policy or binding has none.

    ``namespace`` is the request's. Raises ConfigurationProblem.
    """
    if kind is None or reference is None:
        return NO_PARAMS
    where = _namespace(kind, reference, namespace)
    found = await _find(client, kind.resource, reference, where)
    if not found and reference.missing_denied:
        raise ConfigurationProblem("no params found for policy binding with `Deny` parameterNotFoundAction")
    return found


def _namespace(kind: Kind, reference: ParamReference, namespace: str) -> str | None:
    if not kind.resource.namespaced:
        if reference.namespace:
            raise ConfigurationProblem("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        return None
    if not reference.namespace and not namespace:
        raise ConfigurationProblem(
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        )
    return reference.namespace or namespace


async def _find(
    client: Client, resource: Resource, reference: ParamReference, namespace: str | None
) -> Sequence[Object]:
    if reference.name:
        try:
            return [await client.get(resource, reference.name, namespace)]
        except ApiError as error:
            if is_not_found(error):
                return []
            raise ConfigurationProblem(error.message) from error
    selector = reference.selector
    if selector is None:
        return []
    informer = client.informer(resource)
    await informer.synced()
    found = [obj for obj in informer.list(namespace) if selector.matches(labels_of(obj))]
    return sorted(found, key=key_of)
