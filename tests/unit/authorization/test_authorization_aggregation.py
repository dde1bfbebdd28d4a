"""Aggregated cluster roles follow the roles that they select."""

from __future__ import annotations

import asyncio

import pytest

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.authorization.aggregation import aggregated_rules, run_role_aggregation
from minikube_py.components.apiserver.bootstrap import ensure_bootstrap
from minikube_py.components.apiserver.bootstrap.policy import bootstrap_sections
from minikube_py.machinery.objects import name_of, thaw
from minikube_py.machinery.resources import CLUSTER_ROLES


def bootstrap_roles() -> list[dict]:
    return list(next(section for section in bootstrap_sections() if section.resource is CLUSTER_ROLES).objects)


@pytest.mark.parametrize("name", ["admin", "edit", "view"])
def test_bootstrap_roles_are_what_the_loop_computes(name: str) -> None:
    roles = bootstrap_roles()
    role = next(role for role in roles if name_of(role) == name)
    assert aggregated_rules(role, roles) == role["rules"]


async def test_new_rules_reach_the_aggregated_roles_and_quiet_clusters_stay_quiet() -> None:
    clock = FakeClock()
    client = FakeClient(clock)
    await ensure_bootstrap(client)
    task = asyncio.create_task(run_role_aggregation(client, clock, lambda: None))
    await clock.settle()
    quiet = len(client.actions)
    await clock.advance(3600)
    assert len(client.actions) == quiet

    rule = {"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    await client.create(CLUSTER_ROLES, {"metadata": {"name": "widgets", "labels": labels}, "rules": [rule]})
    for _ in range(5):
        await clock.settle()
    for name in ("view", "edit", "admin"):
        assert rule in (await client.get(CLUSTER_ROLES, name))["rules"], name

    widgets = thaw(await client.get(CLUSTER_ROLES, "widgets"))
    widgets["rules"] = []
    await client.update(CLUSTER_ROLES, widgets)
    for _ in range(5):
        await clock.settle()
    assert rule not in (await client.get(CLUSTER_ROLES, "view"))["rules"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_roles_that_aggregate_each_other_and_themselves_come_to_rest() -> None:
    clock = FakeClock()
    client = FakeClient(clock)
    task = asyncio.create_task(run_role_aggregation(client, clock, lambda: None))
    await clock.settle()
    for name, takes in (("a", "x"), ("b", "y"), ("c", "z")):
        role = {
            "metadata": {"name": name, "labels": {"x": "1", "y": "1", "z": "1"}},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {takes: "1"}}]},
        }
        await client.create(CLUSTER_ROLES, role)
    rules = []
    for name, label in (("one", "x"), ("two", "y"), ("three", "z")):
        rules.append({"apiGroups": [""], "resources": [name], "verbs": ["get"]})
        await client.create(CLUSTER_ROLES, {"metadata": {"name": name, "labels": {label: "1"}}, "rules": rules[-1:]})
    for _ in range(10):
        await clock.settle()
    quiet = len(client.actions)
    await clock.advance(3600)
    assert len(client.actions) == quiet
    for name in ("a", "b", "c"):
        found = (await client.get(CLUSTER_ROLES, name))["rules"]
        assert sorted(found, key=str) == sorted(rules, key=str), name
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
