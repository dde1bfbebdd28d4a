"""The chain of authorizers: the first opinion counts, and system:masters comes before all of them."""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.components.apiserver.types import SYSTEM_MASTERS, Attributes, Authorizer, Decision, UserInfo


class UnionAuthorizer:
    """What the API server asks for every request (``union.New`` with the superuser group in front)."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        if SYSTEM_MASTERS in user.groups:
            return Decision.ALLOW, ""
        reasons: list[str] = []
        for authorizer in self._authorizers:
            decision, reason = await authorizer.authorize(user, attributes)
            if decision is not Decision.NO_OPINION:
                return decision, reason
            if reason:
                reasons.append(reason)
        return Decision.NO_OPINION, "\n".join(reasons)


class AlwaysAllow:
    """Authorization mode AlwaysAllow."""

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        return Decision.ALLOW, ""


class AlwaysDeny:
    """Authorization mode AlwaysDeny."""

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        return Decision.NO_OPINION, "Everything is forbidden."
