"""Definitions of the custom resources that the programs of this folder work on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def definition(group: str, plural: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A CustomResourceDefinition with one version, a status subresource and free status fields."""
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {"type": "object", "properties": dict(spec)},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = {
        "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [version],
        },
    }
