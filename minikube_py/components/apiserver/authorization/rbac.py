"""RBAC: requests are allowed by the rules of the roles that bindings give to a user or its groups.

Bindings are indexed by subject, so the cost of a decision depends on the bindings of the user alone and
not on how many there are. Decisions are remembered until any RBAC object changes. Nothing is ever denied,
only allowed or left without an opinion. Same behaviour and reasons as
``plugin/pkg/auth/authorizer/rbac``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from minikube_py.client.types import Client, EventType
from minikube_py.components.apiserver.authentication.identity import service_account_user_name
from minikube_py.components.apiserver.authorization.rules import Rule, compile_rules, rule_allows
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import Attributes, Decision, UserInfo
from minikube_py.machinery.errors import go_quote, not_found
from minikube_py.machinery.objects import Object, name_of, namespace_of
from minikube_py.machinery.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES

GROUP = "rbac.authorization.k8s.io"
remembered_decisions = 16384
_INDEXED_AT_ONCE = 128

SubjectKey = tuple[str, str]
"""("User" or "Group", name); service accounts are users."""
_BindingKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Binding:
    """A role given to one subject by one binding; ``namespace`` is empty for cluster role bindings."""

    namespace: str
    name: str
    role_kind: str
    role_name: str
    subject: str

    def reason(self) -> str:
        if self.namespace:
            binding = f"RoleBinding {go_quote(f'{self.name}/{self.namespace}')}"
        else:
            binding = f"ClusterRoleBinding {go_quote(self.name)}"
        return f"RBAC: allowed by {binding} of {self.role_kind} {go_quote(self.role_name)} to {self.subject}"


class BindingIndex:
    """Bindings by namespace and subject; kept up to date by informer events."""

    def __init__(self) -> None:
        self._by_subject: dict[tuple[str, SubjectKey], dict[_BindingKey, Binding]] = {}
        self._keys: dict[_BindingKey, list[tuple[str, SubjectKey]]] = {}

    def put(self, obj: Object) -> None:
        """Take in a binding, replacing its former state."""
        self.remove(obj)
        namespace, name = namespace_of(obj), name_of(obj)
        reference = obj.get("roleRef") or {}
        keys = self._keys.setdefault((namespace, name), [])
        for subject in obj.get("subjects") or ():
            key, text = _subject(subject, namespace)
            binding = Binding(namespace, name, reference.get("kind", ""), reference.get("name", ""), text)
            self._by_subject.setdefault((namespace, key), {}).setdefault((namespace, name), binding)
            keys.append((namespace, key))

    def remove(self, obj: Object) -> None:
        binding = (namespace_of(obj), name_of(obj))
        for key in self._keys.pop(binding, ()):
            found = self._by_subject.get(key)
            if found is not None:
                found.pop(binding, None)
                if not found:
                    del self._by_subject[key]

    def bindings_of(self, user: UserInfo, namespace: str) -> list[Binding]:
        """The user's cluster-wide bindings by name, then those in the namespace (where it is not empty)."""
        found: list[Binding] = []
        for where in ("", namespace) if namespace else ("",):
            here: dict[_BindingKey, Binding] = {}
            here |= self._by_subject.get((where, ("User", user.name)), {})
            for group in user.groups:
                for key, binding in self._by_subject.get((where, ("Group", group)), {}).items():
                    here.setdefault(key, binding)
            found += [here[key] for key in sorted(here)]
        return found


def _subject(subject: Mapping[str, str], binding_namespace: str) -> tuple[SubjectKey, str]:
    kind, name = subject.get("kind", ""), subject.get("name", "")
    if kind == "ServiceAccount":
        namespace = subject.get("namespace") or binding_namespace
        text = f"ServiceAccount {go_quote(f'{name}/{namespace}')}"
        return ("User", service_account_user_name(namespace, name)), text
    return (kind, name), f"{kind} {go_quote(name)}"


class RbacAuthorizer:
    """Decides by the roles and bindings that the client's informers show."""

    def __init__(self, client: Client) -> None:
        self._roles = {"Role": Lookup(client, ROLES), "ClusterRole": Lookup(client, CLUSTER_ROLES)}
        self._bindings = (Lookup(client, CLUSTER_ROLE_BINDINGS), Lookup(client, ROLE_BINDINGS))
        self._index = BindingIndex()
        self._compiled: dict[tuple[str, str, str], tuple[Rule, ...] | None] = {}
        self._decisions: dict[tuple[str, tuple[str, ...], Attributes], tuple[Decision, str]] = {}
        self._starting = asyncio.Lock()
        self._started = False
        self._ready = False

    async def ready(self) -> None:
        """Return once all roles and bindings are known; costs nothing afterwards."""
        if self._ready:
            return
        async with self._starting:
            if not self._started:
                with ExitStack() as ends:  # who asks first may be cancelled meanwhile; then the next one begins anew
                    for lookup in self._roles.values():
                        ends.callback(lookup.informer.subscribe(self._role_changed))
                    for lookup in self._bindings:
                        await self._follow(lookup, ends)
                    ends.pop_all()
                self._started = True
            for lookup in (*self._roles.values(), *self._bindings):
                await lookup.synced()
            self._ready = True

    async def _follow(self, lookup: Lookup, ends: ExitStack) -> None:
        """Take in the bindings that are there, of which there may be thousands, in portions, and all changes."""
        present: list[Object] = []
        collecting = True

        def handle(type: EventType, binding: Object, previous: Object | None) -> None:
            if collecting:
                present.append(binding)
            else:
                self._binding_changed(type, binding, previous)

        ends.callback(lookup.informer.subscribe(handle))
        collecting = False
        for number, binding in enumerate(present, 1):
            if not number % _INDEXED_AT_ONCE:
                await asyncio.sleep(0)
            # what has changed or gone meanwhile was handled already
            if lookup.informer.get(name_of(binding), namespace_of(binding) or None) is binding:
                self._index.put(binding)

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        if not self._ready:
            await self.ready()
        key = (user.name, user.groups, attributes)
        decision = self._decisions.get(key)
        if decision is None:
            decision = self._decide(user, attributes)
            if len(self._decisions) >= remembered_decisions:
                self._decisions.clear()
            self._decisions[key] = decision
        return decision

    async def rules_for(self, user: UserInfo, namespace: str) -> tuple[list[Rule], list[str]]:
        """All rules that hold for the user in the namespace, and errors about roles that are missing."""
        await self.ready()
        errors: list[str] = []
        rules = [rule for _, rules in self._granted(user, namespace, errors) for rule in rules]
        return rules, errors

    async def role_rules(self, reference: Mapping[str, str], namespace: str) -> tuple[Rule, ...]:
        """The rules of a roleRef, asked live when the cache lacks them. Raises NotFound."""
        kind, name = reference.get("kind", ""), reference.get("name", "")
        lookup = self._roles[kind]
        role = await lookup.get(name, namespace if kind == "Role" else None)
        if role is None:
            raise not_found(GROUP, lookup.resource.plural, name)
        return compile_rules(role.get("rules"))

    def _decide(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        errors: list[str] = []
        for binding, rules in self._granted(user, attributes.namespace, errors):
            for rule in rules:
                if rule_allows(rule, attributes):
                    return Decision.ALLOW, binding.reason()
        if not errors:
            return Decision.NO_OPINION, ""
        return Decision.NO_OPINION, f"RBAC: {aggregate(errors)}"

    def _granted(self, user: UserInfo, namespace: str, errors: list[str]) -> Iterator[tuple[Binding, tuple[Rule, ...]]]:
        for binding in self._index.bindings_of(user, namespace):
            rules = self._rules_of(binding)
            if rules is None:
                errors.append(f'{binding.role_kind.lower()}.{GROUP} "{binding.role_name}" not found')
            else:
                yield binding, rules

    def _rules_of(self, binding: Binding) -> tuple[Rule, ...] | None:
        namespace = binding.namespace if binding.role_kind == "Role" else ""
        key = (binding.role_kind, namespace, binding.role_name)
        if key not in self._compiled:
            lookup = self._roles.get(binding.role_kind)
            role = lookup.informer.get(binding.role_name, namespace or None) if lookup else None
            self._compiled[key] = None if role is None else compile_rules(role.get("rules"))
        return self._compiled[key]

    def _role_changed(self, type: EventType, role: Object, previous: Object | None) -> None:
        namespace = namespace_of(role)
        self._compiled.pop(("Role" if namespace else "ClusterRole", namespace, name_of(role)), None)
        self._decisions.clear()

    def _binding_changed(self, type: EventType, binding: Object, previous: Object | None) -> None:
        if type is EventType.DELETED:
            self._index.remove(binding)
        else:
            self._index.put(binding)
        self._decisions.clear()


def aggregate(errors: list[str]) -> str:
    """Several errors as ``utilerrors.Aggregate`` prints them: one plain, more in brackets, none twice."""
    distinct = list(dict.fromkeys(errors))
    return distinct[0] if len(distinct) == 1 else "[" + ", ".join(distinct) + "]"
