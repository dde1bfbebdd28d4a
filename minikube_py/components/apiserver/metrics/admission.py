"""Admission: how long plugins, phases and webhooks took, and what Pod Security decided.

Names and buckets of ``k8s.io/apiserver/pkg/admission/metrics`` and ``pod-security-admission/metrics``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar

from minikube_py.components.apiserver.metrics.values import (
    Counts,
    Definition,
    Distribution,
    Distributions,
    Family,
    Labels,
    families,
)

_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
_STEP = ("type", "operation", "rejected")
_MOST_CODE = 600
ADMIT, VALIDATE = "admit", "validate"
_CONTROLLERS = Definition(
    "apiserver_admission_controller_admission_duration_seconds", "histogram",
    "Admission controller latency histogram in seconds, identified by name and broken out for each "
    "operation and API resource and type (validate or admit).", ("name", *_STEP), _SECONDS,
)  # fmt: skip
_STEPS = Definition(
    "apiserver_admission_step_admission_duration_seconds", "histogram",
    "Admission sub-step latency histogram in seconds, broken out for each operation and API resource and "
    "step type (validate or admit).", _STEP, _SECONDS,
)  # fmt: skip
_SUMMARY = Definition(
    "apiserver_admission_step_admission_duration_seconds_summary",
    "summary",
    "Admission sub-step latency summary in seconds, broken out for each operation and API resource and step type "
    "(validate or admit).",
    _STEP,
)
_WEBHOOKS = Definition(
    "apiserver_admission_webhook_admission_duration_seconds", "histogram",
    "Admission webhook latency histogram in seconds, identified by name and broken out for each operation "
    "and API resource and type (validate or admit).", ("name", *_STEP), (*_SECONDS, 10, 25),
)  # fmt: skip
_WEBHOOK_REQUESTS = Definition(
    "apiserver_admission_webhook_request_total", "counter",
    "Admission webhook request total, identified by name and broken out for each admission type "
    "(validating or mutating) and operation. Additional labels specify whether the request was rejected or "
    "not and an HTTP status code. Codes greater than 600 are truncated to 600, to keep the metrics "
    "cardinality bounded.", ("name", "type", "operation", "code", "rejected"),
)  # fmt: skip
_REJECTIONS = Definition(
    "apiserver_admission_webhook_rejection_count", "counter",
    "Admission webhook rejection count, identified by name and broken out for each admission type "
    "(validating or admit) and operation. Additional labels specify an error type (calling_webhook_error "
    "or apiserver_internal_error if an error occurred; no_error otherwise) and optionally a non-zero "
    "rejection code if the webhook rejects the request with an HTTP status code (honored by the apiserver "
    "when the code is greater or equal to 400). Codes greater than 600 are truncated to 600, to keep the "
    "metrics cardinality bounded.", ("name", "type", "operation", "error_type", "rejection_code"),
)  # fmt: skip
_FAIL_OPEN = Definition(
    "apiserver_admission_webhook_fail_open_count", "counter",
    "Admission webhook fail open count, identified by name and broken out for each admission type "
    "(validating or mutating).", ("name", "type"),
)  # fmt: skip
_EVALUATIONS = Definition(
    "pod_security_evaluations_total", "counter",
    "Number of policy evaluations that occurred, not counting ignored or exempt requests.",
    (
        "decision", "policy_level", "policy_version", "mode", "request_operation", "resource",
        "subresource", "ocp_namespace",
    ),
)  # fmt: skip
_EXEMPTIONS = Definition(
    "pod_security_exemptions_total", "counter",
    "Number of exempt requests, not counting ignored or out of scope requests.",
    ("request_operation", "resource", "subresource"),
)  # fmt: skip

elsewhere: ContextVar[list[float] | None] = ContextVar("elsewhere", default=None)
"""Of the request that is being served: the seconds that were spent in webhooks, as the only element."""


class AdmissionMetrics:
    """See the module. ``operation`` is CREATE, UPDATE and so on, ``step`` is admit or validate."""

    def __init__(self) -> None:
        self.controllers = Distributions(_CONTROLLERS)
        self._steps = Distributions(_STEPS)
        self._webhooks = Distributions(_WEBHOOKS)
        self._webhook_requests = Counts(_WEBHOOK_REQUESTS)
        self._rejections = Counts(_REJECTIONS)
        self._fail_open = Counts(_FAIL_OPEN)
        self.evaluations = Counts(
            _EVALUATIONS,
            *(("allow", "privileged", "latest", "enforce", name, "pod", "", "") for name in ("create", "update")),
        )
        self.exemptions = Counts(
            _EXEMPTIONS,
            *((operation, resource, "") for operation in ("create", "update") for resource in ("pod", "controller")),
        )

    def whole_phases(self, labels: Labels) -> Distribution:
        """Where the seconds of whole phases go; ``labels`` are step, operation and whether they ended in a refusal."""
        return self._steps.of(labels)

    def webhook(self, name: str, step: str, operation: str, seconds: float, *, code: int, rejected: bool) -> None:
        """A call of a webhook. ``code`` is its answer's: 200, or the refusal's, or 0 when it gave none."""
        waited = elsewhere.get()
        if waited is not None:
            waited[0] += seconds
        told = "true" if rejected else "false"
        self._webhooks.observe((name, step, operation, told), seconds)
        self._webhook_requests.inc((name, step, operation, str(min(code, _MOST_CODE)), told))

    def rejection(self, name: str, step: str, operation: str, error_type: str, code: int) -> None:
        """A request that ended by a webhook; ``code`` is 0 where the webhook named none."""
        self._rejections.inc((name, step, operation, error_type, str(min(code, _MOST_CODE))))

    def fail_open(self, name: str, step: str) -> None:
        """A webhook that failed and may."""
        self._fail_open.inc((name, step))

    def families(self) -> Iterator[Family]:
        asked = [(labels, found) for labels, found in self.controllers.values.items() if any(found.counts)]
        yield Family(self.controllers.definition, asked)
        taken = [(labels, found) for labels, found in self._steps.values.items() if any(found.counts)]
        yield Family(_STEPS, taken)
        yield Family(_SUMMARY, taken)
        yield from families(
            self._webhooks, self._webhook_requests, self._rejections, self._fail_open, self.evaluations,
            self.exemptions,
        )  # fmt: skip
