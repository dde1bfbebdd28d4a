"""Which flow a request belongs to, who gets a seat, and that every seat comes back."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.bootstrap.policy import FLOW_SCHEMAS, PRIORITY_LEVELS, bootstrap_sections
from minikube_py.components.apiserver.flowcontrol.control import Flow, FlowControl, Seat, TooManyRequests
from minikube_py.components.apiserver.flowcontrol.in_flight import limit_in_flight
from minikube_py.components.apiserver.flowcontrol.level import Limits, deal, read_limits
from minikube_py.components.apiserver.flowcontrol.metrics import FlowMetrics
from minikube_py.components.apiserver.flowcontrol.schemas import Schema, compile_schema
from minikube_py.components.apiserver.flowcontrol.width import seats_of
from minikube_py.components.apiserver.types import ANONYMOUS, Attributes, UserInfo

SOON = 5.0
ALICE = UserInfo("alice", ("system:authenticated",))
BOB = UserInfo("bob", ("system:authenticated",))
MASTER = UserInfo("admin", ("system:masters", "system:authenticated"))
NODE = UserInfo("system:node:n", ("system:nodes", "system:authenticated"))
ACCOUNT = UserInfo("system:serviceaccount:a:b", ("system:serviceaccounts", "system:authenticated"))
SYSTEM_ACCOUNT = UserInfo("system:serviceaccount:kube-system:x", ("system:serviceaccounts", "system:authenticated"))
MANAGER = UserInfo("system:kube-controller-manager", ("system:authenticated",))


def resource(
    verb: str, name: str = "pods", *, group: str = "", namespace: str = "default", subresource: str = ""
) -> Attributes:
    return Attributes(
        verb, "/x", resource_request=True, group=group, version="v1", resource=name, namespace=namespace,
        subresource=subresource,
    )  # fmt: skip


def path(text: str, verb: str = "get") -> Attributes:
    return Attributes(verb, text)


def control(total: int = 600, schemas: list[Schema] | None = None, levels: list[Limits] | None = None) -> FlowControl:
    made = FlowControl(total, FakeClock(), FlowMetrics(CollectorRegistry()))
    if schemas is None:
        found = {section.resource: section.objects for section in bootstrap_sections()}
        made.configure(map(compile_schema, found[FLOW_SCHEMAS]), map(read_limits, found[PRIORITY_LEVELS]))
    else:
        made.configure(schemas, levels or [])
    return made


@pytest.mark.parametrize(
    ("user", "attributes", "schema", "level"),
    [
        (MASTER, resource("delete"), "exempt", "exempt"),
        (ANONYMOUS, path("/healthz"), "probes", "exempt"),
        (ANONYMOUS, path("/version"), "global-default", "global-default"),
        (ALICE, path("/version"), "global-default", "global-default"),
        (ALICE, resource("list"), "global-default", "global-default"),
        (NODE, resource("update", "nodes", namespace="", subresource="status"), "system-node-high", "node-high"),
        (NODE, resource("update", "leases", group="coordination.k8s.io"), "system-node-high", "node-high"),
        (NODE, resource("list", "pods"), "system-nodes", "system"),
        (MANAGER, resource("list", "pods"), "kube-controller-manager", "workload-high"),
        (MANAGER, resource("get", "leases", group="coordination.k8s.io", namespace="kube-system"),
         "system-leader-election", "leader-election"),
        (SYSTEM_ACCOUNT, resource("list"), "kube-system-service-accounts", "workload-high"),
        (ACCOUNT, resource("list"), "service-accounts", "workload-low"),
    ],
)  # fmt: skip
def test_bootstrap_schemas_sort_requests(user: UserInfo, attributes: Attributes, schema: str, level: str) -> None:
    flow = control().classify(user, attributes)
    assert flow is not None
    assert (flow.schema.name, flow.level.limits.name) == (schema, level)


def test_shares_become_seats() -> None:
    flow = control().classify(ALICE, resource("get"))
    # 20 of the 245 shares of the bootstrap levels, rounded up.
    assert flow is not None
    assert flow.level.nominal == 49


POD_RULE = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
EVERY_RULE = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}


@pytest.mark.parametrize(
    ("rule", "attributes", "matches"),
    [
        (POD_RULE | {"namespaces": ["a"]}, resource("get", namespace="a"), True),
        (POD_RULE | {"namespaces": ["b"]}, resource("get", namespace="a"), False),
        (EVERY_RULE | {"namespaces": ["*"]}, resource("get", namespace=""), False),
        (EVERY_RULE | {"clusterScope": True}, resource("get", namespace=""), True),
        (POD_RULE | {"namespaces": ["*"]}, resource("get", subresource="log"), False),
        (POD_RULE | {"resources": ["pods/log"], "namespaces": ["*"]}, resource("get", subresource="log"), True),
    ],
)
def test_resource_rules(rule: dict[str, object], attributes: Attributes, matches: bool) -> None:
    subject = {"kind": "User", "user": {"name": "alice"}}
    schema = compile_schema(
        {"metadata": {"name": "s"}, "spec": {"rules": [{"subjects": [subject], "resourceRules": [rule]}]}}
    )
    assert schema.matches(ALICE, attributes) is matches
    assert not schema.matches(BOB, attributes)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [("/healthz", "/healthz", True), ("/healthz", "/healthz/x", False), ("/apis/*", "/apis/x", True), ("*", "/", True)],
)
def test_path_rules(pattern: str, text: str, matches: bool) -> None:
    rule = {
        "subjects": [{"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "*"}}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": [pattern]}],
    }
    schema = compile_schema({"metadata": {"name": "s"}, "spec": {"rules": [rule]}})
    assert schema.matches(ACCOUNT, path(text)) is matches
    assert not schema.matches(SYSTEM_ACCOUNT, path(text))


@given(st.text(), st.integers(1, 200), st.integers(1, 10))
def test_hands_are_dealt_without_repetition(flow: str, deck: int, size: int) -> None:
    hand = deal(flow, deck, size)
    assert len(set(hand)) == len(hand) == min(size, deck)
    assert all(0 <= card < deck for card in hand)
    assert hand == deal(flow, deck, size)


@pytest.mark.parametrize(
    ("verb", "name", "limit", "stored", "seats"),
    [
        ("get", "x", "", 5000, 1),
        ("create", "", "", 5000, 1),
        ("list", "", "", 0, 1),
        ("list", "", "", 100, 1),
        ("list", "", "", 101, 2),
        ("list", "", "", 5000, 10),
        ("list", "", "50", 5000, 1),
        ("list", "", "0", 5000, 10),
        ("list", "", "nonsense", 5000, 10),
        ("list", "one", "", 5000, 1),
    ],
)
def test_width(verb: str, name: str, limit: str, stored: int, seats: int) -> None:
    assert seats_of(verb, name, limit, lambda: stored) == seats


def limits(name: str, **options: object) -> Limits:
    given_ = {"shares": 1, "queues": 8, "hand_size": 2, "queue_length": 10, **options}
    return Limits(name, **given_)  # type: ignore[arg-type]


def schema_for(level: str, user: str, distinguisher: str = "ByUser") -> Schema:
    rule = {
        "subjects": [{"kind": "User", "user": {"name": user}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}],
    }
    spec = {
        "rules": [rule],
        "distinguisherMethod": {"type": distinguisher},
        "priorityLevelConfiguration": {"name": level},
    }
    return compile_schema({"metadata": {"name": f"{level}-{user}"}, "spec": spec})


def flow_of(made: FlowControl, user: UserInfo = ALICE) -> Flow:
    flow = made.classify(user, resource("get"))
    assert flow is not None
    return flow


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_full_level_queues_then_refuses() -> None:
    made = control(2, [schema_for("l", "*")], [limits("l", queues=1, hand_size=1, queue_length=2)])
    flow = flow_of(made)
    seats = [await made.enter(flow, 1, SOON) for _ in range(2)]
    waiting = [asyncio.create_task(made.enter(flow, 1, SOON)) for _ in range(2)]
    await settle()
    with pytest.raises(TooManyRequests, match="queue-full"):
        await made.enter(flow, 1, SOON)
    for seat in seats:
        assert seat is not None
        made.leave(seat)
    served = await asyncio.gather(*waiting)
    for seat in served:
        assert seat is not None
        made.leave(seat)
    await settle()
    assert (flow.level.serving, flow.level.waiting) == (0, 0)


async def test_a_level_without_queues_refuses_at_once() -> None:
    made = control(1, [schema_for("l", "*")], [limits("l", queues=0)])
    flow = flow_of(made)
    await made.enter(flow, 1, SOON)
    with pytest.raises(TooManyRequests, match="concurrency-limit"):
        await made.enter(flow, 1, SOON)


async def test_waiting_ends_in_time_and_leaves_nothing() -> None:
    made = control(1, [schema_for("l", "*")], [limits("l")])
    flow = flow_of(made)
    seat = await made.enter(flow, 1, SOON)
    with pytest.raises(TooManyRequests, match="time-out"):
        await made.enter(flow, 1, 0.001)
    assert seat is not None
    made.leave(seat)
    await settle()
    assert (flow.level.serving, flow.level.waiting) == (0, 0)


async def test_a_cancelled_request_gives_its_place_and_its_seat_back() -> None:
    made = control(1, [schema_for("l", "*")], [limits("l")])
    flow = flow_of(made)
    seat = await made.enter(flow, 1, SOON)
    waiting = asyncio.create_task(made.enter(flow, 1, SOON))
    late = asyncio.create_task(made.enter(flow, 1, SOON))
    await settle()
    assert seat is not None
    made.leave(seat)
    await asyncio.sleep(0)
    # Cancelled in the turn in which it has got its seat, before it could run.
    waiting.cancel()
    got = await late
    assert got is not None
    made.leave(got)
    await settle()
    assert (flow.level.serving, flow.level.waiting) == (0, 0)


async def test_a_flood_does_not_hold_up_another_flow() -> None:
    """Two users, one with a hundred requests before the other's ten: the ten are served among the first."""
    made = control(2, [schema_for("l", "*")], [limits("l", queues=16, hand_size=3, queue_length=50)])
    order: list[str] = []

    async def request(user: UserInfo) -> None:
        seat = await made.enter(flow_of(made, user), 1, SOON)
        order.append(user.name)
        await asyncio.sleep(0)
        assert seat is not None
        made.leave(seat)

    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(request(ALICE))
        await asyncio.sleep(0)
        for _ in range(10):
            group.create_task(request(BOB))
    assert Counter(order) == {"alice": 100, "bob": 10}
    assert max(index for index, name in enumerate(order) if name == "bob") < 60


async def test_levels_borrow_what_others_lend_and_no_more() -> None:
    levels = [
        limits("busy", shares=2, borrowing_percent=100),
        limits("lender", shares=4, lendable_percent=50),
        limits("miser", shares=4, lendable_percent=0),
    ]
    made = control(10, [schema_for("busy", "alice"), schema_for("lender", "bob")], levels)
    flow = flow_of(made)
    for _ in range(4):  # 2 of its own, 2 of the lender's
        await made.enter(flow, 1, SOON)
    fifth = asyncio.create_task(made.enter(flow, 1, SOON))
    await settle()
    assert not fifth.done()
    for _ in range(4):  # the lender still gets all of its own
        assert await made.enter(flow_of(made, BOB), 1, SOON) is not None
    fifth.cancel()


async def test_a_wide_request_is_served_even_on_a_narrow_level() -> None:
    made = control(2, [schema_for("l", "*")], [limits("l")])
    seat = await made.enter(flow_of(made), 10, SOON)
    assert seat is not None


async def test_a_seat_stays_taken_until_the_next_turn() -> None:
    made = control(1, [schema_for("l", "*")], [limits("l")])
    flow = flow_of(made)
    seat = await made.enter(flow, 1, SOON)
    assert seat is not None
    made.leave(seat)
    assert flow.level.serving == 1
    await asyncio.sleep(0)
    assert flow.level.serving == 0


async def test_a_level_that_is_removed_serves_those_who_wait() -> None:
    made = control(1, [schema_for("l", "*")], [limits("l")])
    flow = flow_of(made)
    await made.enter(flow, 1, SOON)
    waiting = [asyncio.create_task(made.enter(flow, 1, SOON)) for _ in range(3)]
    await settle()
    made.configure([], [])
    assert all(seat is not None for seat in await asyncio.gather(*waiting))
    assert made.classify(ALICE, resource("get")) is None


async def test_plain_limits_when_switched_off() -> None:
    made = FlowControl(3, FakeClock(), FlowMetrics(CollectorRegistry()))
    limit_in_flight(made, 2, 1)
    write = made.classify(ALICE, resource("create"))
    read = made.classify(ALICE, resource("list"))
    assert write is not None
    assert read is not None
    await made.enter(write, 1, SOON)
    with pytest.raises(TooManyRequests):
        await made.enter(write, 1, SOON)
    await made.enter(read, 1, SOON)
    assert made.classify(MASTER, resource("create")) is not write


def test_metrics_have_kubernetes_names() -> None:
    registry = CollectorRegistry()
    made = FlowControl(10, FakeClock(), FlowMetrics(registry))
    made.configure([schema_for("l", "*")], [limits("l", lendable_percent=30)])
    assert made.classify(ALICE, resource("get")) is not None
    text = generate_latest(registry).decode()
    assert 'apiserver_flowcontrol_nominal_limit_seats{priority_level="l"} 10.0' in text
    assert 'apiserver_flowcontrol_lower_limit_seats{priority_level="l"} 7.0' in text
    assert 'apiserver_flowcontrol_dispatched_requests_total{flow_schema="l-*",priority_level="l"} 0.0' in text


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["enter", "leave", "cancel", "turn"]), st.integers(0, 9)), max_size=60))
def test_every_seat_comes_back(steps: list[tuple[str, int]]) -> None:
    """Whatever happens in whatever order, in the end nothing is taken and nobody waits."""

    async def run() -> None:
        made = control(3, [schema_for("l", "*")], [limits("l", queues=3, hand_size=2, queue_length=4)])
        flow = flow_of(made)
        tasks: list[asyncio.Task[Seat | None]] = []
        for what, number in steps:
            if what == "enter":
                tasks.append(asyncio.create_task(made.enter(flow, 1 + number % 3, SOON)))
            elif what == "turn":
                await asyncio.sleep(0)
            elif tasks:
                task = tasks[number % len(tasks)]
                if what == "cancel":
                    task.cancel()
                elif task.done() and not task.cancelled() and task.exception() is None:
                    tasks.remove(task)
                    seat = task.result()
                    assert seat is not None
                    made.leave(seat)
        while tasks:
            await settle()
            for task in [task for task in tasks if task.done()]:
                tasks.remove(task)
                if not task.cancelled() and task.exception() is None:
                    seat = task.result()
                    assert seat is not None
                    made.leave(seat)
        await settle()
        assert (flow.level.serving, flow.level.waiting) == (0, 0)
        assert (flow.counts.executing, flow.counts.seats, flow.counts.waiting) == (0, 0, 0)

    asyncio.run(run())
