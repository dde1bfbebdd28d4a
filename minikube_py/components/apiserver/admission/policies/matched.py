"""From policies to what is evaluated: (policy, binding, parameter) for all that match a request.

Both sorts of policies share this. What is wrong with a configuration comes out as a ``Problem``, in
its place in the order; the failure policy decides what it means.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from minikube_py.client.types import Client
from minikube_py.components.apiserver.admission.matching import match, namespace_object
from minikube_py.components.apiserver.admission.policies.params import ConfigurationProblem, collect_params
from minikube_py.components.apiserver.admission.policies.source import Binding, Policy
from minikube_py.components.apiserver.admission.subjects import Subject, Target
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object


@dataclass(frozen=True, slots=True)
class Match:
    """One evaluation that is due."""

    policy: Policy
    binding: Binding
    target: Target
    params: Object | None


@dataclass(frozen=True, slots=True)
class Problem:
    """A configuration that cannot be applied; ``binding`` is empty when it is the policy's."""

    policy: Policy
    binding: str
    text: str


async def matched_policies(
    policy: Policy, subject: Subject, client: Client, kinds: Kinds, namespaces: Lookup
) -> AsyncIterator[Match | Problem]:
    """All that is to be evaluated of one policy."""
    try:
        target = await match(subject, policy.criteria, namespaces)
        if target is None:
            return
        kind = policy.param_kind.find(kinds) if policy.param_kind is not None else None
    except (ApiError, ConfigurationProblem) as error:
        yield Problem(policy, "", f"failed to configure policy: {error}")
        return
    for binding in policy.bindings:
        try:
            if binding.criteria is not None and await match(subject, binding.criteria, namespaces) is None:
                continue
            params = await collect_params(client, kind, binding.params, subject.namespace)
        except (ApiError, ConfigurationProblem) as error:
            yield Problem(policy, binding.name, f"failed to configure binding: {error}")
            continue
        for param in params:
            yield Match(policy, binding, target, param)


async def request_namespace(subject: Subject, namespaces: Lookup) -> Object | None:
    """The namespace that expressions see; None for what is in none. Raises ApiError(404)."""
    if subject.about_namespace or not subject.namespace:
        return None
    return await namespace_object(subject.namespace, namespaces)
