"""The page that shows the OpenAPI documents."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import aiohttp
import pytest

from minikube_py.components.apiserver.http import swagger_ui
from minikube_py.components.apiserver.http.request_info import parse_request


@pytest.mark.parametrize("path", ["/swagger-ui", "/swagger-ui/", "/swagger-ui/index.html"])
async def test_the_page_loads_its_parts_from_here_alone(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as answer:
        page = await answer.text()
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    parts = [piece.split('"')[0] for piece in page.replace('src="', 'href="').split('href="')[1:]]
    assert len(parts) == 5
    for part in parts:
        assert part.startswith("/swagger-ui/")
        async with http.get(part) as answer:
            assert answer.status == 200
            assert await answer.read()


async def test_it_offers_every_group_version(http: aiohttp.ClientSession) -> None:
    async with http.get("/openapi/v3") as answer:
        index = (await answer.json(content_type=None))["paths"]
    documents = {name for name in index if re.fullmatch(r"api/v\w+|apis/[^/]+/v\w+", name)}
    async with http.get("/swagger-ui/start.js") as answer:
        script = await answer.text()
    assert {piece.split('"')[0] for piece in script.split('"url":"/openapi/v3/')[1:]} == documents


@pytest.mark.parametrize("path", ["/swagger-ui/none.js", "/swagger-ui/../secret", "/swagger-uix"])
async def test_nothing_else_is_there(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as answer:
        assert answer.status == 404


async def test_without_the_package_the_answer_says_what_to_do(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise PackageNotFoundError(swagger_ui.PACKAGE)

    monkeypatch.setattr(swagger_ui, "_folder", missing)
    async with http.get("/swagger-ui") as answer:
        assert (answer.status, await answer.text()) == (404, swagger_ui.MISSING)


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/swagger-ui", "/openapi/v3"), ("/swagger-ui/start.js", "/openapi/v3"), ("/swagger-uix", "/swagger-uix")],
)
def test_who_may_read_the_documents_may_see_the_page(path: str, asked: str) -> None:
    assert parse_request("GET", path).attributes().path == asked
