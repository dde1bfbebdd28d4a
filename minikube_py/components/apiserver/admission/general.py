"""Plugins that look at no kind in particular: AlwaysDeny, NamespaceExists, NamespaceAutoProvision and
OwnerReferencesPermissionEnforcement. None of them is on by default.

Same rules and texts as ``plugin/pkg/admission/deny``, ``namespace/exists``, ``namespace/autoprovision`` and ``gc``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.client.types import Client
from minikube_py.components.apiserver.admission.refusal import refuse
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import ADMIT, VALIDATE
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.components.apiserver.types import AdmissionRequest, Attributes, Authorizer, Decision, Operation
from minikube_py.machinery.errors import ApiError, go_quote, is_already_exists, not_found
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import metadata
from minikube_py.machinery.resources import NAMESPACES

_WRITES = (Operation.CREATE, Operation.UPDATE)


class AlwaysDeny:
    """Lets nothing be changed."""

    name = "AlwaysDeny"

    def handles(self, request: AdmissionRequest) -> bool:
        return True

    async def admit(self, request: AdmissionRequest) -> None:
        raise refuse(request, "admission control is denying all modifications")

    async def validate(self, request: AdmissionRequest) -> None:
        raise refuse(request, "admission control is denying all modifications")


class NamespaceExists:
    """What is written is written into a namespace that exists."""

    name = "NamespaceExists"
    phases = (VALIDATE,)

    def __init__(self, namespaces: Lookup) -> None:
        self._namespaces = namespaces

    def handles(self, request: AdmissionRequest) -> bool:
        return request.operation is not Operation.CONNECT and _is_within_namespace(request)

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to change."""

    async def validate(self, request: AdmissionRequest) -> None:
        if await self._namespaces.get(request.namespace) is None:
            raise not_found(NAMESPACES.group, NAMESPACES.plural, request.namespace)


class NamespaceAutoProvision:
    """Makes the namespace of what is created where there is none."""

    name = "NamespaceAutoProvision"
    phases = (ADMIT,)

    def __init__(self, client: Client, namespaces: Lookup) -> None:
        self._client = client
        self._namespaces = namespaces

    def handles(self, request: AdmissionRequest) -> bool:
        return request.operation is Operation.CREATE and not request.dry_run and _is_within_namespace(request)

    async def admit(self, request: AdmissionRequest) -> None:
        if await self._namespaces.get(request.namespace) is not None:
            return
        try:
            await self._client.create(NAMESPACES, {"metadata": {"name": request.namespace}})
        except ApiError as error:
            if not is_already_exists(error):
                raise

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing further."""


def _is_within_namespace(request: AdmissionRequest) -> bool:
    asked = request.kind.resource
    return bool(request.namespace) and (asked.group, asked.plural) != (NAMESPACES.group, NAMESPACES.plural)


class OwnerReferencesPermissionEnforcement:
    """Who gives an object an owner may delete it, and may hold up the owner's deletion only where he may do so."""

    name = "OwnerReferencesPermissionEnforcement"
    phases = (VALIDATE,)

    def __init__(self, authorizer: Authorizer, kinds: Kinds) -> None:
        self._authorizer = authorizer
        self._kinds = kinds

    def handles(self, request: AdmissionRequest) -> bool:
        asked = request.kind.resource
        # Old kubelets spoil the owners of pods in their status, which the status of pods takes no notice of.
        return request.operation in _WRITES and (asked.group, asked.plural, request.subresource) != (
            "",
            "pods",
            "status",
        )

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to change."""

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = _owners(request.object), _owners(request.old)
        if list(new) == list(old):
            return
        if request.operation is not Operation.CREATE:
            allowed, reason = await self._may_delete(request)
            if not allowed:
                raise refuse(request, f"cannot set an ownerRef on a resource you can't delete: {reason}, <nil>")
        for owner in _newly_blocking(new, old):
            for kind in self._kinds_of(request, owner):
                await self._check_owner(request, owner, kind)

    async def _may_delete(self, request: AdmissionRequest) -> tuple[bool, str]:
        asked = request.kind.resource
        decision, reason = await self._authorizer.authorize(
            request.user,
            Attributes(
                verb="delete",
                path="",
                resource_request=True,
                group=asked.group,
                version=asked.version,
                resource=asked.plural,
                subresource=request.subresource,
                namespace=request.namespace,
                name=request.name,
            ),
        )
        return decision is Decision.ALLOW, reason

    def _kinds_of(self, request: AdmissionRequest, owner: Mapping[str, Any]) -> Sequence[Kind]:
        """The kinds that an owner may be of. Raises ApiError(403) when there is none."""
        api_version, name = str(owner.get("apiVersion") or ""), str(owner.get("kind") or "")
        found = self._kinds.by_kind(api_version, name)
        if found is not None:
            return [found]
        raise refuse(
            request,
            f"cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {api_version} "
            f"Kind {name}: no matches for kind {go_quote(name)} in version {go_quote(api_version)}",
        )

    async def _check_owner(self, request: AdmissionRequest, owner: Mapping[str, Any], kind: Kind) -> None:
        found = kind.resource
        decision, reason = await self._authorizer.authorize(
            request.user,
            Attributes(
                verb="update",
                path="",
                resource_request=True,
                group=found.group,
                version=found.version,
                resource=found.plural,
                subresource="finalizers",
                namespace=request.namespace if found.namespaced else "",
                name=str(owner.get("name") or ""),
            ),
        )
        if decision is not Decision.ALLOW:
            raise refuse(
                request,
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: "
                f"{reason}, <nil>",
            )


def _owners(obj: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    return metadata(obj or {}).get("ownerReferences") or ()


def _newly_blocking(new: Sequence[Mapping[str, Any]], old: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """References that hold up their owner's deletion, and did not do so before."""
    before = {owner.get("uid"): owner for owner in old}
    return [
        owner
        for owner in new
        if owner.get("blockOwnerDeletion") and not before.get(owner.get("uid"), {}).get("blockOwnerDeletion")
    ]
