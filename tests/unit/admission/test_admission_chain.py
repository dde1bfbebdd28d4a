"""Whom the chain asks, and how often."""

from __future__ import annotations

import importlib
import pkgutil
from types import SimpleNamespace
from typing import Any, cast

import pytest

from minikube_py.components.apiserver import admission
from minikube_py.components.apiserver.admission.chain import PluginChain
from minikube_py.components.apiserver.metrics.admission import AdmissionMetrics
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.kinds import builtin_kinds

KINDS = builtin_kinds()
PODS = next(kind for kind in KINDS if kind.resource.plural == "pods")
MAPS = next(kind for kind in KINDS if kind.resource.plural == "configmaps")


class Plugin:
    """Has a say in pods; notes what it was asked and told."""

    def __init__(self, name: str, *, by_kind: bool) -> None:
        self.name = name
        self.handles_by_kind = by_kind
        self.phases: tuple[str, ...] = ("admit", "validate")
        self.asked = 0
        self.told: list[str] = []

    def handles(self, request: AdmissionRequest) -> bool:
        self.asked += 1
        return request.kind is PODS and request.subresource == ""

    async def admit(self, request: AdmissionRequest) -> None:
        self.told.append("admit")

    async def validate(self, request: AdmissionRequest) -> None:
        self.told.append("validate")


def bare(kind: Any, operation: Operation, subresource: str = "") -> AdmissionRequest:
    """A request of which only resource, operation and subresource can be looked at."""
    reinvocation = SimpleNamespace(wanted=False, again=False)
    return cast(
        AdmissionRequest,
        SimpleNamespace(kind=kind, operation=operation, subresource=subresource, reinvocation=reinvocation),
    )


async def test_plugins_that_go_by_the_kind_are_asked_once_for_it() -> None:
    by_kind, each = Plugin("A", by_kind=True), Plugin("B", by_kind=False)
    chain = PluginChain([by_kind, each])
    for _ in range(3):
        for request in (bare(PODS, Operation.CREATE), bare(MAPS, Operation.CREATE)):
            await chain.admit(request)
            await chain.validate(request)
        await chain.validate(bare(PODS, Operation.CREATE, "eviction"))
    assert by_kind.told == each.told == ["admit", "validate"] * 3
    assert (by_kind.asked, each.asked) == (3, 15)


@pytest.mark.parametrize("phases", [("admit",), ("validate",), ("admit", "validate")], ids="-".join)
async def test_plugins_are_told_of_their_phases_alone(phases: tuple[str, ...]) -> None:
    plugin = Plugin("A", by_kind=True)
    plugin.phases = phases
    metrics = AdmissionMetrics()
    chain = PluginChain([plugin], metrics)
    await chain.admit(bare(PODS, Operation.CREATE))
    await chain.validate(bare(PODS, Operation.CREATE))
    assert tuple(plugin.told) == phases
    assert {labels[1] for labels in metrics.controllers.values} == set(phases)


def _declared(attribute: str) -> list[type[Any]]:
    found: dict[str, type[Any]] = {}
    for module in pkgutil.walk_packages(admission.__path__, f"{admission.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and getattr(value, attribute, None):
                found[value.__qualname__] = value
    return list(found.values())


@pytest.mark.parametrize("plugin", _declared("handles_by_kind"), ids=lambda plugin: plugin.__qualname__)
def test_who_says_so_looks_at_nothing_else(plugin: type[Any]) -> None:
    """Looking at a user, an object or the plugin's own state would raise AttributeError here."""
    handled = [
        plugin.handles(object.__new__(plugin), bare(kind, operation, subresource))
        for kind in KINDS
        for operation in Operation
        for subresource in ("", "status", "resize", "approval", "ephemeralcontainers")
    ]
    assert any(handled) and not all(handled)


def test_a_phase_that_a_plugin_does_not_name_is_empty() -> None:
    """What a method says that is never called is its docstring alone."""
    named = _declared("phases")
    assert len(named) >= 5
    for found in named:
        for phase in {"admit", "validate"} - set(found.phases):
            code = getattr(found, phase).__code__
            assert code.co_names == (), f"{found.__name__}.{phase} does something"
