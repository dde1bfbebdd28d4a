"""Audit events of a running server: what each level shows, and what strict logs refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from prometheus_client import CollectorRegistry

from minikube_py.client.clock import SystemClock
from minikube_py.components.apiserver.audit.file import FileSettings
from minikube_py.components.apiserver.audit.options import AuditSettings, build_auditor
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.settings import ApiServerSettings
from minikube_py.components.apiserver.types import (
    AUTHENTICATED,
    AdmissionRequest,
    Attributes,
    Credentials,
    Decision,
    UserInfo,
)
from minikube_py.datastore.sqlite import SqliteDatastore

URL = "/api/v1/namespaces/default/configmaps"
Events = Callable[[], list[dict[str, Any]]]


class Security:
    """The token is the name; bob may nothing; an admission plugin leaves an annotation."""

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        if not credentials.bearer_token:
            return None
        return UserInfo(credentials.bearer_token, (AUTHENTICATED,), uid="u1")

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        return (Decision.NO_OPINION, "not bob") if user.name == "bob" else (Decision.ALLOW, "because")

    async def admit(self, request: AdmissionRequest) -> None:
        request.audit_annotations["plugin.example.com/seen"] = "yes"

    async def validate(self, request: AdmissionRequest) -> None:
        return None


def of_clients(log: Path) -> list[dict[str, Any]]:
    """The events that are not the server's own requests."""
    events = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    return [event for event in events if event.get("userAgent") == "test/1"]


@pytest.fixture
async def audited(store: SqliteDatastore, tmp_path: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def start(rules: str, mode: str = "blocking") -> AsyncIterator[tuple[aiohttp.ClientSession, Events]]:
        policy, log = tmp_path / "policy.yaml", tmp_path / "audit.log"
        policy.write_text(f"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}\n")
        clock, registry = SystemClock(), CollectorRegistry()
        settings = AuditSettings(policy_file=str(policy), log=FileSettings(str(log)), log_mode=mode)
        auditor = await asyncio.to_thread(build_auditor, settings, clock, registry)
        api = ApiServer(ApiServerSettings(port=0), store, clock, registry, auditor=auditor)
        security = Security()
        api.secure(security, security, security, {})
        ready = asyncio.Event()
        running = asyncio.create_task(api.run(ready.set))
        await ready.wait()
        headers = {"User-Agent": "test/1", "Authorization": "Bearer alice"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{api.port}", headers=headers) as session:
            yield session, lambda: of_clients(log)
        running.cancel()
        await asyncio.wait({running})
        api.close()

    return start


async def create(session: aiohttp.ClientSession, name: str) -> int:
    body = {"metadata": {"name": name}, "data": {"a": "b"}}
    async with session.post(URL, json=body) as answer:
        return answer.status


async def test_metadata_says_who_what_and_how_it_ended(audited: Any) -> None:
    async with audited("- level: Metadata") as (session, events):
        assert await create(session, "one") == 201
        async with session.get(f"{URL}/absent?pretty=1") as answer:
            assert answer.status == 404
            audit_id = answer.headers["Audit-Id"]
        found = events()
    received, complete, _, missing = found
    assert [event["stage"] for event in found] == ["RequestReceived", "ResponseComplete"] * 2
    assert "responseStatus" not in received
    assert complete["objectRef"] == {
        "resource": "configmaps", "namespace": "default", "name": "one", "apiVersion": "v1",
    }  # fmt: skip
    assert complete["user"] == {"username": "alice", "uid": "u1", "groups": ["system:authenticated"]}
    assert (complete["verb"], complete["sourceIPs"], complete["userAgent"]) == ("create", ["127.0.0.1"], "test/1")
    assert complete["responseStatus"] == {"metadata": {}, "code": 201}
    assert complete["annotations"] == {
        "authorization.k8s.io/decision": "allow",
        "authorization.k8s.io/reason": "because",
        "plugin.example.com/seen": "yes",
    }
    assert "requestObject" not in complete
    assert missing["requestURI"] == f"{URL}/absent?pretty=1"
    assert missing["auditID"] == audit_id
    assert missing["responseStatus"]["reason"] == "NotFound"
    assert missing["responseStatus"]["message"] == 'configmaps "absent" not found'


async def test_levels_show_bodies(audited: Any) -> None:
    rules = "- {level: RequestResponse, verbs: [create], omitManagedFields: true}\n- {level: Request, verbs: [patch]}"
    async with audited(rules) as (session, events):
        await create(session, "one")
        patch = {"data": {"a": "c"}}
        media_type = {"Content-Type": "application/merge-patch+json"}
        async with session.patch(f"{URL}/one", data=orjson.dumps(patch), headers=media_type) as answer:
            assert answer.status == 200
        async with session.get(f"{URL}/one") as answer:
            assert answer.status == 200
        found = events()
    assert len(found) == 4
    _, made, _, patched = found
    assert made["requestObject"]["data"] == made["responseObject"]["data"] == {"a": "b"}
    assert "uid" in made["responseObject"]["metadata"]
    assert "managedFields" not in made["responseObject"]["metadata"]
    assert patched["requestObject"] == patch
    assert "responseObject" not in patched


async def test_refusals_are_audited(audited: Any) -> None:
    async with audited("- {level: Metadata, omitStages: [RequestReceived]}") as (session, events):
        async with session.get(URL, headers={"Authorization": "Bearer bob"}) as answer:
            assert answer.status == 403
        async with session.get(URL, headers={"Authorization": "Basic x"}) as answer:
            assert answer.status == 401
        forbidden, unknown = events()
    assert forbidden["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert forbidden["responseStatus"]["code"] == 403
    assert unknown["user"] == {}
    assert unknown["stage"] == "ResponseStarted"
    assert unknown["responseStatus"]["code"] == 401


async def test_watches_have_a_beginning_and_an_end(audited: Any) -> None:
    async with audited("- level: RequestResponse") as (session, events):
        async with session.get(f"{URL}?watch=1&timeoutSeconds=1") as answer:
            await answer.read()
        # The server writes the last event before it takes the connection's next request.
        async with session.get("/version") as answer:
            await answer.read()
        watched = [event for event in events() if event["verb"] == "watch"]
        assert [event["stage"] for event in watched] == ["RequestReceived", "ResponseStarted", "ResponseComplete"]


async def test_a_strict_log_refuses_what_it_cannot_write(audited: Any, tmp_path: Path) -> None:
    async with audited("- level: Metadata", "blocking-strict") as (session, _):
        (tmp_path / "audit.log").unlink()
        (tmp_path / "audit.log").mkdir()
        assert await create(session, "one") == 500
        (tmp_path / "audit.log").rmdir()
        assert await create(session, "one") == 201


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (AuditSettings(log=FileSettings("-")), "needs --audit-policy-file"),
        (AuditSettings(policy_file="/absent"), "cannot read /absent"),
    ],
)
def test_settings_that_make_no_sense(settings: AuditSettings, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        build_auditor(settings, SystemClock(), CollectorRegistry())


def test_without_a_policy_nothing_is_audited() -> None:
    assert build_auditor(AuditSettings(), SystemClock(), CollectorRegistry()) is None
