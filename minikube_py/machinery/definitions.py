"""The bundle of OpenAPI definitions that ``scripts/build_hook.py`` writes: open it, read one definition.

In: ``definitions.bundle`` beside this module. Out: a definition as plain JSON, with or without its
descriptions. Opening costs one read and one decompression of the structure; a definition is parsed when
it is first asked for; descriptions and enumerations stay compressed until an OpenAPI document needs them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from minikube_py.machinery.objects import Object

BUNDLE = Path(__file__).with_name("definitions.bundle")
_MAGIC = b"pyk3sdf3"


class DefinitionsMissing(RuntimeError):
    """The bundle is not there or of another format. Retrying does not help; building it does."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} {why}: run `python scripts/build_hook.py` in the source tree, or reinstall pyk3s")
        self.path = path


class Bundle:
    """An opened bundle. Immutable; what it returns is fresh on every call."""

    __slots__ = ("_body", "_kinds", "_places", "_sections", "_structure", "digest")

    def __init__(self, data: bytes, path: Path = BUNDLE) -> None:
        if not data.startswith(_MAGIC):
            raise DefinitionsMissing(path, "has an unknown format")
        (length,) = struct.unpack_from(">I", data, len(_MAGIC))
        start = len(_MAGIC) + 4
        index = orjson.loads(data[start : start + length])
        self._body = data[start + length :]
        self._sections: dict[str, tuple[int, int]] = index["sections"]
        self._places: dict[str, tuple[int, int]] = index["definitions"]
        self._kinds: dict[str, str] = index["kinds"]
        self._structure = self._section("structure")
        self.digest: str = index["digest"]
        """Changes whenever any definition, description or enumeration does."""

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def definition_of(self, api_version: str, kind: str) -> str | None:
        """The name of a kind's definition, or None."""
        return self._kinds.get(f"{api_version} {kind}")

    def structure(self, name: str) -> Object:
        """The definition without descriptions; references are bare names. KeyError when unknown."""
        offset, length = self._places[name]
        found: Object = orjson.loads(self._structure[offset : offset + length])
        return found

    def descriptions(self, name: str) -> dict[str, str]:
        """Its descriptions: the definition's own under "", those of properties by name."""
        found: dict[str, str] = _descriptions(self, name.rpartition(".")[0]).get(name, {})
        return found

    def enumerations(self, name: str) -> dict[str, tuple[list[str], str]]:
        """Of its properties that are enumerations, the values and the text about them, "" where there is none.

        They are documentation; nothing is validated by them.
        """
        found: dict[str, tuple[list[str], str]] = _enumerations(self).get(name, {})
        return found

    def all_enumerations(self) -> dict[str, Any]:
        """The enumerations of every definition that has any."""
        found: dict[str, Any] = orjson.loads(self._section("enumerations"))
        return found

    def package_descriptions(self, package: str) -> dict[str, Any]:
        """All descriptions of a package of definitions."""
        found: dict[str, Any] = orjson.loads(self._section(f"descriptions:{package}"))
        return found

    def _section(self, label: str) -> bytes:
        offset, length = self._sections[label]
        return zlib.decompress(self._body[offset : offset + length])


@lru_cache(maxsize=2)
def _descriptions(bundle: Bundle, package: str) -> dict[str, Any]:
    """The package that was asked for last; two, because a kind's own package and meta/v1 alternate."""
    return bundle.package_descriptions(package)


@lru_cache(maxsize=1)
def _enumerations(bundle: Bundle) -> dict[str, Any]:
    return bundle.all_enumerations()


def forget_descriptions() -> None:
    """Free the descriptions and enumerations that a document builder has read."""
    _descriptions.cache_clear()
    _enumerations.cache_clear()


def open_bundle(path: Path = BUNDLE) -> Bundle:
    """Read the bundle; ``DefinitionsMissing`` when it was not built."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DefinitionsMissing(path, "is missing") from error
    return Bundle(data, path)
