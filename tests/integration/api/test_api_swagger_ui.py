"""Swagger UI in a real browser: the page shows the API and asks no other host for anything."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from api_process import Running

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_SECONDS = 200
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--no-first-run", "--disable-sync", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--virtual-time-budget=60000", "--dump-dom",
)  # fmt: skip
"""Names of hosts lead nowhere. Virtual time stands still while the page loads something."""


@pytest.fixture
async def proxy(running: Running) -> AsyncIterator[tuple[TestServer, list[str]]]:
    """The server as the administrator sees it, like ``kubectl proxy``; and the paths that were asked for."""
    asked: list[str] = []
    connector = aiohttp.TCPConnector(ssl=False)
    headers = {"Authorization": f"Bearer {running.token}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers, auto_decompress=False) as session:

        async def pass_on(request: web.Request) -> web.Response:
            asked.append(request.path)
            async with session.get(f"https://127.0.0.1:{running.port}{request.raw_path}") as answer:
                kept = ("Content-Type", "Content-Encoding", "Content-Security-Policy")
                shown = {name: answer.headers[name] for name in kept if name in answer.headers}
                return web.Response(status=answer.status, body=await answer.read(), headers=shown)

        app = web.Application()
        app.router.add_get("/{path:.*}", pass_on)
        async with TestServer(app) as server:
            yield server, asked


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
async def test_the_page_shows_the_api(proxy: tuple[TestServer, list[str]], tmp_path: Path) -> None:
    assert CHROMIUM is not None
    server, asked = proxy
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", f"http://127.0.0.1:{server.port}/swagger-ui/",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    page = output.decode(errors="replace")
    assert "opblock-tag-section" in page, f"no operations in the page; asked for {asked}\n{page[:2000]}"
    assert "core_v1" in page
    assert not re.search("Failed to load|Resolver error", page)
    assert "/openapi/v3/api/v1" in asked
