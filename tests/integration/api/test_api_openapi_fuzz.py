"""Thousands of requests made up from the published OpenAPI documents: none of them is an error of the server.

``PYK3S_FUZZ_SECONDS`` and ``PYK3S_FUZZ_SEED`` make a longer or another run by hand.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import time
from random import Random

import aiohttp
from api_process import Running
from openapi_cases import Case, Maker, Operation, operations
from yarl import URL

SECONDS = float(os.environ.get("PYK3S_FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("PYK3S_FUZZ_SEED", "1"))
MOST_FAILURES = 20
PATIENCE_SECONDS = 120
LEAST_REQUESTS = 5_000


BARE_500 = re.compile(
    r"resourceVersion should not be set on objects to be created"
    r'|(resourceVersion: Invalid value: ".*": )?strconv\.ParseUint: parsing ".*": (invalid syntax|value out of range)'
    r"|\[?target\.(kind|name): .*"
    r"|map: .* does not contain declared merge key: \w+"
    r"|unknown patch type: .* in map: .*"
    r"|expected a .*, but received a .*"
    r"|list element types are not identical: .*"
    r"|unable to find api field in struct \w+ for the json field .*"
    r"|merging an object in json but data type is not struct, instead is: map",
    re.DOTALL,
)
"""What Kubernetes says of errors that it does not classify: revisions that are no numbers, wrong targets of bindings,
strategic patches that do not fit the object."""


def expected(code: int, body: bytes) -> bool:
    """Whether Kubernetes answers so too: 504 for a revision that is not there yet, a bare 500 for what it leaves so."""
    if code < 500:
        return True
    status = json.loads(body) if body[:1] == b"{" else {}
    message = status.get("message", "")
    if code == 504:
        return "Too large resource version" in message
    return code == 500 and "reason" not in status and BARE_500.fullmatch(message) is not None


async def test_no_request_is_an_error_of_the_server(running: Running) -> None:
    headers = {"Authorization": f"Bearer {running.token}", "User-Agent": "fuzz/1"}
    unverified = ssl._create_unverified_context()
    base = f"https://127.0.0.1:{running.port}"
    failures: list[str] = []
    requests, answered_well = 0, 0
    async with aiohttp.ClientSession(base, headers=headers, connector=aiohttp.TCPConnector(ssl=unverified)) as session:
        random = Random(SEED)
        targets = await _targets(session, random)
        ends = time.monotonic() + SECONDS
        while (requests < LEAST_REQUESTS or time.monotonic() < ends) and len(failures) < MOST_FAILURES:
            maker, operation = random.choice(targets)
            case = maker.case(operation)
            code, body = await _send(session, case)
            requests += 1
            answered_well += code < 300
            if not expected(code, body):
                failures.append(f"{code} {case.method} {case.path} {case.media_type} {case.body!r}: {body[:300]!r}")
    assert not failures, f"seed {SEED}, {requests} requests:\n" + "\n".join(failures)
    assert answered_well > requests / 20, "hardly any request was good enough to reach the registry"


async def _targets(session: aiohttp.ClientSession, random: Random) -> list[tuple[Maker, Operation]]:
    async with session.get("/openapi/v3") as answer:
        index = await answer.json(content_type=None)
    found: list[tuple[Maker, Operation]] = []
    for path in index["paths"]:
        async with session.get(f"/openapi/v3/{path}") as answer:
            document = await answer.json(content_type=None)
        maker = Maker(document, random)
        found += [(maker, operation) for operation in operations(path, document)]
    return found


async def _send(session: aiohttp.ClientSession, case: Case) -> tuple[int, bytes]:
    headers = {"Content-Type": case.media_type} if case.media_type else {}
    async with asyncio.timeout(PATIENCE_SECONDS):
        url = URL(case.path, encoded=True)
        async with session.request(case.method, url, data=case.body or None, headers=headers) as answer:
            return answer.status, await answer.read()
