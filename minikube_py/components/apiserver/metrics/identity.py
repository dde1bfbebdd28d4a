"""Who asked and who may: authentication and authorization, as ``k8s.io/apiserver/pkg/endpoints/filters`` counts them.

Every request passes here, also those that are answered before there is a request object. A duration is put once into
the bounds of all the families that show it, and divided when somebody scrapes.
"""

from __future__ import annotations

from collections.abc import Iterator

from minikube_py.components.apiserver.metrics.values import (
    Counts,
    Definition,
    Distribution,
    Distributions,
    Family,
    Labels,
    exponential,
    families,
)

_DECISION_SECONDS = exponential(0.001, 2, 15)
_FILTER_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 5.0, 10.0, 15.0, 30.0)
_BOTH = tuple(sorted({*_DECISION_SECONDS, *_FILTER_SECONDS}))
_CACHE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_DAY = 86400.0
_CERTIFICATE_SECONDS = (
    0.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, _DAY, 2 * _DAY, 4 * _DAY, 7 * _DAY, 30 * _DAY, 90 * _DAY,
    180 * _DAY, 360 * _DAY,
)  # fmt: skip

_AUTHENTICATION = Definition(
    "authentication_duration_seconds",
    "histogram",
    "Authentication duration in seconds broken out by result.",
    ("result",),
    _DECISION_SECONDS,
)
_AUTHENTICATION_ATTEMPTS = Definition(
    "authentication_attempts", "counter", "Counter of authenticated attempts.", ("result",)
)
_USERS = Definition(
    "authenticated_user_requests",
    "counter",
    "Counter of authenticated requests broken out by username.",
    ("username",),
)
_AUTHORIZATION = Definition(
    "authorization_duration_seconds",
    "histogram",
    "Authorization duration in seconds broken out by result.",
    ("result",),
    _DECISION_SECONDS,
)
_AUTHORIZATION_ATTEMPTS = Definition(
    "authorization_attempts_total",
    "counter",
    "Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or "
    "'error'.",
    ("result",),
)
_FILTERS = Definition(
    "apiserver_request_filter_duration_seconds",
    "histogram",
    "Request filter latency distribution in seconds, for each filter type",
    ("filter",),
    _FILTER_SECONDS,
)
_CERTIFICATES = Definition(
    "apiserver_client_certificate_expiration_seconds",
    "histogram",
    "Distribution of the remaining lifetime on the certificate used to authenticate a request.",
    (),
    _CERTIFICATE_SECONDS,
)
_NAMED_USERS = frozenset({"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"})


class Decisions:
    """How long one kind of decision took, by its result."""

    __slots__ = ("results",)

    def __init__(self, *results: str) -> None:
        self.results = {result: Distribution(_BOTH) for result in results}

    def took(self, result: str, seconds: float) -> None:
        self.results[result].observe(seconds)


class IdentityMetrics:
    """See the module."""

    def __init__(self) -> None:
        self.authentications = Decisions("success", "failure", "error")
        self.authorizations = Decisions("allowed", "denied", "no-opinion", "error")
        self.users: dict[str, int] = {}
        self.filters = Distributions(_FILTERS)
        """What the other filters took: audit, impersonation, priorityandfairness."""
        self.certificates = Distribution(_CERTIFICATE_SECONDS)
        """Of each request that a client certificate was accepted for: the seconds that are left of it."""
        self.succeeded = self.authentications.results["success"].observe
        self.allowed = self.authorizations.results["allowed"].observe

    def known(self, username: str) -> None:
        """A request of this user; names are folded into few, for they are not for everybody to read."""
        shown = "other"
        if username in _NAMED_USERS:
            shown = username
        elif "@" in username:
            shown = "email_id"
        self.users[shown] = self.users.get(shown, 0) + 1

    def families(self) -> Iterator[Family]:
        yield from self._of(self.authentications, _AUTHENTICATION, _AUTHENTICATION_ATTEMPTS)
        yield Family(_USERS, [((name,), count) for name, count in self.users.items()])
        yield from self._of(self.authorizations, _AUTHORIZATION, _AUTHORIZATION_ATTEMPTS)
        yield Family(_CERTIFICATES, [((), self.certificates)])
        whole = (("authentication", self.authentications), ("authorization", self.authorizations))
        samples = [((name,), _together(decisions)) for name, decisions in whole]
        yield Family(_FILTERS, [*samples, *self.filters.values.items()])

    @staticmethod
    def _of(decisions: Decisions, durations: Definition, attempts: Definition) -> Iterator[Family]:
        taken = {result: found for result, found in decisions.results.items() if any(found.counts)}
        yield Family(durations, [((result,), found.under(_DECISION_SECONDS)) for result, found in taken.items()])
        yield Family(attempts, [((result,), sum(found.counts)) for result, found in taken.items()])


def _together(decisions: Decisions) -> Distribution:
    whole = Distribution(_BOTH)
    for found in decisions.results.values():
        whole.add(found)
    return whole.under(_FILTER_SECONDS)


class TokenMetrics:
    """The cache of checked tokens, and service accounts' tokens by their kind."""

    def __init__(self) -> None:
        self.requests = Counts(
            Definition(
                "authentication_token_cache_request_total", "counter", "Number of requests to the token cache.",
                ("status",),
            )
        )  # fmt: skip
        self.request_seconds = Distributions(
            Definition(
                "authentication_token_cache_request_duration_seconds", "histogram",
                "Duration of requests to the token cache in seconds.", ("status",), _CACHE_SECONDS,
            )
        )  # fmt: skip
        self.fetches = Counts(
            Definition(
                "authentication_token_cache_fetch_total", "counter",
                "Number of times that an authenticator was asked about a token that was not in the cache.", ("status",),
            )
        )  # fmt: skip
        self.fetching = Counts(
            Definition(
                "authentication_token_cache_active_fetch_count", "gauge",
                "Number of requests that wait for an authenticator's answer: in_flight, or blocked by one in flight.",
                ("status",),
            ),
            ("blocked",),
            ("in_flight",),
        )  # fmt: skip
        self.valid = self._tokens("valid_tokens_total", "Cumulative valid projected service account tokens used")
        self.stale = self._tokens("stale_tokens_total", "Cumulative stale projected service account tokens used")
        self.legacy = self._tokens("legacy_tokens_total", "Cumulative legacy service account tokens used")
        self.legacy_auto = self._tokens("legacy_auto_token_uses_total", "Cumulative auto-generated legacy tokens used")
        self.legacy_manual = self._tokens(
            "legacy_manual_token_uses_total", "Cumulative manually created legacy tokens used"
        )
        self.legacy_invalid = self._tokens(
            "invalid_legacy_auto_token_uses_total", "Cumulative invalid auto-generated legacy tokens used"
        )

    def asked(self, status: Labels, seconds: float) -> None:
        """A question to the cache: a hit, or a miss that was answered after so many seconds."""
        self.requests.inc(status)
        self.request_seconds.observe(status, seconds)

    @staticmethod
    def _tokens(name: str, help: str) -> Counts:
        return Counts(Definition(f"serviceaccount_{name}", "counter", help), ())

    def families(self) -> Iterator[Family]:
        return families(
            self.requests, self.request_seconds, self.fetches, self.fetching, self.valid, self.stale, self.legacy,
            self.legacy_auto, self.legacy_manual, self.legacy_invalid,
        )  # fmt: skip
