"""Between the HTTP face and the auditor: what of a call goes into its audit events, and when."""

from __future__ import annotations

import ipaddress

from aiohttp import web

from minikube_py.components.apiserver.audit.auditor import Auditor, decided
from minikube_py.components.apiserver.audit.events import Body
from minikube_py.components.apiserver.audit.policy import Level
from minikube_py.components.apiserver.http.call import Call, Response
from minikube_py.components.apiserver.types import Attributes, UserInfo

_MOST_SOURCES = 16


async def begin(auditor: Auditor, call: Call, user: UserInfo, attributes: Attributes) -> None:
    """A request whose sender is known: its first event. Raises ApiError when a strict log refuses it."""
    record = await auditor.begin(
        call.request_id,
        call.request.raw_path,
        user,
        attributes,
        sources=sources(call.request),
        user_agent=call.user_agent,
    )
    if record is None:
        return
    call.audit = record

    async def started(code: int) -> None:
        await auditor.started(record, code)

    if call.info.long_running:
        call.on_start = started


def note_decision(call: Call, user: UserInfo, *, allowed: bool, reason: str) -> None:
    """What authorization said of the user that the request acts as."""
    record = call.audit
    if record is not None:
        record.impersonated = user if user is not record.user else None
        decided(record, allowed, reason)


async def end(auditor: Auditor, call: Call, response: Response) -> None:
    """The last event of a request that was answered; bodies as they were before compression."""
    record = call.audit
    if record is None:
        return
    record.request = _sent(call)
    answer: Body | None = None
    if isinstance(response, web.Response) and isinstance(response.body, bytes) and _shows_answer(call, response):
        answer = Body(response.body, response.headers.get("Content-Type", ""))
    await auditor.finished(record, response.status, answer)


def _shows_answer(call: Call, response: Response) -> bool:
    """Failures always tell their Status; other answers are decoded only for the level that shows them."""
    assert call.audit is not None
    return response.status >= 400 or call.audit.decision.level >= Level.REQUEST_RESPONSE


def abandon(auditor: Auditor, call: Call) -> None:
    """The last event of a request whose client went away."""
    if call.audit is not None:
        call.audit.request = _sent(call)
        auditor.abandoned(call.audit, 200 if call.info.long_running else 499)


async def panic(auditor: Auditor, call: Call, text: str) -> None:
    """The last event of a request that the server failed to serve."""
    if call.audit is not None:
        call.audit.request = _sent(call)
        await auditor.panicked(call.audit, text)


async def refuse(auditor: Auditor, call: Call, attributes: Attributes) -> None:
    """The only event of a request whose sender could not be authenticated."""
    tried = "bearer" if "Authorization" in call.request.headers else "none"
    await auditor.refused(
        call.request_id,
        call.request.raw_path,
        attributes,
        sources=sources(call.request),
        user_agent=call.user_agent,
        text=f"Authentication failed, attempted: {tried}",
    )


def _sent(call: Call) -> Body:
    assert call.audit is not None
    needed = call.audit.decision.level >= Level.REQUEST or not call.audit.attributes.name
    if not needed:
        return Body()
    return Body(call.body or b"", call.content_type)


def sources(request: web.BaseRequest) -> list[str]:
    """Addresses that the request says it came from, and the one that it did come from, last."""
    found: list[str] = []
    forwarded = [*request.headers.get("X-Forwarded-For", "").split(","), request.headers.get("X-Real-Ip", "")]
    for text in [part.strip() for part in forwarded if part.strip()][:_MOST_SOURCES]:
        try:
            found.append(str(ipaddress.ip_address(text)))
        except ValueError:
            continue
    if request.remote and request.remote not in found:
        found.append(request.remote)
    return found
