"""Fixtures of the tests of custom resources."""

from __future__ import annotations

from tests.unit.admission.admission_cluster import cluster

__all__ = ["cluster"]
