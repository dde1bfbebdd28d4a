"""What a request's path and method mean (``k8s.io/apiserver/pkg/endpoints/request.RequestInfo``).

Pure and cached: the same paths come again and again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import parse_qsl, unquote

from minikube_py.components.apiserver.types import Attributes

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_PARTS = ("status", "finalize")
_LONG = frozenset({"exec", "attach", "portforward", "proxy"})
_SWAGGER_UI, _SHOWN_DOCUMENTS = "/swagger-ui", "/openapi/v3"
"""Who may read the documents may see the page that shows them; Kubernetes' roles do not know it."""
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})

Query = dict[str, str]


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """See ``Attributes`` for the names. ``path`` is decoded; ``rest`` is what follows a subresource (proxy paths)."""

    method: str
    path: str
    verb: str
    query: Query
    resource_request: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    legacy_watch: bool = False
    malformed: bool = False
    """Whether the path begins like that of a resource, and does not say of which one."""
    long_running: bool = False
    """Whether the request may last: watches, streams and proxying have no timeout."""
    _asked: list[Attributes] = field(default_factory=list, repr=False, compare=False)
    """``attributes``, once they were asked for."""

    @property
    def only_proxied(self) -> bool:
        """Whether this is a method that no resource has, on its way to a backend that may have it."""
        return self.subresource == "proxy" and self.method in ("HEAD", "OPTIONS")

    def attributes(self) -> Attributes:
        """The request as authorization sees it."""
        if not self._asked:
            self._asked.append(self._attributes())
        return self._asked[0]

    def _attributes(self) -> Attributes:
        if not self.resource_request:
            shown = self.path == _SWAGGER_UI or self.path.startswith(f"{_SWAGGER_UI}/")
            return Attributes(self.method.lower(), _SHOWN_DOCUMENTS if shown else self.path)
        listing = self.verb in ("list", "watch", "deletecollection")
        return Attributes(
            verb=self.verb,
            path=self.path,
            resource_request=True,
            group=self.group,
            version=self.version,
            resource=self.resource,
            subresource=self.subresource,
            namespace=self.namespace,
            name=self.name,
            label_selector=self.query.get("labelSelector", "") if listing else "",
            field_selector=self.query.get("fieldSelector", "") if listing else "",
        )


def truth(text: str | None) -> bool:
    """A boolean query parameter: present and neither "0" nor "false" (in any case)."""
    return text is not None and text not in ("0", "false", "False", "FALSE")


@lru_cache(maxsize=4096)
def parse_request(method: str, target: str) -> RequestInfo:
    """Understand a request line. ``target`` is the raw path with its query."""
    raw_path, _, raw_query = target.partition("?")
    query = dict(reversed(parse_qsl(_readable(raw_query), keep_blank_values=True))) if raw_query else {}
    path = unquote(raw_path) if "%" in raw_path else raw_path
    trimmed = path.strip("/")
    parts = trimmed.split("/") if trimmed else []  # a part in the middle may be empty, and fits no resource
    verb = _VERBS.get(method, "")
    if not parts or parts[0] not in ("api", "apis") or len(parts) < (3 if parts[0] == "api" else 4):
        return RequestInfo(method, path, verb or method.lower(), query)
    group = "" if parts[0] == "api" else parts[1]
    version, parts = (parts[1], parts[2:]) if parts[0] == "api" else (parts[2], parts[3:])
    return _resource_info(method, path, verb, query, group, version, parts)


_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


def _readable(raw_query: str) -> str:
    """The parameters that Go's ``url.ParseQuery`` reads: those with a semicolon or a broken escape do not count."""
    if ";" not in raw_query and "%" not in raw_query:
        return raw_query
    return "&".join(pair for pair in raw_query.split("&") if ";" not in pair and not _BAD_ESCAPE.search(pair))


def _resource_info(
    method: str, path: str, verb: str, query: Query, group: str, version: str, parts: list[str]
) -> RequestInfo:
    legacy_watch = parts[0] == "watch" and len(parts) > 1
    if parts[0] in ("watch", "proxy"):
        if len(parts) == 1:
            return RequestInfo(method, path, verb, query, malformed=True)
        verb = parts[0]
        parts = parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_PARTS:
            parts = parts[2:]
    resource, name = parts[0], parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    rest = _rest(path, subresource, parts)
    if not name and verb in ("get", "delete"):
        verb = "list" if verb == "get" else "deletecollection"
    if verb in ("list", "watch", "deletecollection"):
        if verb == "list" and truth(query.get("watch")):
            verb = "watch"
        if not name:
            name = _selected_name(query.get("fieldSelector", ""))
    return RequestInfo(
        method, path, verb, query, True, group, version, namespace, resource, name, subresource, rest, legacy_watch,
        long_running=verb == "watch" or _lasts(subresource, query),
    )  # fmt: skip


def _lasts(subresource: str, query: Query) -> bool:
    return subresource in _LONG or (subresource == "log" and truth(query.get("follow")))


def _rest(path: str, subresource: str, parts: list[str]) -> str:
    """The part of a proxy path that belongs to the backend, with its slashes as they were sent."""
    if subresource != "proxy":
        return ""
    _, _, rest = path.partition(f"/{parts[1]}/proxy")
    return rest


def _selected_name(selector: str) -> str:
    if "metadata.name" not in selector:
        return ""
    for term in selector.split(","):
        for operator in ("==", "="):
            if term.startswith(f"metadata.name{operator}"):
                return term[len("metadata.name") + len(operator) :]
    return ""
