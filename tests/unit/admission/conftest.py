"""Fixtures of the admission tests."""

from __future__ import annotations

from admission_cluster import cluster

__all__ = ["cluster"]
