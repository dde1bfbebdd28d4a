"""Match conditions: expressions that must all hold, else a webhook or policy does not see the request.

One condition that is false settles it; errors count only when all the others hold, and then the failure
policy decides. Follows ``plugin/webhook/matchconditions``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.components.apiserver.admission.expressions.authorizing import Authorizations
from minikube_py.components.apiserver.admission.expressions.evaluation import (
    MATCH_CONDITIONS_BUDGET,
    Expression,
    ExpressionFailed,
    OutOfBudget,
    evaluate,
    new_budget,
)
from minikube_py.components.apiserver.admission.expressions.variables import values_of
from minikube_py.components.apiserver.admission.subjects import Subject, Target
from minikube_py.components.apiserver.types import Authorizer
from minikube_py.machinery.errors import forbidden
from minikube_py.machinery.kinds.admissionregistration.expressions import BOOLEAN, Scope
from minikube_py.machinery.objects import Object


@dataclass(frozen=True, slots=True)
class MatchConditions:
    """The conditions of one webhook or policy."""

    expressions: tuple[Expression, ...]
    fails_closed: bool


class ConditionsFailed(Exception):
    """Whether the request matches cannot be told, and the failure policy is Fail; the text is Kubernetes'."""


def read_conditions(raw: Iterable[Mapping[str, Any]], *, fails_closed: bool, params: bool = False) -> MatchConditions:
    """The conditions of a stored object."""
    scope = Scope(params)
    expressions = tuple(Expression(str(item.get("expression") or ""), BOOLEAN, scope) for item in raw)
    return MatchConditions(expressions, fails_closed)


class ConditionEvaluator:
    """Evaluates conditions with one authorizer."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def all_hold(self, conditions: MatchConditions, subject: Subject, target: Target) -> bool:
        """Whether a webhook sees the request. Raises ApiError(403) when that cannot be told."""
        if not conditions.expressions:
            return True
        try:
            return await self.hold(conditions, subject, target, Authorizations(self._authorizer, subject))
        except ConditionsFailed as error:
            seen = subject.target
            raise forbidden(seen.group, seen.plural, subject.name, str(error)) from error

    async def hold(
        self,
        conditions: MatchConditions,
        subject: Subject,
        target: Target,
        authorizations: Authorizations,
        *,
        params: Object | None = None,
    ) -> bool:
        """Whether all conditions hold. Raises ConditionsFailed."""
        if not conditions.expressions:
            return True
        values = {**values_of(subject, target, params=params), **authorizations.variables()}
        budget, failures = new_budget(MATCH_CONDITIONS_BUDGET), list[str]()
        for expression in conditions.expressions:
            try:
                if await evaluate(expression, values, budget, authorizations) is False:
                    return False
            except OutOfBudget as error:
                failures = [str(error)]
                break
            except ExpressionFailed as error:
                failures.append(str(error))
        if not failures:
            return True
        if conditions.fails_closed:
            raise ConditionsFailed(aggregate(failures))
        return False


def aggregate(texts: list[str]) -> str:
    """Several errors as one (``utilerrors.Aggregate``)."""
    unique = list(dict.fromkeys(texts))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"
