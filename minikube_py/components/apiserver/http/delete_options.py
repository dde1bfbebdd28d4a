"""DeleteOptions of a request: from its body or, where it has none, from its query; never from both.

Follows ``endpoints/handlers/delete.go`` with the decoders of the ``meta.k8s.io`` scheme: any group's ``DeleteOptions``
count, whatever else a body says it is, is refused, and what is unknown in it is passed over. Errors are 400 with the
decoder's bare text, as Kubernetes has it since 1.35 (before, they were 500).
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from minikube_py.client.types import DeleteOptions
from minikube_py.components.apiserver.http.bodies import UNKNOWN_FORMAT
from minikube_py.components.apiserver.http.negotiation import JSON, PROTOBUF, YAML
from minikube_py.components.apiserver.http.options import check_delete_options, parsed_integer
from minikube_py.components.apiserver.http.request_info import truth
from minikube_py.machinery.decoding import check_types, parse_json, parse_yaml
from minikube_py.machinery.errors import ApiError, bad_request, go_quote, unsupported_media_type
from minikube_py.machinery.objects import Object
from minikube_py.machinery.schema import definitions

_KIND = "DeleteOptions"
_DEFINITION = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
_VERSION = "meta.k8s.io/v1"
_SCHEME = "pkg/apis/meta/internalversion/scheme/register.go:27"
_UNVERSIONED = frozenset(
    {"CreateOptions", "UpdateOptions", "Status", "APIVersions", "APIGroupList", "APIGroup", "APIResourceList"}
)
"""What the scheme knows in all versions."""
_VIEWS = frozenset({"Table", "TableOptions", "PartialObjectMetadata", "PartialObjectMetadataList"})
_KNOWN = {
    _VERSION: frozenset({"GetOptions", "ListOptions", "PatchOptions", "WatchEvent"}) | _VIEWS,
    "meta.k8s.io/v1beta1": _VIEWS,
}


def given_options(raw_query: str, body: bytes, content_type: str) -> Object:
    """The DeleteOptions of a request as a plain object; the query counts when the body is empty. ApiError 400, 415."""
    return _decoded(body, content_type) if body else _from_query(raw_query)


def delete_options(given: Object) -> DeleteOptions:
    """The options as the registry takes them. ApiError 422."""
    check_delete_options(given)
    preconditions = given.get("preconditions") or {}
    policy = given.get("propagationPolicy")
    if policy is None and given.get("orphanDependents") is not None:
        policy = "Orphan" if given["orphanDependents"] else "Background"
    return DeleteOptions(
        grace_period_seconds=given.get("gracePeriodSeconds"),
        propagation_policy=policy,
        precondition_uid=preconditions.get("uid"),
        precondition_resource_version=preconditions.get("resourceVersion"),
        dry_run=bool(given.get("dryRun")),
    )


def _from_query(raw_query: str) -> Object:
    """``Convert_url_Values_To_v1_DeleteOptions``; of each parameter but ``dryRun`` the first one counts."""
    pairs = parse_qsl(raw_query, keep_blank_values=True) if raw_query else []
    query, given = dict(reversed(pairs)), Object()
    if "gracePeriodSeconds" in query:
        given["gracePeriodSeconds"] = parsed_integer(query["gracePeriodSeconds"])
    if "orphanDependents" in query:
        given["orphanDependents"] = truth(query["orphanDependents"])
    if "propagationPolicy" in query:
        given["propagationPolicy"] = query["propagationPolicy"]
    if "dryRun" in query:
        given["dryRun"] = [value for name, value in pairs if name == "dryRun"]
    preconditions = {name: query[name] for name in ("uid", "resourceVersion") if query.get(name)}
    if preconditions:
        given["preconditions"] = preconditions
    return given


def _decoded(data: bytes, content_type: str) -> Object:
    media_type = content_type.partition(";")[0].strip().lower() or JSON
    schema = definitions().schema(_DEFINITION)
    if media_type == PROTOBUF:
        from minikube_py.machinery.protobuf import decode, wrapped_type

        _check_kind(*wrapped_type(data))
        draft = decode(data, schema)
    elif media_type in (JSON, YAML):
        draft = _read_text(data, media_type)
        _check_kind(str(draft.get("apiVersion") or ""), str(draft.get("kind") or ""))
    else:
        raise unsupported_media_type(UNKNOWN_FORMAT)
    try:
        check_types(schema, draft, _KIND)
    except ApiError as error:
        raise bad_request(error.message.partition(": ")[2]) from error
    return {name: value for name, value in draft.items() if name in schema.properties and name not in _TYPE}


_TYPE = ("kind", "apiVersion")


def _read_text(data: bytes, media_type: str) -> Object:
    if media_type == YAML:
        return parse_yaml(data)
    return {} if data.strip() == b"null" else parse_json(data)


def _check_kind(api_version: str, kind: str) -> None:
    """ApiError 400 for a body that says it is something else."""
    if api_version.count("/") > 1:
        raise bad_request(f"unexpected GroupVersion string: {api_version}")
    if kind in ("", _KIND):
        return
    version = api_version or _VERSION
    if kind in _UNVERSIONED or kind in _KNOWN.get(version, ()):
        raise bad_request(f"converting (v1.{kind}) to (v1.{_KIND}): unknown conversion")
    why = f"no kind {go_quote(kind)} is registered for version {go_quote(version)}"
    raise bad_request(f"{why} in scheme {go_quote(_SCHEME)}")
