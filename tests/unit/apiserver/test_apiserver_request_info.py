"""What paths and methods mean."""

from __future__ import annotations

import pytest

from minikube_py.components.apiserver.http.negotiation import Form, negotiate
from minikube_py.components.apiserver.http.options import duration_seconds
from minikube_py.components.apiserver.http.request_info import parse_request
from minikube_py.machinery.errors import ApiError

CASES = {
    "list": ("GET", "/api/v1/namespaces/x/pods", ("list", "", "v1", "x", "pods", "", "")),
    "list-all": ("GET", "/api/v1/pods", ("list", "", "v1", "", "pods", "", "")),
    "get": ("GET", "/apis/apps/v1/namespaces/x/deployments/d", ("get", "apps", "v1", "x", "deployments", "d", "")),
    "watch-by-query": ("GET", "/api/v1/pods?watch=1", ("watch", "", "v1", "", "pods", "", "")),
    "watch-by-path": ("GET", "/api/v1/watch/namespaces/x/pods/p", ("watch", "", "v1", "x", "pods", "p", "")),
    "watch-off": ("GET", "/api/v1/pods?watch=false", ("list", "", "v1", "", "pods", "", "")),
    "name-by-selector": (
        "GET",
        "/api/v1/nodes?fieldSelector=metadata.name%3Dn",
        ("list", "", "v1", "", "nodes", "n", ""),
    ),
    "namespace": ("GET", "/api/v1/namespaces/x", ("get", "", "v1", "x", "namespaces", "x", "")),
    "finalize": ("PUT", "/api/v1/namespaces/x/finalize", ("update", "", "v1", "x", "namespaces", "x", "finalize")),
    "status": ("PATCH", "/api/v1/namespaces/x/pods/p/status", ("patch", "", "v1", "x", "pods", "p", "status")),
    "delete-many": ("DELETE", "/api/v1/namespaces/x/pods", ("deletecollection", "", "v1", "x", "pods", "", "")),
    "create": ("POST", "/api/v1/namespaces/x/pods", ("create", "", "v1", "x", "pods", "", "")),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_resource_paths(case: tuple[str, str, tuple[str, ...]]) -> None:
    method, target, expected = case
    info = parse_request(method, target)
    found = (info.verb, info.group, info.version, info.namespace, info.resource, info.name, info.subresource)
    assert info.resource_request
    assert found == expected


@pytest.mark.parametrize("path", ["/", "/version", "/api", "/apis/apps/v1", "/healthz/ping"])
def test_other_paths(path: str) -> None:
    info = parse_request("GET", path)
    assert not info.resource_request
    assert info.attributes().verb == "get"


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        pytest.param("OPTIONS", "/api/v1/namespaces/x/pods/p:80/proxy/a", True, id="options of a pod"),
        pytest.param("HEAD", "/api/v1/namespaces/x/services/s/proxy/", True, id="head of a service"),
        pytest.param("GET", "/api/v1/namespaces/x/services/s/proxy/", False, id="a method that resources have"),
        pytest.param("OPTIONS", "/api/v1/namespaces/x/pods/p", False, id="options of the pod object"),
    ],
)
def test_methods_that_only_backends_have(method: str, path: str, wanted: bool) -> None:
    assert parse_request(method, path).only_proxied == wanted


def test_proxy_rest_keeps_its_slashes() -> None:
    info = parse_request("GET", "/api/v1/namespaces/x/services/http:s:80/proxy/a//b/?q=1")
    assert (info.name, info.subresource, info.rest) == ("http:s:80", "proxy", "/a//b/")


ACCEPTS = {
    "": Form(),
    "*/*": Form(),
    "application/xml, application/json;q=0.5": Form(),
    "text/html,application/xhtml+xml,*/*;q=0.8": Form(),
    "application/json;as=Table;v=v1;g=meta.k8s.io": Form(view="Table"),
    "application/json;as=Table;v=v9;g=meta.k8s.io,application/json": Form(),
    "application/yaml": Form("application/yaml"),
}


@pytest.mark.parametrize("accept", ACCEPTS)
def test_negotiation(accept: str) -> None:
    assert negotiate(accept, "", "test/1") == ACCEPTS[accept]


def test_kinds_without_tables() -> None:
    """Reviews have none: a Table alone is refused, and passed over when something else will do."""
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    with pytest.raises(ApiError) as refused:
        negotiate(table, "", "test/1", tables=False)
    assert refused.value.code == 406
    assert negotiate(f"{table},application/json", "", "test/1", tables=False) == Form()


@pytest.mark.parametrize("accept", ["text/yaml", "application/*", "garbage"])
def test_not_acceptable(accept: str) -> None:
    with pytest.raises(ApiError) as refused:
        negotiate(accept, "", "test/1")
    assert refused.value.code == 406


@pytest.mark.parametrize(("text", "seconds"), [("1m30s", 90.0), ("0", 0.0), ("1.5s", 1.5), ("abc", None), ("5", None)])
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("a=1&b=2;c&d=3", {"a": "1", "d": "3"}, id="a semicolon"),
        pytest.param("a=%zz&b=%41", {"b": "A"}, id="a broken escape of a value"),
        pytest.param("%4=1&b=2", {"b": "2"}, id="a broken escape of a name"),
    ],
)
def test_pairs_that_are_no_parameters(query: str, expected: dict[str, str]) -> None:
    """They are left out, as in Go; the others count."""
    assert parse_request("GET", f"/api/v1/pods?{query}").query == expected


@pytest.mark.parametrize("path", ["/api/v1/watch", "/api/v1/proxy", "/apis/apps/v1/watch"])
def test_paths_that_mean_nothing(path: str) -> None:
    assert parse_request("GET", path).malformed
