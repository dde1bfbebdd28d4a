"""Aggregated cluster roles: their rules are the rules of all cluster roles that their selectors match.

A control loop (``clusterrole-aggregation-controller``), run by the server beside the controllers: a
change of any cluster role queues the aggregated ones, whose rules are written when they differ. An idle
cluster queues nothing. Same rules as ``pkg/controller/clusterroleaggregation``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from minikube_py.client.controller import run_controller
from minikube_py.client.types import Client, EventType, Informer, WriteOptions
from minikube_py.client.workqueue import WorkQueue
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, labels_of, name_of, thaw
from minikube_py.machinery.resources import CLUSTER_ROLES
from minikube_py.machinery.selectors import selector_from_label_selector

NAME = "clusterrole-aggregation-controller"


async def run_role_aggregation(client: Client, clock: Clock, ready: Callable[[], None]) -> None:
    """Keep aggregated roles up to date until cancelled."""
    roles = client.informer(CLUSTER_ROLES)
    queue: WorkQueue[str] = WorkQueue(clock, name=NAME)

    def changed(type: EventType, role: Object, previous: Object | None) -> None:
        for other in roles.list():
            if other.get("aggregationRule"):
                queue.add(name_of(other))

    async def reconcile(name: str) -> None:
        await reconcile_role(client, roles, name)

    await roles.synced()
    unsubscribe = roles.subscribe(changed)
    ready()
    try:
        await run_controller(queue, reconcile, name=NAME, clock=clock, workers=1)
    finally:
        unsubscribe()


async def reconcile_role(client: Client, roles: Informer, name: str) -> None:
    """Write the role's rules when they are not what its selectors give. Raises ApiError (Conflict: try again)."""
    role = roles.get(name)
    if role is None or not role.get("aggregationRule"):
        return
    rules = aggregated_rules(role, roles.list())
    if (role.get("rules") or []) == rules:
        return
    draft = thaw(role)
    draft["rules"] = thaw(rules)
    try:
        await client.update(CLUSTER_ROLES, draft, options=WriteOptions(field_manager=NAME))
    except ApiError as error:
        if not is_not_found(error):  # deleted in the meantime
            raise


def aggregated_rules(role: Object, others: Iterable[Object]) -> list[Object]:
    """The rules of the selected roles, by selector and then by name; equal rules appear once."""
    listed = sorted((other for other in others if name_of(other) != name_of(role)), key=name_of)
    rules: list[Object] = []
    for wanted in role["aggregationRule"].get("clusterRoleSelectors") or ():
        selector = selector_from_label_selector(wanted)
        for other in listed:
            if selector.matches(labels_of(other)):
                rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules
