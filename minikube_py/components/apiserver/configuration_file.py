"""Configuration files of the API server: versioned YAML read strictly, with the place of every mistake.

``read_document`` gives the checked document, ``Section`` reads its fields into records: a field that
nobody asks for, or of the wrong type, is an error with its path, as kube-apiserver's strict decoding
has it. Errors are gathered, so that an administrator sees all of them; ``raise_errors`` ends the
reading with one ``ConfigurationError`` whose text is one line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from minikube_py.machinery.errors import ApiError, FieldError
from minikube_py.machinery.yaml_text import load_yaml

T = TypeVar("T")

GROUP = "apiserver.config.k8s.io"
longest_file_bytes = 8 * 1024 * 1024
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)")


class ConfigurationError(ValueError):
    """A configuration file that cannot be used; the text is one line with the file, the place and the cause."""


def read_document(path: Path, accepted: Mapping[tuple[str, str], str]) -> Mapping[str, Any]:
    """The document of a file whose (apiVersion, kind) is among ``accepted`` (values are what each is for).

    Blocks. Raises ConfigurationError.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    return parse_document(data, str(path), accepted)


def parse_document(data: bytes, where: str, accepted: Mapping[tuple[str, str], str] | None) -> Mapping[str, Any]:
    """As ``read_document``, of bytes; ``where`` names them in errors. None accepts what the reader checks itself."""
    if len(data) > longest_file_bytes:
        raise ConfigurationError(f"{where} is larger than {longest_file_bytes} bytes")
    try:
        content = load_yaml(data)
    except ApiError as error:
        raise ConfigurationError(f"{where} is not YAML: {' '.join(error.message.split())}") from error
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{where} must be an object with apiVersion and kind")
    if accepted is not None:
        check_version(content, where, accepted)
    return content


def check_version(content: Mapping[str, Any], where: str, accepted: Mapping[tuple[str, str], str]) -> None:
    """Raise ConfigurationError unless the object's (apiVersion, kind) is accepted."""
    found = (str(content.get("apiVersion") or ""), str(content.get("kind") or ""))
    if found not in accepted:
        known = ", ".join(sorted({f"{version} {kind}" for version, kind in accepted}))
        raise ConfigurationError(
            f"{where} is {found[0] or 'no version'} {found[1] or 'without kind'}; expected {known}"
        )


def parse_duration(text: str) -> float | None:
    """Seconds of a Go duration such as ``1m30s``; None when it is not one."""
    if text in ("0", "+0", "-0"):
        return 0.0
    sign = -1.0 if text.startswith("-") else 1.0
    rest, total = text.lstrip("+-") if text[:1] in ("+", "-") else text, 0.0
    if not rest:
        return None
    while rest:
        found = _DURATION.match(rest)
        if found is None:
            return None
        total += float(found[1]) * _UNITS[found[2]]
        rest = rest[found.end() :]
    return sign * total


class Section:
    """One object of a document, read field by field. ``close`` reports what was not asked for."""

    def __init__(self, content: object, path: str, errors: list[str]) -> None:
        self.path = path
        self.errors = errors
        self._asked: set[str] = {"apiVersion", "kind", "metadata"} if not path else set()
        self._content: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
        if content is not None and not isinstance(content, Mapping):
            errors.append(f"{path}: must be an object")

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def names(self) -> list[str]:
        """The fields that are given, for objects whose fields are names of the user's."""
        return [str(name) for name in self._content]

    def has(self, name: str) -> bool:
        """Whether the field is given and not null."""
        return self._content.get(name) is not None

    def raw(self, name: str) -> Any:
        """The field's value as it stands."""
        self._asked.add(name)
        return self._content.get(name)

    def text(self, name: str, default: str = "") -> str:
        return self._typed(name, str, "a string", default)

    def optional_text(self, name: str) -> str | None:
        """None where the field is absent."""
        text = self.text(name)
        return text if self.has(name) else None

    def flag(self, name: str, default: bool = False) -> bool:
        return self._typed(name, bool, "true or false", default)

    def number(self, name: str, default: int = 0) -> int:
        return self._typed(name, int, "a whole number", default)

    def duration(self, name: str, default: float | None = None) -> float | None:
        """Seconds; ``default`` where the field is absent."""
        if not self.has(name):
            self.raw(name)
            return default
        value = self.raw(name)
        seconds = parse_duration(value) if isinstance(value, str) else None
        if seconds is None:
            self.errors.append(f"{self.at(name)}: must be a duration such as 30s")
            return default
        return seconds

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self.raw(name)
        if value is None:
            return ()
        if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(x, str) for x in value):
            self.errors.append(f"{self.at(name)}: must be a list of strings")
            return ()
        return tuple(value)

    def section(self, name: str) -> Section:
        """A nested object; an empty one where it is absent."""
        return Section(self.raw(name), self.at(name), self.errors)

    def sections(self, name: str) -> list[Section]:
        """The objects of a list."""
        value = self.raw(name)
        if value is None:
            return []
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.errors.append(f"{self.at(name)}: must be a list")
            return []
        return [Section(item or {}, f"{self.at(name)}[{index}]", self.errors) for index, item in enumerate(value)]

    def close(self) -> None:
        """Report fields that do not exist."""
        for name in self._content:
            if name not in self._asked:
                self.errors.append(f'unknown field "{self.at(name)}"')

    def _typed(self, name: str, wanted: type[T], words: str, default: T) -> T:
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            self.errors.append(f"{self.at(name)}: must be {words}")
            return default
        return value


def raise_errors(where: str, errors: Sequence[str | FieldError]) -> None:
    """Raise one ConfigurationError when there is any error."""
    if errors:
        lines = [item if isinstance(item, str) else f"{item.field}: {item.body()}" for item in errors]
        raise ConfigurationError(f"{where}: {'; '.join(dict.fromkeys(lines))}")
