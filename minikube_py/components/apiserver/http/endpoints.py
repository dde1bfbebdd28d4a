"""Paths that are no resources: version, health, metrics, OpenAPI, the list of paths, token keys."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import parse_qs

import orjson
from aiohttp import web

from minikube_py import __version__
from minikube_py.components.apiserver.aggregation.documents import RemoteDocuments
from minikube_py.components.apiserver.http import swagger_ui
from minikube_py.components.apiserver.http.call import (
    Call,
    Response,
    answer_bytes,
    answer_text,
    not_found_page,
    not_modified,
)
from minikube_py.components.apiserver.http.negotiation import negotiate
from minikube_py.components.apiserver.http.views import content_type, encode
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.objects import Object

KUBERNETES_VERSION = "v1.36.2"
Check = Callable[[], Awaitable[str]]
"""A health check: an empty text when all is well, else why not."""

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""What clients accept for the protobuf form of /openapi/v2; also the key under which it is kept."""
_DOCUMENT_TYPES = {
    "/openapi/v3": "text/plain; charset=utf-8",
    _PROTOBUF: "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
}
_YEAR = 365 * 24 * 3600.0
_HEALTH_ROOTS = ("healthz", "livez", "readyz")
BOOTSTRAP_CHECK = "poststarthook/rbac/bootstrap-roles"
_READINESS_CHECKS = ("shutdown", "etcd-readiness", BOOTSTRAP_CHECK)
"""Of /readyz alone: a datastore that takes no writes is no reason to restart the server."""
_FIXED_PATHS = (
    "/.well-known/openid-configuration", "/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2",
    "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version",
)  # fmt: skip


def version_info() -> Object:
    """The body of /version."""
    import platform
    import sys

    major, minor = KUBERNETES_VERSION.lstrip("v").split(".")[:2]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": f"{KUBERNETES_VERSION}+pyk3s{__version__}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "compiler": platform.python_implementation().lower(),
        "platform": f"linux/{machine}",
    }


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
        self._remote = remote
        self._now = now
        self._openapi: dict[str, tuple[bytes, str]] = {}
        self._building = asyncio.Lock()
        kinds.on_change(self._openapi.clear)

    async def answer(self, call: Call) -> Response | None:
        """The answer; None when the path is not one of these."""
        path = call.info.path
        if call.info.method not in ("GET", "HEAD"):
            return None
        root = path.strip("/").partition("/")[0]
        if root in _HEALTH_ROOTS:
            return await self._health(call, root, path.strip("/").partition("/")[2])
        if path.rstrip("/") == "/version":
            return self._json(call, version_info())
        if path == "/metrics":
            return await self._metrics_page()
        if path == "/":
            return self._json(call, {"paths": self._paths()})
        if path in self._documents:
            media_type, make = self._documents[path]
            return answer_bytes(orjson.dumps(make()), media_type=media_type)
        if root == "openapi":
            return await self._openapi_page(call, path)
        if path == swagger_ui.ROOT or path.startswith(f"{swagger_ui.ROOT}/"):
            return await self._swagger_page(path.removeprefix(swagger_ui.ROOT).strip("/"))
        return None

    def _json(self, call: Call, obj: Object) -> Response:
        form = negotiate(call.accept, call.query.get("pretty", ""), call.user_agent, views=False)
        return answer_bytes(encode(obj, form), media_type=content_type(form))

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

    async def _openapi_page(self, call: Call, path: str) -> Response:
        """An OpenAPI document, built in a thread on first use and kept until the kinds change."""
        key = path.rstrip("/")
        if key == "/openapi/v2" and _PROTOBUF in call.request.headers.get("Accept", ""):
            key = _PROTOBUF
        found = await self._openapi_document(key)
        if found is None:
            return web.Response(status=404)
        body, tag = found
        wanted = call.query.get("hash", "") if key.startswith("/openapi/v3/") else ""
        media_type = _DOCUMENT_TYPES.get(key, "application/json")
        if wanted and wanted != tag:
            moved = {"Location": f"{key}?hash={tag}", "ETag": f'"{tag}"', "Vary": "Accept", "Content-Type": media_type}
            return web.Response(status=301, headers=moved)
        if call.request.headers.get("If-None-Match", "").strip('"') == tag:
            response = not_modified()
        else:
            response = answer_bytes(body, media_type=media_type)
        caching = _kept_for_ever(self._now()) if wanted else {"Cache-Control": "no-cache, private"}
        response.headers.update({"ETag": f'"{tag}"', "Vary": "Accept", **caching})
        return response

    async def _openapi_document(self, key: str) -> tuple[bytes, str] | None:
        """(bytes, hash) of a document; None when there is no such document."""
        async with self._building:
            while key not in self._openapi:
                generation = self._kinds.generation
                built = await asyncio.to_thread(self._build_openapi, key)
                if built is None:
                    return None
                if generation == self._kinds.generation:  # else a kind came or went meanwhile
                    self._openapi[key] = built
            found = self._openapi[key]
        if self._remote is None or key not in ("/openapi/v2", "/openapi/v3"):
            return found
        if key == "/openapi/v2":
            body = await self._remote.merged(found[0])
        else:
            entries = await self._remote.index()
            body = found[0]
            if entries:
                whole = orjson.loads(body)
                body = orjson.dumps({**whole, "paths": {**whole["paths"], **entries}})
        return found if body is found[0] else _tagged(body)

    def _build_openapi(self, path: str) -> tuple[bytes, str] | None:
        from minikube_py.machinery import openapi  # large, and seldom asked for

        kinds = self._kinds.all()
        if path == _PROTOBUF:
            from minikube_py.machinery.openapi_protobuf import openapi_v2_protobuf

            return _tagged(openapi_v2_protobuf(openapi.openapi_v2(kinds)))
        if path == "/openapi/v2":
            return _tagged(orjson.dumps(openapi.openapi_v2(kinds)))
        if path == "/openapi/v3":
            return _tagged(orjson.dumps(openapi.openapi_v3_index(kinds)))
        parts = path.removeprefix("/openapi/v3/").split("/")
        group, version = ("", parts[1]) if parts[0] == "api" and len(parts) == 2 else ("", "")
        if parts[0] == "apis" and len(parts) == 3:
            group, version = parts[1], parts[2]
        if not version or not any(k.resource.group == group and k.resource.version == version for k in kinds):
            return None
        hash_in_index = openapi.document_hash(kinds, group, version)
        return orjson.dumps(openapi.openapi_v3(kinds, group, version)), hash_in_index


def _tagged(document: bytes) -> tuple[bytes, str]:
    return document, hashlib.sha512(document).hexdigest().upper()


def _kept_for_ever(now: float) -> dict[str, str]:
    """Of a document that is asked for by its hash: it never changes."""
    return {"Cache-Control": "public, immutable", "Expires": formatdate(now + _YEAR, usegmt=True)}
