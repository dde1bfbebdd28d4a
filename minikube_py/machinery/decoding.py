"""Decoding: text to object, and what the reference's strict decoder says about it.

In: a request's body and the schema of its kind. Out: a plain object, or ``ApiError`` 400 with the text
of Go's decoders (``sigs.k8s.io/json``, ``sigs.k8s.io/yaml``). The steps are separate functions because
the API server takes them apart by the request's ``fieldValidation``:

* ``parse_json``/``parse_yaml``: syntax; integers stay integers, numbers beyond 64 bits become floats;
* ``check_types``: every value fits the Go type of its field, first misfit in document order;
* ``duplicate_fields`` and ``unknown_fields``: what ``Strict`` refuses and ``Warn`` reports;
* ``drop_unknown``: what decoding into Go structures silently loses.

Custom resources are decoded without structures: their schemas report no types here, unknown fields as
pruning sees them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from minikube_py.machinery import json_errors
from minikube_py.machinery.errors import ApiError, bad_request, go_quote
from minikube_py.machinery.objects import Object
from minikube_py.machinery.schema import ANYTHING, Schema, definitions
from minikube_py.machinery.type_errors import first_type_error

MAX_BODY_BYTES = 3 * 1024 * 1024
MAX_DEPTH = 300
"""How deep objects may nest. Walkers of objects are recursive; the deepest legitimate ones are schemas of CRDs."""
_SNIPPET_BYTES = 30
_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_MAX_STRICT_ERRORS = 100
_KEY_END = re.compile(rb'"[ \t\r\n]*:')
_SHAPE = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'


def parse_json(data: bytes) -> Object:
    """The object of a JSON text. ApiError 400 with Go's text when it is malformed or no object."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        why = json_errors.explain(data)
        if why:
            raise bad_request(f"couldn't get version/kind; json parse error: {why}") from error
        found = _mended(data)
    # A text nests no deeper than it has opening brackets, so most texts need no look at their depth.
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        check_depth(found)
    if not isinstance(found, dict):
        raise bad_request(no_object(found))
    check_type_meta(found)
    return found


def _mended(data: bytes) -> Any:
    """A well-formed text that is no proper Unicode, as Go reads it: what is none becomes U+FFFD. ApiError 400."""
    try:
        return _without_surrogates(json.loads(data.decode(errors="replace")))
    except (ValueError, RecursionError) as error:  # numbers and depths beyond what Python reads
        raise bad_request(f"couldn't get version/kind; json parse error: {json_errors.TOO_DEEP}") from error


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, list) else value


def no_object(value: Any) -> str:
    """What Go's decoder says of JSON data that should be an object."""
    why = f"json: cannot unmarshal {json_kind(value)} into Go value of type {_SHAPE}"
    return f"couldn't get version/kind; json parse error: {why}"


def check_type_meta(found: Object) -> None:
    """ApiError 400 when ``kind`` or ``apiVersion`` is no text; absent and null ones are for the caller to judge."""
    for name in ("apiVersion", "kind"):
        value = found.get(name)
        if value is not None and not isinstance(value, str):
            why = f"json: cannot unmarshal {json_kind(value)} into Go struct field .{name} of type string"
            raise bad_request(f"couldn't get version/kind; json parse error: {why}")


def check_depth(value: Any) -> None:
    """Raise ApiError 400 when JSON data nests deeper than ``MAX_DEPTH``."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
    raise bad_request(f"couldn't get version/kind; json parse error: {json_errors.TOO_DEEP}")


def json_kind(value: Any) -> str:
    """What Go's decoder calls a JSON value."""
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "bool"
    return "null" if value is None else "number"


def unrecognized(data: bytes, kind: str, why: str) -> ApiError:
    """400 for a body that cannot be read at all; ``why`` is the decoder's text."""
    snippet = data[:_SNIPPET_BYTES].hex() + (" ..." if len(data) > _SNIPPET_BYTES else "")
    return bad_request(f"the object provided is unrecognized (must be of type {kind}): {why} ({snippet})")


def cannot_be_handled(obj: Mapping[str, Any], kind: str, why: str) -> ApiError:
    """400 for an object that cannot be decoded as ``kind``."""
    version = str(obj.get("apiVersion") or "").rpartition("/")[2]
    return bad_request(f"{obj.get('kind')} in version {go_quote(version)} cannot be handled as a {kind}: {why}")


def strict_error(obj: Mapping[str, Any], kind: str, problems: list[str]) -> ApiError:
    """400 for what ``duplicate_fields`` and ``unknown_fields`` found, under ``fieldValidation=Strict``."""
    return cannot_be_handled(obj, kind, f"strict decoding error: {', '.join(problems)}")


def check_types(schema: Schema, obj: Object, kind: str | None = None) -> None:
    """Raise ApiError 400 for the first value that does not fit its Go type; of custom objects for their metadata."""
    if schema.structural:
        meta = obj.get("metadata")
        problem = first_type_error(definitions().schema(_OBJECT_META), meta) if isinstance(meta, dict) else None
    else:
        problem = first_type_error(schema, obj)
    if problem:
        raise cannot_be_handled(obj, kind or str(obj.get("kind")), problem)


def duplicate_fields(data: bytes, parsed: Object | None = None, keys: int = -1) -> list[str]:
    """``duplicate field "a.b"`` for each key that a JSON text repeats in one object.

    The common case costs one pass over the bytes: a text has at least as many ends of keys as its object
    has keys, and exactly as many when nothing is repeated and no string looks like a key. Pass the
    already parsed object to save parsing it again, and how many keys it has (``plain_keys``) if that is known.
    """
    if keys < 0:
        keys = count_keys(orjson.loads(data) if parsed is None else parsed)
    if len(_KEY_END.findall(data)) == keys:
        return []
    pairs = json.loads(data.decode(errors="replace"), object_pairs_hook=_Pairs)
    return list(dict.fromkeys(_repeated(pairs, "")))[:_MAX_STRICT_ERRORS]


class _Pairs(list[tuple[str, Any]]):
    """An object's members in the order of the text, repeated ones included."""


def count_keys(value: Any) -> int:
    """How many keys the objects in JSON data have together."""
    if isinstance(value, dict):
        return len(value) + sum(count_keys(item) for item in value.values() if isinstance(item, dict | list))
    return sum(count_keys(item) for item in value if isinstance(item, dict | list))


def _repeated(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, item in value:
            here = f"{path}.{key}" if path else key
            if key in seen:
                yield f'duplicate field "{here}"'
            seen.add(key)
            yield from _repeated(item, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated(item, f"{path}[{index}]")


def unknown_fields(schema: Schema, obj: Object) -> list[str]:
    """``unknown field "a.b"`` for each field that the schema does not have, in document order."""
    found: list[str] = []
    _collect_unknown(schema, obj, "", found)
    return found[:_MAX_STRICT_ERRORS]


def _collect_unknown(schema: Schema, value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, dict):
        properties, additional = schema.properties, schema.additional
        closed = is_closed(schema)
        for key, item in value.items():
            inner = _object_meta() if schema.embedded and key == "metadata" else properties.get(key)
            if inner is None:
                if additional is None:
                    if closed and not (schema.embedded and key in RESOURCE_FIELDS):
                        found.append(f'unknown field "{path}.{key}"' if path else f'unknown field "{key}"')
                    continue
                inner = additional
            if isinstance(item, dict | list):
                _collect_unknown(inner, item, f"{path}.{key}" if path else key, found)
    elif isinstance(value, list) and schema.items is not None:
        inner = schema.items
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                _collect_unknown(inner, item, f"{path}[{index}]", found)


def is_closed(schema: Schema) -> bool:
    """Whether fields that an object's schema does not name are unknown, and not kept."""
    if schema.preserve_unknown:
        return False
    return bool(schema.properties) or (schema.type == "object" and schema.additional is None)


RESOURCE_FIELDS = frozenset({"apiVersion", "kind", "metadata"})
"""Fields that every resource has, and every resource inside a resource."""


def _object_meta() -> Schema:
    """The metadata of a resource inside a resource has ObjectMeta's fields, whatever its schema preserves."""
    return definitions().schema(_OBJECT_META)


def drop_unknown(schema: Schema, draft: Any) -> None:
    """Take out of a private draft, in place, every field that the schema does not have.

    Where Go has no null (a text or number in a list or map), null becomes the zero value, as its decoder makes it.
    """
    if isinstance(draft, dict):
        properties, additional = schema.properties, schema.additional
        closed = is_closed(schema)
        doomed: list[str] = []
        for key, item in draft.items():
            inner = _object_meta() if schema.embedded and key == "metadata" else properties.get(key) or additional
            if inner is not None:
                if inner is not ANYTHING and isinstance(item, dict | list):
                    drop_unknown(inner, item)
                elif item is None and key not in properties:
                    draft[key] = _zero(inner)
            elif closed and not (schema.embedded and key in RESOURCE_FIELDS):
                doomed.append(key)
        for key in doomed:
            del draft[key]
    elif isinstance(draft, list) and schema.items is not None:
        inner = schema.items
        for index, item in enumerate(draft):
            if isinstance(item, dict | list):
                drop_unknown(inner, item)
            elif item is None:
                draft[index] = _zero(inner)


_ZEROS: Mapping[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}
_WITH_NULL = frozenset({"quantity", "time", "micro-time"})


def _zero(schema: Schema) -> Any:
    """What Go's decoder makes of null for a scalar of a built-in kind; None for everything else."""
    if schema.structural or schema.int_or_string or schema.format in _WITH_NULL:
        return None
    return _ZEROS.get(schema.type)


def read_yaml(data: bytes) -> Any:
    """The JSON data of a YAML text, read as ``sigs.k8s.io/yaml`` does. ApiError 400 when malformed."""
    from minikube_py.machinery.yaml_text import load_yaml  # PyYAML is not needed to serve JSON

    try:
        found = load_yaml(data)
    except RecursionError as error:
        raise bad_request(f"yaml: {json_errors.TOO_DEEP}") from error
    check_depth(found)
    return found


def parse_yaml(data: bytes) -> Object:
    """The object of a YAML text. ApiError 400 when malformed or no object."""
    found = read_yaml(data)
    if not isinstance(found, dict):
        raise bad_request(no_object(found))
    check_type_meta(found)
    return found


def duplicate_yaml_keys(data: bytes) -> list[str]:
    """The strict YAML reader's one complaint about repeated keys, if any."""
    from minikube_py.machinery.yaml_text import repeated_keys

    lines = repeated_keys(data)
    return ["yaml: unmarshal errors:\n" + "\n".join(f"  {line}" for line in lines)] if lines else []
