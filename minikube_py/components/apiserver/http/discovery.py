"""Discovery: what is served, as single lists, group lists, and the aggregated document."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from minikube_py.components.apiserver.aggregation.aggregator import Aggregator
from minikube_py.components.apiserver.http.call import (
    Call,
    Response,
    answer_bytes,
    answer_object,
    not_found_page,
    not_modified,
)
from minikube_py.components.apiserver.http.negotiation import (
    JSON,
    SERVED,
    YAML,
    Form,
    check_produced,
    negotiate,
    parse_accept,
)
from minikube_py.components.apiserver.http.views import encode
from minikube_py.components.apiserver.registry.kinds import (
    Kinds,
    group_rank,
    is_custom,
    is_virtual,
    kube_version_key,
    version_rank,
)
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind, Subresource
from minikube_py.machinery.objects import Object

_AGGREGATED = "apidiscovery.k8s.io"
_VERSIONS = ("v2", "v2beta1")


def no_such_resource() -> ApiError:
    """404 for resources that are not served."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, details={})


class Discovery:
    """Builds discovery documents from the table of kinds; built ones are kept until the table changes."""

    def __init__(
        self,
        kinds: Kinds,
        server_address: str,
        aggregator: Aggregator | None = None,
        aggregated: Callable[[], None] | None = None,
    ) -> None:
        """``aggregated`` is called when an aggregated document is built."""
        self._kinds = kinds
        self._aggregated_built = aggregated
        self._aggregator = aggregator
        self._address = server_address
        self._built: dict[object, tuple[bytes, str]] = {}
        kinds.on_change(self._built.clear)
        if aggregator is not None:
            aggregator.on_change(self._built.clear)

    def answer(self, call: Call) -> Response | None:
        """The answer to a path under /api or /apis that is no resource; None when the path is not ours."""
        parts = [part for part in call.info.path.split("/") if part]
        if parts in (["api"], ["apis"]):
            check_produced(call.accept, SERVED)
            version, media_type = aggregated_version(call.accept)
            if version:
                return self._aggregated(call, parts[0], version, media_type)
        form = negotiate(call.accept, call.query.get("pretty", ""), call.user_agent, views=False)
        if parts == ["api"]:
            return answer_object(self._core_versions(), form)
        if parts == ["apis"]:
            return answer_object(self._group_list(), form)
        if parts[0] == "api" and len(parts) == 2:
            return self._resources("", parts[1], form)
        if parts[0] == "apis" and len(parts) == 2:
            if parts[1] not in self._groups():
                return not_found_page()
            return answer_object({"kind": "APIGroup", "apiVersion": "v1", **self._group(parts[1])}, form)
        if parts[0] == "apis" and len(parts) == 3:
            if parts[1] not in self._kinds.group_names():
                return not_found_page()
            return self._resources(parts[1], parts[2], form)
        return None

    def _resources(self, group: str, version: str, form: Form) -> Response:
        kinds = self._kinds.in_version(group, version)
        if not kinds and group and not self._kinds.has_builtin(group):
            return not_found_page()
        if not kinds:
            raise no_such_resource()
        group_version = f"{group}/{version}" if group else version
        rows = [row for kind in kinds for row in resource_rows(kind)]
        head: Object = {"kind": "APIResourceList", "apiVersion": "v1"} if group else {"kind": "APIResourceList"}
        return answer_object({**head, "groupVersion": group_version, "resources": rows}, form)

    def _core_versions(self) -> Object:
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._address}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}

    def _group_list(self) -> Object:
        groups = [self._group(name) for name in self._groups() if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _group(self, group: str) -> Object:
        versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in self._versions(group)]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _aggregated(self, call: Call, root: str, version: str, media_type: str) -> Response:
        found = self._built.get((root, version))
        if found is None:
            if self._aggregated_built is not None:
                self._aggregated_built()
            body = orjson.dumps(self._aggregated_document(root, version))
            found = (body, hashlib.sha512(body).hexdigest().upper())
            self._built[(root, version)] = found
        body, tag = found
        headers = {"ETag": f'"{tag}"', "Vary": "Accept", "Cache-Control": "public"}
        if call.request.headers.get("If-None-Match", "").strip('"') == tag:
            response = not_modified()
        else:
            if media_type != JSON:
                body = encode(orjson.loads(body), Form(media_type))
            shown = f"{media_type};g={_AGGREGATED};v={version};as=APIGroupDiscoveryList"
            response = answer_bytes(body, media_type=shown)
        response.headers.update(headers)
        return response

    def _aggregated_document(self, root: str, version: str) -> Object:
        groups: Iterable[str] = [""] if root == "api" else [name for name in self._groups() if name]
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"{_AGGREGATED}/{version}",
            "metadata": {},
            "items": [self._aggregated_group(group) for group in groups],
        }

    def _aggregated_group(self, group: str) -> Object:
        versions = [self._aggregated_version(group, version) for version in self._versions(group)]
        return {"metadata": {"name": group} if group else {}, "versions": versions}

    def _aggregated_version(self, group: str, version: str) -> Object:
        served = self._aggregator.get(group, version) if self._aggregator is not None else None
        if served is not None:
            freshness = "Current" if served.fresh else "Stale"
            return {"version": version, "resources": list(served.resources), "freshness": freshness}
        resources = [_aggregated_resource(kind) for kind in self._kinds.in_version(group, version)]
        return {"version": version, "resources": resources, "freshness": "Current"}

    def _groups(self) -> list[str]:
        """All groups, those of aggregated servers included: by falling priority, then by name."""
        ranks = {group: group_rank(group) for group in self._kinds.group_names()}
        for served in self._aggregator.versions() if self._aggregator is not None else ():
            theirs = (-served.remote.group_priority, served.remote.group)
            ranks[theirs[1]] = min(ranks.get(theirs[1], theirs), theirs)
        return sorted(ranks, key=lambda group: ranks[group])

    def _versions(self, group: str) -> list[str]:
        """The versions of a group, the preferred one first; an aggregated version takes the place of a local one."""
        ranks = {version: version_rank(group, version) for version in self._kinds.versions(group)}
        for served in self._aggregator.of_group(group) if self._aggregator is not None else ():
            remote = served.remote
            ranks[remote.version] = (-remote.version_priority, kube_version_key(remote.version))
        return sorted(ranks, key=lambda version: ranks[version])


def _verbs(kind: Kind) -> list[str]:
    """A kind's verbs in the order in which Kubernetes lists them: custom kinds have one of their own."""
    return list(kind.verbs) if is_custom(kind) else sorted(kind.verbs)


def _parts(kind: Kind) -> Sequence[Subresource]:
    """A kind's subresources in Kubernetes' order."""
    return kind.subresources if is_custom(kind) else sorted(kind.subresources, key=lambda sub: sub.name)


def aggregated_version(accept: str) -> tuple[str, str]:
    """The version of the aggregated document that is asked for, and its media type; empty for none."""
    for clause in parse_accept(accept):
        parameters = clause.parameters
        media_type = JSON if clause.media_type == "*/*" else clause.media_type
        if media_type not in (JSON, YAML):
            continue
        if not parameters.get("as"):
            break
        if parameters.get("g") == _AGGREGATED and parameters.get("as") == "APIGroupDiscoveryList":
            version = parameters.get("v", "")
            if version in _VERSIONS:
                return version, media_type
    return "", ""


def storage_hash(kind: Kind) -> str:
    """``storageVersionHash``: eight bytes that change with the stored group version."""
    stored = kind.stored_as
    digest = hashlib.sha256(f"{stored.group}/{stored.version}/{stored.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def resource_rows(kind: Kind) -> list[Object]:
    """The APIResource entries of a kind and its subresources."""
    resource = kind.resource
    row: Object = {
        "name": resource.plural,
        "singularName": kind.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _verbs(kind),
    }
    if kind.short_names:
        row["shortNames"] = list(kind.short_names)
    if kind.categories:
        row["categories"] = list(kind.categories)
    if not is_virtual(kind):
        row["storageVersionHash"] = storage_hash(kind)
    return [row, *(_subresource_row(kind, sub) for sub in _parts(kind))]


def _subresource_row(kind: Kind, sub: Subresource) -> Object:
    row: Object = {
        "name": f"{kind.resource.plural}/{sub.name}",
        "singularName": "",
        "namespaced": kind.resource.namespaced,
    }
    if sub.group:
        row["group"] = sub.group
    if sub.version:
        row["version"] = sub.version
    row["kind"] = sub.kind or kind.resource.kind
    row["verbs"] = sorted(sub.verbs)
    return row


def _aggregated_resource(kind: Kind) -> Object:
    resource = kind.resource
    row: Object = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": _verbs(kind),
    }
    if kind.short_names:
        row["shortNames"] = list(kind.short_names)
    if kind.categories:
        row["categories"] = list(kind.categories)
    if kind.subresources:
        row["subresources"] = [_aggregated_subresource(kind, sub) for sub in _parts(kind)]
    return row


def _aggregated_subresource(kind: Kind, sub: Subresource) -> dict[str, Any]:
    response = {"group": sub.group, "version": sub.version, "kind": sub.kind or kind.resource.kind}
    return {"subresource": sub.name, "responseKind": response, "verbs": sorted(sub.verbs)}
