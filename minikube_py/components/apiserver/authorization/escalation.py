"""Nobody may grant what he does not hold: the checks before roles and bindings are written.

Runs as the first admission step of ``roles``, ``clusterroles`` and their bindings. A user may write
rules that his own cover, or with the verb ``escalate`` on the role (``bind`` on the role that a binding
refers to). Same behaviour as ``pkg/registry/rbac/*/policybased``.
"""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.components.apiserver.authorization.rbac import GROUP, RbacAuthorizer, aggregate
from minikube_py.components.apiserver.authorization.rules import (
    FULL_AUTHORITY,
    Rule,
    compact,
    compile_rules,
    quoted_list,
    rule_text,
    uncovered,
)
from minikube_py.components.apiserver.types import (
    SYSTEM_MASTERS,
    AdmissionRequest,
    Attributes,
    Authorizer,
    Decision,
    Operation,
)
from minikube_py.machinery.errors import forbidden, go_quote
from minikube_py.machinery.objects import Object, metadata, name_of

_ROLES = ("roles", "clusterroles")
_BINDINGS = ("rolebindings", "clusterrolebindings")


class EscalationCheck:
    """The check as an admission plugin; it is no plugin of Kubernetes' and cannot be switched off."""

    name = "RBACEscalationCheck"

    def __init__(self, rbac: RbacAuthorizer, authorizer: Authorizer) -> None:
        self._rbac = rbac
        self._authorizer = authorizer

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.kind.resource
        return (
            resource.group == GROUP
            and request.operation in (Operation.CREATE, Operation.UPDATE)
            and resource.plural in (*_ROLES, *_BINDINGS)
            and SYSTEM_MASTERS not in request.user.groups
        )

    async def admit(self, request: AdmissionRequest) -> None:
        """Raises Forbidden when the user would grant rights that he does not hold."""
        draft = request.object
        if draft is None or (request.old is not None and _only_collection_differs(draft, request.old)):
            return
        if request.kind.resource.plural in _ROLES:
            await self._check_role(request, draft)
            return
        reference = draft.get("roleRef") or {}
        plural = {"Role": "roles", "ClusterRole": "clusterroles"}.get(reference.get("kind", ""))
        if plural is None or await self._may(request, "bind", plural, reference.get("name", "")):
            return  # a reference of another kind is refused by validation
        await self._confirm(request, await self._rbac.role_rules(reference, request.namespace))

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing further."""

    async def _check_role(self, request: AdmissionRequest, draft: Object) -> None:
        # Who is asked for creation names no object yet, so a rule for one name does not help him.
        name = "" if request.operation is Operation.CREATE else request.name
        if await self._may(request, "escalate", request.kind.resource.plural, name):
            return
        await self._confirm(request, compile_rules(draft.get("rules")))
        if not (_gathers(draft) or _gathers(request.old)):
            return
        owned, _ = await self._rbac.rules_for(request.user, request.namespace)
        if uncovered(owned, FULL_AUTHORITY):
            why = "must have cluster-admin privileges to use the aggregationRule"
            raise forbidden(GROUP, request.kind.resource.plural, request.name or name_of(draft), why)

    async def _may(self, request: AdmissionRequest, verb: str, resource: str, name: str) -> bool:
        attributes = Attributes(
            verb=verb,
            path="",
            resource_request=True,
            group=GROUP,
            version="v1",
            resource=resource,
            namespace=request.namespace,
            name=name,
        )
        decision, _ = await self._authorizer.authorize(request.user, attributes)
        return decision is Decision.ALLOW

    async def _confirm(self, request: AdmissionRequest, wanted: Sequence[Rule]) -> None:
        owned, errors = await self._rbac.rules_for(request.user, request.namespace)
        missing = uncovered(owned, wanted)
        if not missing:
            return
        listed = "\n".join(sorted({rule_text(rule) for rule in compact(missing)}))
        user = request.user
        why = (
            f"user {go_quote(user.name)} (groups={quoted_list(user.groups)}) is attempting to grant RBAC "
            f"permissions not currently held:\n{listed}"
        )
        if errors:
            why += f"; resolution errors: [{aggregate(errors)}]"
        name = request.name or name_of(request.object or {})
        raise forbidden(GROUP, request.kind.resource.plural, name, why)


def _gathers(role: Object | None) -> bool:
    """Whether the role takes its rules from others, which may have any."""
    return bool(((role or {}).get("aggregationRule") or {}).get("clusterRoleSelectors"))


def _only_collection_differs(draft: Object, old: Object) -> bool:
    """Owner references and finalizers may be written without holding the role's rights (``IsOnlyMutatingGCFields``)."""
    return _without_collection(draft) == _without_collection(old)


def _without_collection(obj: Object) -> Object:
    fields = ("ownerReferences", "finalizers", "managedFields")
    meta = {key: value for key, value in metadata(obj).items() if key not in fields}
    rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    return {**rest, "metadata": meta}
