"""Conversion webhooks of custom resources: how many questions, how long they took, how they failed.

Names and buckets of ``apiextensions-apiserver/pkg/apiserver/conversion/metrics.go``.
"""

from __future__ import annotations

from collections.abc import Iterator

from minikube_py.components.apiserver.metrics.values import Counts, Definition, Distributions, Family, families

CALL_FAILED = "conversion_webhook_call_failure"
MALFORMED = "conversion_webhook_malformed_response_failure"
PARTIAL = "conversion_webhook_partial_response_failure"
INVALID_OBJECT = "conversion_webhook_invalid_converted_object_failure"
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0)
_LABELS = ("result", "failure_type")


class ConversionMetrics:
    """See the module."""

    def __init__(self) -> None:
        self._requests = Counts(
            Definition(
                "apiserver_conversion_webhook_request_total", "counter",
                "Counter for conversion webhook requests with success/failure and failure error type", _LABELS,
            )
        )  # fmt: skip
        self._latency = Distributions(
            Definition(
                "apiserver_conversion_webhook_duration_seconds", "histogram", "Conversion webhook request latency",
                _LABELS, _SECONDS,
            )
        )  # fmt: skip
        self._conversions = Distributions(
            Definition(
                "apiserver_crd_conversion_webhook_duration_seconds", "histogram",
                "CRD webhook conversion duration in seconds", ("crd_name", "from_version", "to_version", "succeeded"),
                tuple(0.001 * 2**power for power in range(15)),
            )
        )  # fmt: skip

    def asked(self, definition: str, before: str, after: str, seconds: float, failure: str = "") -> None:
        """A webhook was asked for objects of one version in another; ``failure`` is one of those above."""
        labels = ("failure" if failure else "success", failure)
        self._requests.inc(labels)
        self._latency.observe(labels, seconds)
        self._conversions.observe((definition, before, after, "false" if failure else "true"), seconds)

    def families(self) -> Iterator[Family]:
        yield from families(self._requests, self._latency, self._conversions)
