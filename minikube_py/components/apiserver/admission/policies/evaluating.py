"""What validating and mutating policies have in common: whom they ask, and how an expression of theirs is evaluated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.client.types import Client
from minikube_py.components.apiserver.admission.expressions.authorizing import Authorizations
from minikube_py.components.apiserver.admission.expressions.composition import LazyVariables
from minikube_py.components.apiserver.admission.expressions.conditions import ConditionEvaluator
from minikube_py.components.apiserver.admission.expressions.evaluation import RUNTIME_BUDGET, evaluate, new_budget
from minikube_py.components.apiserver.admission.expressions.variables import values_of
from minikube_py.components.apiserver.admission.matching import configures_admission, is_review
from minikube_py.components.apiserver.admission.policies.matched import (
    Match,
    Problem,
    matched_policies,
    request_namespace,
)
from minikube_py.components.apiserver.admission.policies.source import Policy, PolicySource
from minikube_py.components.apiserver.admission.subjects import ServedKinds, Subject
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import AdmissionRequest, Authorizer


@dataclass(frozen=True, slots=True)
class Evaluating:
    """The surroundings of one sort of policies."""

    source: PolicySource
    client: Client
    kinds: ServedKinds
    namespaces: Lookup
    conditions: ConditionEvaluator
    authorizer: Authorizer

    def subject(self, request: AdmissionRequest) -> Subject | None:
        """What policies see of a request; None for what none of them may see."""
        subject = Subject(request, self.kinds)
        return None if configures_admission(subject) or is_review(subject) else subject

    def authorizations(self, subject: Subject) -> Authorizations:
        return Authorizations(self.authorizer, subject)

    def matches(self, policy: Policy, subject: Subject) -> AsyncIterator[Match | Problem]:
        """See ``matched_policies``."""
        return matched_policies(policy, subject, self.client, self.kinds.kinds, self.namespaces)

    async def holds(self, match: Match, subject: Subject, authorizations: Authorizations) -> bool:
        """Whether the policy's match conditions hold. Raises ConditionsFailed."""
        return await self.conditions.hold(
            match.policy.conditions, subject, match.target, authorizations, params=match.params
        )

    async def values(self, match: Match, subject: Subject) -> Mapping[str, Any]:
        """The variables that expressions see. Raises ApiError(404) when the namespace is gone."""
        namespace = await request_namespace(subject, self.namespaces)
        return values_of(subject, match.target, namespace=namespace, params=match.params)


class Scope:
    """The variables of one evaluation of a policy, and what it may spend."""

    def __init__(self, policy: Policy, values: Mapping[str, Any], authorizations: Authorizations) -> None:
        self._authorizations = authorizations
        self._budget = budget = new_budget(RUNTIME_BUDGET)
        self._values = {**values, **authorizations.variables()}
        if policy.composition.expressions:
            self._values["variables"] = LazyVariables(policy.composition, self._values, budget)

    async def evaluate(self, expression: Any) -> Any:
        """Raises ExpressionFailed."""
        return await evaluate(expression, self._values, self._budget, self._authorizations)
