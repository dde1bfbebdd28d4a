"""The proxy subresource, as far as the API server answers itself. Nothing is sent to a pod."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

PODS = "/api/v1/namespaces/default/pods"
PROXY = f"{PODS}/p:80/proxy"


async def make_pod(http: aiohttp.ClientSession, address: str) -> None:
    body: dict[str, Any] = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    async with http.post(PODS, json=body) as answer:
        made = await answer.json()
        assert answer.status == 201, made
    made["status"] = {"podIP": address}
    async with http.put(f"{PODS}/p/status", json=made) as answer:
        assert answer.status == 200, await answer.text()


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        pytest.param("OPTIONS", f"{PROXY}/a", 403, id="a method that only backends have"),
        pytest.param("HEAD", f"{PROXY}/a", 403, id="head of a page"),
        pytest.param("OPTIONS", f"{PODS}/p", 405, id="the pod object has no such method"),
        pytest.param("POST", PROXY, 403, id="what writes is not sent elsewhere"),
    ],
)
async def test_methods(http: aiohttp.ClientSession, method: str, path: str, code: int) -> None:
    """The pod has an address that the proxy refuses to speak to."""
    await make_pod(http, "169.254.0.1")
    async with http.request(method, path) as answer:
        assert answer.status == code


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_page_without_a_path_is_at_its_folder(http: aiohttp.ClientSession, method: str) -> None:
    await make_pod(http, "10.42.0.9")
    async with http.request(method, f"{PROXY}?q=1", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (301, f"{PROXY}/?q=1")
