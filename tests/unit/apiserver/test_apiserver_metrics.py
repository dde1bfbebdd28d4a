"""/metrics: Kubernetes' names, types and labels, and counts that move with what happens."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from minikube_py.client.clock import SystemClock
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.apiserver.metrics.composition import ApiServerMetrics
from minikube_py.components.apiserver.metrics.exposition import exposition, lines
from minikube_py.components.apiserver.metrics.process import count_handshake_errors
from minikube_py.components.apiserver.metrics.storage import cache_families
from minikube_py.components.apiserver.metrics.values import Counts, Definition, Distribution, Distributions, Family
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.machinery.resources import CONFIG_MAPS
from tests.unit.apiserver.metrics_facts import FACTS

MAPS = "/api/v1/namespaces/x/configmaps"
Scrape = Callable[[], Awaitable["Page"]]


class Page:
    """A page of /metrics: types by name, and values by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.types: dict[str, str] = {}
        self.help: set[str] = set()
        self.values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                name, kind = line.split()[2:]
                assert name not in self.types, f"{name} twice"
                self.types[name] = kind
            elif line.startswith("# HELP "):
                self.help.add(line.split()[2])
            else:
                found = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line)
                assert found is not None, line
                labels = frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
                assert (found[1], labels) not in self.values, f"{line} twice"
                self.values[found[1], labels] = float(found[3])

    def labels(self, name: str) -> set[str]:
        """The names of the labels of all samples of a family."""
        names = {name, f"{name}_bucket", f"{name}_sum", f"{name}_count"}
        found = {label for (sample, labels) in self.values for label, _ in labels if sample in names}
        return found - {"le"}

    def __call__(self, family: str, /, **labels: str) -> float:
        """The sum of the samples with these label values."""
        wanted = set(labels.items())
        return sum(value for (sample, found), value in self.values.items() if sample == family and wanted <= found)


@pytest.fixture
async def scrape(http: aiohttp.ClientSession) -> AsyncIterator[Scrape]:
    async def get() -> Page:
        async with http.get("/metrics") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return Page(await answer.text())

    yield get


async def put(http: aiohttp.ClientSession, name: str = "a", **data: str) -> dict[str, object]:
    async with http.post(MAPS, json={"metadata": {"name": name}, "data": data}) as answer:
        assert answer.status == 201
        found: dict[str, object] = await answer.json()
        return found


async def test_names_types_and_labels_are_those_of_kubernetes(
    api: ApiServer, http: aiohttp.ClientSession, scrape: Scrape
) -> None:
    await put(http)
    page = await scrape()
    defined = {family.definition.name: family.definition for family in api.metrics.families()}
    wrong = []
    for fact in FACTS.strip().splitlines():
        name, kind, *rest = fact.split()
        labels = set(rest[0].split(",")) if rest else set()
        if name in defined:
            found = defined[name].type, set(defined[name].labels)
        else:  # what other rooms register at prometheus_client
            found = page.types.get(name, ""), page.labels(name) or labels
        if found != (kind, labels):
            wrong.append((fact, found))
    assert not wrong
    assert page.help == page.types.keys()
    assert page("process_resident_memory_bytes") > 0
    assert page("kubernetes_build_info", major="1", minor="36") == 1
    assert page("version_info", component="kube", binary="1.36") == 1
    assert all(page.types[name] == defined[name].type for name in page.types.keys() & defined.keys())
    missing = {family.definition.name for family in api.metrics.families() if list(family.samples)} - page.types.keys()
    assert missing <= {"etcd_requests_total"}


async def test_requests_are_counted(http: aiohttp.ClientSession, scrape: Scrape) -> None:
    await put(http, k="v" * 2000)
    labels = {"group": "", "version": "v1", "resource": "configmaps", "subresource": "", "component": "apiserver"}
    for headers in ({}, {"Accept-Language": "en"}):  # the quick way, and the ordinary one
        async with http.get(f"{MAPS}/a", headers={"User-Agent": "kube-scheduler/v1", **headers}) as answer:
            assert answer.status == 200
    async with http.get(f"{MAPS}/none") as answer:
        assert answer.status == 404
    async with http.post(f"{MAPS}?dryRun=All&fieldValidation=Strict", json={"metadata": {"name": "b"}}) as answer:
        assert answer.status == 201
    page = await scrape()
    get = {**labels, "verb": "GET", "scope": "resource"}
    assert page("apiserver_request_total", **get, code="200", system_client="kube-scheduler", dry_run="") == 2
    assert page("apiserver_request_total", **get, code="404", system_client="") == 1
    assert page("apiserver_request_total", **labels, verb="POST", dry_run="All", code="201") == 1
    assert page("apiserver_request_duration_seconds_count", **get) == 3
    assert page("apiserver_request_duration_seconds_bucket", **get, le="60") == 3
    assert page("apiserver_request_sli_duration_seconds_count", **labels, verb="POST", scope="resource") == 2
    assert page("apiserver_response_sizes_count", **get) == 3
    assert page("apiserver_response_sizes_bucket", **get, le="1000") == 1
    assert page("apiserver_request_body_size_bytes_sum", resource="configmaps", verb="create") > 2000
    assert page("field_validation_request_duration_seconds_count", field_validation="Strict") == 1
    assert page("apiserver_current_inflight_requests", request_kind="readOnly") == 1  # the scrape itself
    assert page("apiserver_current_inflight_requests", request_kind="mutating") == 0
    assert page("authenticated_user_requests", username="admin") == 6
    assert page("authentication_attempts", result="success") == 6
    assert page("authorization_attempts_total", result="allowed") == 6
    assert page("authentication_duration_seconds_count", result="success") == 6
    assert page("apiserver_request_filter_duration_seconds_count", filter="authorization") == 6


async def test_deprecated_apis_are_named(http: aiohttp.ClientSession, scrape: Scrape) -> None:
    async with http.get("/api/v1/endpoints") as answer:
        assert answer.status == 200
    page = await scrape()
    assert page("apiserver_requested_deprecated_apis", resource="endpoints", version="v1", removed_release="") == 1
    assert page("apiserver_requested_deprecated_apis") == 1


async def test_caches_and_the_store(http: aiohttp.ClientSession, scrape: Scrape, api: ApiServer) -> None:
    await put(http)
    await put(http, "b", k="v")
    async with http.post(MAPS, json={"metadata": {"name": "b"}}) as answer:
        assert answer.status == 409
    kind = {"group": "", "resource": "configmaps"}
    async with http.get(MAPS) as answer:
        revision = (await answer.json())["metadata"]["resourceVersion"]
    async with http.get(f"{MAPS}?resourceVersion=0") as answer:
        assert answer.status == 200
    async with http.delete(f"{MAPS}/b") as answer:
        assert answer.status == 200
    async with http.get(f"{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact") as answer:
        assert len((await answer.json())["items"]) == 2
    page = await scrape()
    assert page("apiserver_resource_objects", **kind) == page("apiserver_storage_objects", resource="configmaps") == 1
    [cache] = [found for found in api.core.caches.all() if found.resource.plural == "configmaps"]
    assert page("apiserver_resource_size_estimate_bytes", **kind) == sum(len(e.item) for e in cache.unordered()) > 0
    assert page("apiserver_watch_cache_events_received_total", **kind) == 3
    assert page("apiserver_storage_events_received_total", **kind) == 3
    assert page("apiserver_watch_cache_resource_version", **kind) == cache.revision
    assert page("apiserver_cache_list_total", **kind, index="") == 2
    assert page("apiserver_cache_list_fetched_objects_total", **kind) == 4
    assert page("apiserver_cache_list_returned_objects_total", **kind) == 4
    assert page("apiserver_watch_cache_consistent_read_total", **kind, success="true", fallback="false") == 1
    assert page("apiserver_watch_cache_read_wait_seconds_count", **kind) == 1
    assert page("apiserver_storage_list_total", **kind) == 1
    assert page("apiserver_storage_list_returned_objects_total", **kind) == 2
    for operation, count in (("create", 3), ("delete", 1), ("list", 1)):
        assert page("etcd_requests_total", **kind, operation=operation) == count
        assert page("etcd_request_duration_seconds_count", **kind, operation=operation) == count
    assert page("etcd_request_errors_total") == 0
    assert page("apiserver_storage_size_bytes", storage_cluster_id="etcd-0") > 0


async def test_watches(http: aiohttp.ClientSession, scrape: Scrape) -> None:
    await put(http)
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with http.get(f"{MAPS}?{query}") as answer:
        for _ in range(2):
            await answer.content.readline()
        running = await scrape()
        await put(http, "b", k="v" * 3000)
        await answer.content.readline()
        page = await scrape()
    labels = {"group": "", "version": "v1", "resource": "configmaps"}
    assert running("apiserver_longrunning_requests", **labels, verb="WATCH", scope="namespace") == 1
    assert page("apiserver_watch_events_total", **labels) == 2
    assert page("apiserver_watch_events_sizes_bucket", **labels, le="1024") == 1
    assert page("apiserver_watch_list_duration_seconds_count", **labels, scope="namespace") == 1
    for _ in range(1000):  # the server sees the end of the connection a little later
        left = (await scrape())("apiserver_longrunning_requests", **labels, verb="WATCH")
        if not left:
            break
        await asyncio.sleep(0.01)
    assert not left


async def test_updates_are_compared(http: aiohttp.ClientSession, scrape: Scrape) -> None:
    await put(http)
    for value in ("1", "1"):
        patch = {"data": {"k": value}}
        headers = {"Content-Type": "application/merge-patch+json"}
        async with http.patch(f"{MAPS}/a", json=patch, headers=headers) as answer:
            assert answer.status == 200
    page = await scrape()
    assert page("apiserver_request_timestamp_comparison_time_count", code_path="unequalObjectsSlow") == 1
    assert page("apiserver_request_timestamp_comparison_time_count", code_path="equalObjectsSlow") == 1


async def test_services(http: aiohttp.ClientSession, scrape: Scrape, api: ApiServer) -> None:
    before = await scrape()
    for name, spec in (("a", {}), ("b", {"clusterIP": "10.43.0.77"}), ("c", {"type": "NodePort"})):
        body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}
        async with http.post("/api/v1/namespaces/x/services", json=body) as answer:
            assert answer.status == 201
    async with http.post("/api/v1/namespaces/x/services", json={**body, "metadata": {"name": "d"}, "spec": {
        "clusterIP": "10.43.0.77", "ports": [{"port": 80}]}}) as answer:  # fmt: skip
        assert answer.status == 422
    page, cidr = await scrape(), api.settings.service_ranges.network
    prefix = "kube_apiserver_clusterip_allocator"
    assert page(f"{prefix}_allocated_ips", cidr=cidr) - before(f"{prefix}_allocated_ips", cidr=cidr) == 3
    assert before(f"{prefix}_available_ips", cidr=cidr) - page(f"{prefix}_available_ips", cidr=cidr) == 3
    assert page(f"{prefix}_allocation_total", cidr=cidr, scope="dynamic") == 2
    assert page(f"{prefix}_allocation_total", cidr=cidr, scope="static") == 1
    assert page(f"{prefix}_allocation_errors_total", cidr=cidr, scope="static") == 1
    assert page(f"{prefix}_allocation_duration_seconds_count", cidr=cidr) == 3
    assert page("kube_apiserver_nodeport_allocator_allocated_ports") == 1
    assert page("kube_apiserver_nodeport_allocator_available_ports") == 2767


def test_handshakes_that_fail() -> None:
    failures: list[int] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    count_handshake_errors(context, lambda: failures.append(1))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    side = context.wrap_bio(incoming, outgoing, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        side.do_handshake()
    assert not failures
    incoming.write(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        side.do_handshake()
    assert failures == [1]


def text_of(family: Family) -> str:
    return "".join(lines(family))


def test_the_text_format() -> None:
    counter = Counts(Definition("a_count", "counter", "Help\nwith \\ in it", ("z", "b")))
    counter.inc(('q"u\\o\nte', "1"), 2)
    assert text_of(counter.family()) == (
        '# HELP a_count Help\\nwith \\\\ in it\n# TYPE a_count counter\na_count{b="1",z="q\\"u\\\\o\\nte"} 2\n'
    )
    times = Distributions(Definition("t", "histogram", "h", (), (0.5, 2)))
    for value in (0.5, 1.0, 3.0):
        times.observe((), value)
    assert text_of(times.family()).splitlines()[2:] == [
        't_bucket{le="0.5"} 1', 't_bucket{le="2"} 2', 't_bucket{le="+Inf"} 3', "t_sum 4.5", "t_count 3",
    ]  # fmt: skip
    assert text_of(Family(Definition("s", "summary", "h"), list(times.values.items()))).endswith(
        "s_sum 4.5\ns_count 3\n"
    )
    assert text_of(Counts(counter.definition).family()) == ""


def test_fewer_bounds() -> None:
    fine = Distribution((1, 2, 3, 4))
    for value in (0.5, 1.5, 2.5, 3.5, 9):
        fine.observe(value)
    coarse = fine.under((2, 4))
    assert coarse.counts == [2, 2, 1]
    assert coarse.total == fine.total


async def test_a_scrape_of_many_samples_lets_others_run() -> None:
    counts = Counts(Definition("many", "counter", "h", ("x",)))
    for number in range(5000):
        counts.inc((str(number),))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert (await exposition([lambda: [counts.family()]])).count(b"\n") == 5002
    task.cancel()
    assert turns > 4


async def test_a_queue_counts_its_work() -> None:
    metrics, queue = ApiServerMetrics(), WorkQueue[str](SystemClock(), name="job")
    metrics.queues.add(queue)
    queue.add("a")
    queue.add("b")
    await queue.get()
    page = Page((await metrics.text()).decode())
    assert page("workqueue_adds_total", name="job") == 2
    assert page("workqueue_depth", name="job") == 1
    assert page("workqueue_queue_duration_seconds_count", name="job") == 1
    assert page("workqueue_longest_running_processor_seconds", name="job") > 0
    queue.done("a")
    page = Page((await metrics.text()).decode())
    assert page("workqueue_work_duration_seconds_count", name="job") == 1
    assert page("workqueue_unfinished_work_seconds", name="job") == 0
    queue.shut_down()


def test_a_cache_that_saw_nothing_shows_its_objects_alone(api: ApiServer) -> None:
    caches = [cache for cache in api.core.caches.all() if cache.resource.plural == "configmaps"]
    shown = {family.definition.name for family in cache_families(caches, 7) if list(family.samples)}
    assert "apiserver_resource_objects" in shown
    assert "apiserver_cache_list_total" not in shown


async def test_what_the_server_asks_itself(api: ApiServer, http: aiohttp.ClientSession, scrape: Scrape) -> None:
    client = api.client()
    await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "x")
    await client.get(CONFIG_MAPS, "a", "x")
    await api.client(UserInfo("somebody")).get(CONFIG_MAPS, "a", "x")
    page = await scrape()
    assert page("apiserver_selfrequest_total", verb="POST", resource="configmaps", group="", subresource="") == 1
    assert page("apiserver_selfrequest_total", verb="GET", resource="configmaps") == 1


async def test_expressions_are_timed(http: aiohttp.ClientSession, scrape: Scrape) -> None:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"n": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "!has(self.n) || self.n > 0"}]}}}  # fmt: skip
    names = {"plural": "marks", "singular": "mark", "kind": "Mark", "listKind": "MarkList"}
    crd = {"metadata": {"name": "marks.example.com"},
           "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}}  # fmt: skip
    async with http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=crd) as answer:
        assert answer.status == 201
    body = {"apiVersion": "example.com/v1", "kind": "Mark", "metadata": {"name": "a"}, "n": 1}
    async with asyncio.timeout(30):
        while True:
            async with http.post("/apis/example.com/v1/namespaces/x/marks", json=body) as answer:
                if answer.status == 201:
                    break
            await asyncio.sleep(0.01)
    page = await scrape()
    assert page("apiserver_cel_compilation_duration_seconds_count") >= 1
    assert page("apiserver_cel_evaluation_duration_seconds_count") >= 1
