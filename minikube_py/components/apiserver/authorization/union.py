"""The chain of authorizers: the first opinion counts, and system:masters comes before all of them.

An authorizer that fails has no opinion (or refuses, where its failure policy says so); the request goes on
to the next ones, and ends with status 500 when none of them allows it: nobody is told "forbidden" by a
service that could not be asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.components.apiserver.authorization.rules import FULL_AUTHORITY, Rule
from minikube_py.components.apiserver.types import SYSTEM_MASTERS, Attributes, Authorizer, Decision, UserInfo
from minikube_py.machinery.errors import ApiError, go_quote


class AuthorizerError(ApiError):
    """An authorizer could not decide; ``decision`` (never ALLOW) is what its failure policy makes of it."""

    def __init__(self, decision: Decision, why: str, path: str = "") -> None:
        text = f"Internal Server Error: {go_quote(path)}: {why}" if path else why
        super().__init__(500, "InternalError", text, details={"causes": [{"message": why}]})
        self.decision = decision
        self.why = why


class UnionAuthorizer:
    """What the API server asks for every request (``union.New`` with the superuser group in front)."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    def replace(self, authorizers: Sequence[Authorizer]) -> None:
        """Use other authorizers from the next request on."""
        self._authorizers = tuple(authorizers)

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        """The decision and its reason. Raises AuthorizerError when none allows and one has failed."""
        if SYSTEM_MASTERS in user.groups:
            return Decision.ALLOW, ""
        reasons: list[str] = []
        failures: list[str] = []
        for authorizer in self._authorizers:
            try:
                decision, reason = await authorizer.authorize(user, attributes)
            except AuthorizerError as error:
                failures.append(error.why)
                if error.decision is Decision.DENY:
                    raise _together(Decision.DENY, failures, attributes) from error
                continue
            if decision is not Decision.NO_OPINION:
                return decision, reason
            if reason:
                reasons.append(reason)
        if failures:
            raise _together(Decision.NO_OPINION, failures, attributes)
        return Decision.NO_OPINION, "\n".join(reasons)

    async def rules_for(self, user: UserInfo, namespace: str) -> tuple[list[Rule], list[str], bool]:
        """What the authorizers list as allowed, what went wrong, and whether one of them cannot list all of it."""
        rules: list[Rule] = []
        errors: list[str] = []
        incomplete = False
        for authorizer in self._authorizers:
            listed = getattr(authorizer, "rules_for", None)
            if listed is None:
                continue
            more, problems = await listed(user, namespace)
            rules += more
            errors += problems
            incomplete = incomplete or getattr(authorizer, "lists_incompletely", False)
        return rules, errors, incomplete


def _together(decision: Decision, failures: Sequence[str], attributes: Attributes) -> AuthorizerError:
    why = failures[0] if len(failures) == 1 else "[" + ", ".join(failures) + "]"
    return AuthorizerError(decision, why, attributes.path)


class AlwaysAllow:
    """Authorization mode AlwaysAllow."""

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        return Decision.ALLOW, ""

    async def rules_for(self, user: UserInfo, namespace: str) -> tuple[list[Rule], list[str]]:
        return list(FULL_AUTHORITY), []


class AlwaysDeny:
    """Authorization mode AlwaysDeny."""

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        return Decision.NO_OPINION, "Everything is forbidden."
