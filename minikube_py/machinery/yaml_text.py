"""YAML as ``sigs.k8s.io/yaml`` reads and writes it: YAML 1.1 scalars without times, JSON's data model.

Reading differs from PyYAML's defaults where the reference does: no timestamps, no base-60 numbers, keys
of any scalar type become strings, merge keys are honoured. Writing sorts keys and indents by two.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from minikube_py.machinery import json_errors
from minikube_py.machinery.errors import ApiError, bad_request
from minikube_py.machinery.objects import thaw

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
MAX_EXPANDED_NODES = 200_000
"""How many nodes a document with aliases may have when they are written out."""
MAX_NESTING = 1000
"""Deeper than any object may be (``decoding.MAX_DEPTH``), and shallow enough for the C stack."""
_OPENINGS = (b"[", b"{", b"- ", b"-\t", b"? ", b"?\t", b": ", b":\t")
_LONGEST_NUMBER = 256
"""Digits of an integer; one of this length still is a float in any base."""
_NULL, _BOOL = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_MERGE = "tag:yaml.org,2002:merge"
_STR = "tag:yaml.org,2002:str"


class _YamlLoader(_Loader):  # type: ignore[misc]
    """The safe loader with the reference's scalars."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


class _StrictLoader(_YamlLoader):
    """Also notes repeated keys."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []


def _resolver(tag: str, pattern: str, first: str) -> None:
    _YamlLoader.add_implicit_resolver(tag, re.compile(rf"^(?:{pattern})$"), list(first))


_resolver(_BOOL, r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO")
_resolver(_INT, r"[-+]?0b[0-1_]+|[-+]?0o?[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+", "-+0123456789")
_resolver(
    _FLOAT,
    r"[-+]?(?:[0-9][0-9_]*)?\.?[0-9_]*(?:[eE][-+]?[0-9]+)?(?<=[0-9._])|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "-+0123456789.",
)
_resolver(_NULL, r"~|null|Null|NULL|", "~nN\0")
_YamlLoader.yaml_implicit_resolvers.setdefault("", []).append((_NULL, re.compile("^$")))
_resolver(_MERGE, r"<<", "<")


def _construct_int(loader: Any, node: Any) -> int | float:
    text = loader.construct_scalar(node).replace("_", "")
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-").lower()
    if len(digits) > _LONGEST_NUMBER:
        raise bad_request("error converting YAML to JSON: json: unsupported value: +Inf")
    for prefix, base in (("0b", 2), ("0o", 8), ("0x", 16)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    number = sign * (int(digits, 8) if digits.startswith("0") and len(digits) > 1 else int(digits))
    return number if -(2**63) <= number < 2**64 else float(number)


def _construct_float(loader: Any, node: Any) -> Any:
    text = loader.construct_scalar(node).replace("_", "").lower()
    if text.lstrip("+-") in (".inf", ".nan"):
        raise bad_request(f"error converting YAML to JSON: json: unsupported value: {text}")
    try:
        return float(text)
    except ValueError:
        return loader.construct_scalar(node)


def _construct_map(loader: Any, node: Any) -> dict[str, Any]:
    loader.flatten_mapping(node)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _key_text(loader.construct_object(key_node, deep=True))
        if key in result and isinstance(loader, _StrictLoader):
            loader.repeated.append(f'line {key_node.start_mark.line + 1}: key "{key}" already set in map')
        result[key] = loader.construct_object(value_node, deep=True)
    return result


def _key_text(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str | int | float):
        return str(key)
    raise bad_request(f"error converting YAML to JSON: unsupported map key of type: {type(key).__name__}, key: {key}")


_YamlLoader.add_constructor(_INT, _construct_int)
_YamlLoader.add_constructor(_FLOAT, _construct_float)
_YamlLoader.add_constructor("tag:yaml.org,2002:map", _construct_map)


def load_yaml(data: bytes) -> Any:
    """The first document of a YAML text as JSON data; ApiError 400 with the reference's text when malformed."""
    return _load(data, _YamlLoader)[0]


def repeated_keys(data: bytes) -> list[str]:
    """``line N: key "k" already set in map`` for each repeated key."""
    found: list[str] = _load(data, _StrictLoader)[1]
    return found


def _check_depth(data: bytes) -> None:
    """Refuse what nests too deep to be composed: libyaml's composer recurses on the C stack and has no limit.

    Events come one by one without recursion. Few texts have so many openings that they must be looked at; those
    that nest by indentation alone need a number of bytes that grows with the square of the depth.
    """
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")  # UTF-16, in which the openings look different
    if not wide and sum(map(data.count, _OPENINGS)) <= MAX_NESTING:
        return
    loader, depth = _YamlLoader(data), 0
    try:
        while (event := loader.get_event()) is not None and not isinstance(event, yaml.StreamEndEvent):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_NESTING:
                    raise bad_request(f"yaml: {json_errors.TOO_DEEP}")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    finally:
        loader.dispose()


def _load(data: bytes, kind: type[Any]) -> tuple[Any, list[str]]:
    try:
        _check_depth(data)
        loader = kind(data)
        try:
            if not _has_more(data):
                node = loader.get_single_node()
            else:
                node = loader.get_node() if loader.check_node() else None
            aliased = node is not None and b"*" in data
            if aliased and _expanded(node, {}) > MAX_EXPANDED_NODES:
                raise bad_request("yaml: document contains excessive aliasing")
            document = loader.construct_document(node) if node is not None else None
            if aliased:
                document = thaw(document)  # every use of an anchor becomes data of its own
            return document, getattr(loader, "repeated", [])
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise bad_request(f"yaml: {error}") from error


def _expanded(node: Any, known: dict[int, int]) -> int:
    """How many nodes the document has when every alias is written out."""
    size = known.get(id(node))
    if size is None:
        known[id(node)] = 1  # an anchor within itself counts once; constructing it fails later
        parts = node.value if isinstance(node.value, list) else []
        inner = (item for part in parts for item in (part if isinstance(part, tuple) else (part,)))
        size = known[id(node)] = 1 + sum(_expanded(item, known) for item in inner)
    return size


def _has_more(data: bytes) -> bool:
    return b"\n---" in data


def _syntax_error(error: yaml.MarkedYAMLError) -> ApiError:
    """The text of go-yaml, which counts lines from one for scanner errors and from zero for parser errors."""
    marks = [mark.line for mark in (error.context_mark, error.problem_mark) if mark is not None and mark.line]
    line = marks[0] + isinstance(error, yaml.scanner.ScannerError) if marks else 0
    where = f"line {line}: " if line else ""
    return bad_request(f"yaml: {where}{error.problem or error.context}")


def to_yaml(value: Any) -> bytes:
    """JSON data as ``sigs.k8s.io/yaml`` writes it: sorted keys, two-space indent, lists at their key's indent."""
    text: str = yaml.dump(value, Dumper=_YamlDumper, sort_keys=True, default_flow_style=False, width=80,
                          allow_unicode=True)  # fmt: skip
    return text.encode()


class _YamlDumper(_Dumper):  # type: ignore[misc]
    """The safe dumper without aliases; text of several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None
    if style is None and (text == "" or _reads_otherwise(text)):
        style = '"'
    return dumper.represent_scalar(_STR, text, style=style)


def _reads_otherwise(text: str) -> bool:
    """Whether the plain text would be read as something else than a string."""
    for tag, pattern in _YamlLoader.yaml_implicit_resolvers.get(text[:1], []):
        if tag == _FLOAT and not any(char.isalnum() for char in text):
            continue  # a dot alone is a field in managedFields
        if tag != _MERGE and pattern.match(text):
            return True
    return text in ("y", "Y", "n", "N") or bool(_TIMESTAMP.match(text)) or bool(_BASE60.match(text))


_TIMESTAMP = re.compile(
    r"^\d{4}-\d\d?-\d\d?(?:[Tt]\d\d?:\d\d?:\d\d?(?:\.\d+)?(?:Z|[-+]\d\d:\d\d)| \d\d?:\d\d?:\d\d?(?:\.\d+)?)?$"
)
_BASE60 = re.compile(r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$")
_YamlDumper.add_representer(str, _represent_text)
