"""Labels of nodes that other labels replaced, and warnings about what still asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minikube_py.machinery.names import label_value_errors

DEPRECATED_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}


def node_term_warnings(path: str, term: Mapping[str, Any], *, values: bool = False) -> Iterator[str]:
    """``GetWarningsForNodeSelectorTerm``: deprecated keys, and ``values`` that no label can have."""
    for index, wanted in enumerate(term.get("matchExpressions") or ()):
        key = wanted.get("key")
        if key in DEPRECATED_LABELS:
            yield f"{path}.matchExpressions[{index}].key: {key} is {DEPRECATED_LABELS[key]}"
        for number, value in enumerate(wanted.get("values") or () if values else ()):
            for text in label_value_errors(value):
                yield f"{path}.matchExpressions[{index}].values[{number}]: {value} is invalid, {text}"


def node_selector_warnings(path: str, selector: Mapping[str, Any] | None) -> Iterator[str]:
    """``GetWarningsForNodeSelector``: deprecated keys in a label selector of nodes."""
    yield from node_term_warnings(path, selector or {})
    for key in (selector or {}).get("matchLabels") or ():
        if key in DEPRECATED_LABELS:
            yield f"{path}.matchLabels.{key}: {DEPRECATED_LABELS[key]}"
