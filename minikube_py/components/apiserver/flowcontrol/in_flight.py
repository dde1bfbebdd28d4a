"""The plain limits that hold where priority and fairness is switched off (``filters/maxinflight.go``).

Two levels that refuse instead of queueing: one for requests that read, one for those that write. Members of
system:masters are exempt, as there.
"""

from __future__ import annotations

from minikube_py.components.apiserver.flowcontrol.control import FlowControl
from minikube_py.components.apiserver.flowcontrol.level import Limits
from minikube_py.components.apiserver.flowcontrol.schemas import ALL, PathRule, ResourceRule, Rule, Schema
from minikube_py.components.apiserver.types import SYSTEM_MASTERS

_READS = frozenset({"get", "list", "watch"})
_EVERY = frozenset({ALL})


def limit_in_flight(control: FlowControl, reading: int, writing: int) -> None:
    """Let at most so many requests be served at a time; ``control`` has been made for their sum."""
    levels = [
        Limits("exempt", exempt=True),
        Limits("readOnly", shares=reading),
        Limits("mutating", shares=writing),
    ]
    schemas = [
        _schema("exempt", 1, frozenset({SYSTEM_MASTERS}), _EVERY),
        _schema("readOnly", 2, _EVERY, _READS),
        _schema("mutating", 3, _EVERY, _EVERY),
    ]
    control.configure(schemas, levels)


def _schema(name: str, precedence: int, groups: frozenset[str], verbs: frozenset[str]) -> Schema:
    everything = ResourceRule(verbs, _EVERY, _EVERY, _EVERY, cluster_scope=True)
    rule = Rule(frozenset(), groups, frozenset(), (everything,), (PathRule(verbs, (ALL,)),))
    return Schema(name, "", precedence, name, "", (rule,))
