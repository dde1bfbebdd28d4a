"""Request bodies: bytes to a checked draft, with the texts of Kubernetes' decoders."""

from __future__ import annotations

from dataclasses import dataclass

from minikube_py.components.apiserver.http.negotiation import JSON, PROTOBUF, SERVED, YAML
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.components.apiserver.registry.type_names import type_problem
from minikube_py.machinery.decoding import (
    MAX_BODY_BYTES,
    cannot_be_handled,
    check_types,
    drop_unknown,
    duplicate_fields,
    duplicate_yaml_keys,
    parse_json,
    parse_yaml,
    strict_error,
    unknown_fields,
)
from minikube_py.machinery.errors import (
    ApiError,
    bad_request,
    invalid,
    invalid_value,
    request_too_large,
    unsupported_media_type,
)
from minikube_py.machinery.objects import Object
from minikube_py.machinery.plain_objects import DOUBT, plain_keys
from minikube_py.machinery.raw_texts import RAW_FIELDS, rebuilt, with_texts
from minikube_py.machinery.schema import Schema

_SNIPPET = 30
UNKNOWN_FORMAT = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(SERVED)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a body should be: names, and the schema that it is checked against."""

    kind: str
    api_version: str
    schema: Schema
    custom: bool = False


def too_large() -> ApiError:
    return request_too_large(f"Request entity too large: limit is {MAX_BODY_BYTES}")


def decode(
    data: bytes, content_type: str, expected: Expected, kinds: Kinds, *, validation: str, warnings: list[str]
) -> Object:
    """The private draft of a body. ApiError 400 (malformed, of another kind, strict errors), 415."""
    media_type = content_type.partition(";")[0].strip().lower() or JSON
    repeated: list[str] = []
    keys = DOUBT
    try:
        if media_type == JSON:
            draft = {} if data.strip() == b"null" else parse_json(data)
            keys = plain_keys(expected.schema, draft)
            if validation != "Ignore":
                repeated = duplicate_fields(data, draft, keys)
        elif media_type == YAML:
            draft = parse_yaml(data)
            if validation != "Ignore":
                repeated = duplicate_yaml_keys(data)
        elif media_type == PROTOBUF:
            draft = _from_protobuf(data)
        else:
            raise unsupported_media_type(UNKNOWN_FORMAT)
    except ApiError as error:
        if error.code != 400:
            raise
        why = f"the object provided is unrecognized (must be of type {expected.kind}): {error.message} "
        raise bad_request(f"{why}({_snippet(data)})") from error
    if expected.custom:
        _check_custom_kind(draft, expected, data)
    else:
        _check_kind(draft, expected, kinds)
    draft["kind"], draft["apiVersion"] = expected.kind, expected.api_version
    if (expected.api_version, expected.kind) in RAW_FIELDS and data.strip() != b"null":
        if media_type == JSON:
            with_texts(draft, data)
        elif media_type == YAML:
            rebuilt(draft)
    if keys != DOUBT and not repeated:
        return draft
    check_types(expected.schema, draft, expected.kind)
    if media_type != PROTOBUF:
        _check_fields(draft, expected, repeated, validation, warnings)
    return draft


def _check_fields(draft: Object, expected: Expected, repeated: list[str], validation: str, warnings: list[str]) -> None:
    if validation != "Ignore":
        problems = [*repeated, *unknown_fields(expected.schema, draft)]
        if problems and validation == "Strict":
            raise strict_error(draft, expected.kind, problems)
        warnings.extend(problems)
    drop_unknown(expected.schema, draft)


def _from_protobuf(data: bytes) -> Object:
    from minikube_py.machinery.protobuf import decode as decode_protobuf  # few clients speak protobuf

    return decode_protobuf(data)


def _snippet(data: bytes) -> str:
    """How Kubernetes shows a body that it cannot read."""
    if not data:
        return "<empty>"
    tail = " ..." if len(data) > _SNIPPET else ""
    if data[:1] == b"{":
        return data[:_SNIPPET].decode(errors="replace") + tail
    return data[:_SNIPPET].hex() + tail


def _check_custom_kind(draft: Object, expected: Expected, data: bytes) -> None:
    """Custom objects must say what they are: no type that they are decoded into tells it. ApiError 400 and 422."""
    kind, api_version = str(draft.get("kind") or ""), str(draft.get("apiVersion") or "")
    if not kind:
        why = f"Object 'Kind' is missing in '{data.decode(errors='replace')}'"
        text = f"the object provided is unrecognized (must be of type {expected.kind}): {why}"
        raise bad_request(f"{text} ({_snippet(data)})")
    if api_version != expected.api_version:
        raise _other_version(api_version, expected)
    if kind != expected.kind:
        meta = draft.get("metadata")
        name = str(meta.get("name") or "") if isinstance(meta, dict) else ""
        group = expected.api_version.rpartition("/")[0]
        raise invalid(group, expected.kind, name, [invalid_value("kind", kind, f"must be {expected.kind}")])


def _other_version(api_version: str, expected: Expected) -> ApiError:
    return bad_request(
        f"the API version in the data ({api_version}) does not match the expected API version ({expected.api_version})"
    )


def _check_kind(draft: Object, expected: Expected, kinds: Kinds) -> None:
    """Refuse a body that says it is something else."""
    kind, api_version = draft.get("kind") or "", draft.get("apiVersion") or ""
    if not isinstance(kind, str) or not isinstance(api_version, str):
        return
    if kind in ("", expected.kind) and api_version in ("", expected.api_version):
        return
    group, _, _ = expected.api_version.rpartition("/")
    shown: Object = {"kind": kind or expected.kind, "apiVersion": api_version or expected.api_version}
    kind, api_version = str(shown["kind"]), str(shown["apiVersion"])
    if kind == expected.kind and api_version.rpartition("/")[0] == group and kinds.by_kind(api_version, kind):
        raise _other_version(api_version, expected)
    why = type_problem(kinds, api_version, kind, wanted_group=group, wanted_kind=expected.kind)
    raise cannot_be_handled(shown, expected.kind, why)
