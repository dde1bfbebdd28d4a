"""Paths that are no resources: version, health, metrics, OpenAPI, the list of paths, token keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

import orjson
from aiohttp import web

from minikube_py.build_info import version_info
from minikube_py.components.apiserver.aggregation.documents import RemoteDocuments
from minikube_py.components.apiserver.http import swagger_ui
from minikube_py.components.apiserver.http.call import (
    Call,
    Response,
    answer_bytes,
    answer_text,
    not_found_page,
)
from minikube_py.components.apiserver.http.discovery import method_not_allowed, no_such_resource
from minikube_py.components.apiserver.http.negotiation import JSON, check_produced
from minikube_py.components.apiserver.http.openapi_pages import V2, V3, OpenApiPages
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.objects import Object

Check = Callable[[], Awaitable[str]]
"""A health check: an empty text when all is well, else why not."""

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
_HEALTH_ROOTS = ("healthz", "livez", "readyz")
BOOTSTRAP_CHECK = "poststarthook/rbac/bootstrap-roles"
_READINESS_CHECKS = ("shutdown", "etcd-readiness", BOOTSTRAP_CHECK)
"""Of /readyz alone: a datastore that takes no writes is no reason to restart the server."""
_FIXED_PATHS = (
    "/.well-known/openid-configuration", "/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2",
    "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Report:
    """``text``: a line for each check."""

    well: bool
    text: str


async def _always_well() -> str:
    return ""


async def _health_report(checks: Mapping[str, Check], excluded: Sequence[str]) -> _Report:
    """Everybody may read this page, so it does not say why a check fails; the page of that check does."""
    lines: list[str] = []
    well = True
    for name, check in checks.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok")
        elif await check():
            well = False
            lines.append(f"[-]{name} failed: reason withheld")
        else:
            lines.append(f"[+]{name} ok")
    unknown = [name for name in dict.fromkeys(excluded) if name not in checks]
    if unknown:
        listed = ", ".join(go_quote(name) for name in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {listed}")
    return _Report(well, "".join(f"{line}\n" for line in lines))


def _raw_json(obj: Object) -> Response:
    """What is JSON for every client, and easy to read (``responsewriters.WriteRawJSON``)."""
    return answer_bytes(orjson.dumps(obj, option=orjson.OPT_INDENT_2), media_type=JSON)


class Endpoints:
    """See the module. ``metrics`` makes the page of /metrics.

    ``documents`` answers extra GET paths (OpenID discovery) with their JSON.
    """

    def __init__(
        self,
        kinds: Kinds,
        metrics: Callable[[], Awaitable[bytes]],
        checks: Mapping[str, Check],
        documents: Mapping[str, tuple[str, Callable[[], Object]]],
        remote: RemoteDocuments | None = None,
        *,
        now: Callable[[], float],
    ) -> None:
        self._kinds = kinds
        self._metrics = metrics
        self._checks = dict(checks)
        self._documents = dict(documents)
        self._openapi = OpenApiPages(kinds, remote, now=now)

    async def answer(self, call: Call) -> Response | None:
        """The answer; None when the path is not one of these."""
        path, method = call.info.path, call.info.method
        for routed in ("/version", *self._documents):
            if path == routed or path.startswith(f"{routed}/"):
                return self._routed(call, routed)
        root, _, check = path[1:].partition("/")
        if root in _HEALTH_ROOTS:
            return not_found_page() if path.endswith("/") else await self._health(call, root, check)
        if path == "/metrics" and method != "DELETE":  # which empties the metrics there
            return await self._metrics_page()
        if path in ("/", "/index.html"):
            return _raw_json({"paths": self._paths()})
        if path in (V2, V3):
            return await self._openapi.answer(call, path)
        if path.startswith(f"{V3}/"):
            return web.Response(status=404) if path.endswith("/") else await self._openapi.answer(call, path)
        if method in ("GET", "HEAD") and (path == swagger_ui.ROOT or path.startswith(f"{swagger_ui.ROOT}/")):
            return await self._swagger_page(path.removeprefix(swagger_ui.ROOT).strip("/"))
        return None

    def _routed(self, call: Call, root: str) -> Response:
        """The answer of a path that the reference has in its router, where others take any method. ApiError."""
        if call.info.path.rstrip("/") != root:
            raise no_such_resource()
        if call.info.method != "GET":
            raise method_not_allowed()
        if root == "/version":
            check_produced(call.accept, (JSON,))
            return _raw_json(version_info())
        media_type, make = self._documents[root]
        check_produced(call.accept, (media_type,))
        return answer_bytes(orjson.dumps(make()), media_type=media_type)

    def _paths(self) -> list[str]:
        found = set(_FIXED_PATHS) | set(self._documents)
        for root in _HEALTH_ROOTS:
            checks = self._checks if root == "readyz" else self._health_checks()
            found |= {f"/{root}/{name}" for name in ("ping", *checks)}
        for group in self._kinds.group_names():
            base = f"/apis/{group}" if group else "/api"
            found |= {base, *(f"{base}/{version}" for version in self._kinds.versions(group))}
        return sorted(found)

    async def _health(self, call: Call, root: str, name: str) -> Response:
        checks = self._checks if root == "readyz" else self._health_checks()
        if name:
            if name == "ping":
                return answer_text("ok")
            if name not in checks:
                return not_found_page()
            why = await checks[name]()
            return answer_text("ok") if not why else answer_text(f"internal server error: {why}", 500)
        query = parse_qs(call.request.query_string, keep_blank_values=True)
        report = await _health_report({"ping": _always_well, **checks}, query.get("exclude", []))
        if not report.well:
            return answer_text(f"{report.text}{root} check failed\n", 500)
        return answer_text(f"{report.text}{root} check passed\n" if "verbose" in query else "ok")

    def _health_checks(self) -> dict[str, Check]:
        return {name: check for name, check in self._checks.items() if name not in _READINESS_CHECKS}

    async def _metrics_page(self) -> Response:
        return answer_bytes(await self._metrics(), media_type=_METRICS_TYPE)

    async def _swagger_page(self, name: str) -> Response:
        groups = [group for group in self._kinds.group_names() if group]
        documents = [f"api/{version}" for version in self._kinds.versions("")]
        documents += [f"apis/{group}/{version}" for group in groups for version in self._kinds.versions(group)]
        try:
            found = await asyncio.to_thread(swagger_ui.read, name, documents)
        except (ModuleNotFoundError, FileNotFoundError):
            return answer_text(swagger_ui.MISSING, 404)
        if found is None:
            return not_found_page()
        response = answer_bytes(found.body, media_type=found.media_type)
        response.headers["Content-Security-Policy"] = swagger_ui.POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
