"""YAML as ``sigs.k8s.io/yaml`` writes it: sorted keys, two-space indent, lists at their key's indent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Go's style: strings that would read as something else are double-quoted, multi-line ones are literal blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    tag = "tag:yaml.org,2002:str"
    if "\n" in value and not value.startswith((" ", "\t", "\n")):
        return dumper.represent_scalar(tag, value, style="|")
    if _needs_quotes(value):
        return dumper.represent_scalar(tag, value, style='"')
    return dumper.represent_scalar(tag, value)


_WORDS = frozenset((
    "y", "Y", "n", "N", "yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF", "true",
    "True", "TRUE", "false", "False", "FALSE", "null", "Null", "NULL", "~",
))  # fmt: skip


_RESOLVER = yaml.resolver.Resolver()


def _needs_quotes(value: str) -> bool:
    """Whether a plain scalar would be read as something that is no string."""
    if not value or value in _WORDS:
        return True
    resolved = _RESOLVER.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
    return bool(resolved != "tag:yaml.org,2002:str") or _base60_or_number(value)


def _base60_or_number(value: str) -> bool:
    head = value.lstrip("+-")
    if not head[:1].isdigit() and not head.startswith("."):
        return False
    try:
        float(value.replace("_", ""))
    except ValueError:
        return value.count(":") > 0 and value.replace(":", "").isdigit()
    return True


_Dumper.add_representer(str, _text)


def to_yaml(obj: Mapping[str, Any]) -> bytes:
    """The object as YAML text."""
    text: str = yaml.dump(
        dict(obj), Dumper=_Dumper, default_flow_style=False, sort_keys=True, allow_unicode=True, width=80
    )
    return text.encode()
