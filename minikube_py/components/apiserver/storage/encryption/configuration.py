"""EncryptionConfiguration files: which providers encrypt which resources, with which keys.

Same fields, limits and wildcards as ``apiserver.config.k8s.io/v1`` in kube-apiserver: the first provider writes,
all of them read; ``*.`` is the core group, ``*.apps`` the group apps, ``*.*`` everything; the first entry that
names a resource decides.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.components.apiserver.configuration_file import GROUP, Section, parse_document, raise_errors

KINDS = ("aescbc", "aesgcm", "secretbox", "identity", "kms")
_KEY_SIZES = {"aescbc": (16, 24, 32), "aesgcm": (16, 24, 32), "secretbox": (32,)}
_ACCEPTED = {(f"{GROUP}/v1", "EncryptionConfiguration"): "how stored objects are encrypted"}


@dataclass(frozen=True, slots=True)
class Key:
    """``secret`` never appears in a log: its repr is left out."""

    name: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.name!r})"


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider of an entry; ``endpoint``, ``name`` and ``timeout_seconds`` are those of a KMS."""

    kind: str
    keys: tuple[Key, ...] = ()
    name: str = ""
    endpoint: str = ""
    timeout_seconds: float = 3.0


@dataclass(frozen=True, slots=True)
class Entry:
    resources: tuple[str, ...]
    providers: tuple[Provider, ...]

    def names(self, group: str, plural: str) -> bool:
        """Whether the entry is about a resource."""
        whole = f"{plural}.{group}" if group else plural
        return any(pattern in (whole, f"*.{group}", "*.*") for pattern in self.resources)


@dataclass(frozen=True, slots=True)
class EncryptionConfiguration:
    entries: tuple[Entry, ...] = ()

    def providers(self, group: str, plural: str) -> tuple[Provider, ...]:
        """The providers of a resource; none: it is stored as it is."""
        return next((entry.providers for entry in self.entries if entry.names(group, plural)), ())


def read_encryption(path: Path) -> EncryptionConfiguration:
    """The configuration of a file. Blocks. Raises ConfigurationError, in whose text no key appears."""
    from minikube_py.components.apiserver.configuration_file import ConfigurationError

    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    return parse_encryption(data, str(path))


def parse_encryption(data: bytes, where: str) -> EncryptionConfiguration:
    """As ``read_encryption``, of bytes."""
    errors: list[str] = []
    top = Section(parse_document(data, where, _ACCEPTED), "", errors)
    sections = top.sections("resources")
    entries = tuple(_entry(section) for section in sections)
    top.close()
    if not entries:
        errors.append("resources: at least one entry is needed")
    errors += _repeated(entries)
    raise_errors(f"encryption configuration {where}", errors)
    return EncryptionConfiguration(entries)


def _entry(section: Section) -> Entry:
    resources = section.texts("resources")
    if not resources:
        section.errors.append(f"{section.at('resources')}: must contain at least one resource")
    for name in resources:
        if "*" in name and not name.startswith("*."):
            section.errors.append(f"{section.at('resources')}: {name!r}: use '*.<group>', '*.' or '*.*'")
        if name != name.lower():
            section.errors.append(f"{section.at('resources')}: {name!r} must be lower case")
    providers = tuple(_provider(found) for found in section.sections("providers"))
    if not providers:
        section.errors.append(f"{section.at('providers')}: must contain at least one provider")
    section.close()
    return Entry(resources, providers)


def _repeated(entries: Sequence[Entry]) -> list[str]:
    seen: dict[str, int] = {}
    found: list[str] = []
    for index, entry in enumerate(entries):
        for name in entry.resources:
            if name in seen:
                found.append(f"resources[{index}].resources: {name!r} is already in resources[{seen[name]}]")
            seen.setdefault(name, index)
    return found


def _provider(section: Section) -> Provider:
    given = [kind for kind in KINDS if section.has(kind)]
    if len(given) != 1:
        section.errors.append(f"{section.path}: must name exactly one of {', '.join(KINDS)}")
        return Provider("identity")
    kind = given[0]
    options = section.section(kind)
    section.close()
    if kind == "identity":
        options.close()
        return Provider(kind)
    found = _kms(options) if kind == "kms" else Provider(kind, _keys(options, _KEY_SIZES[kind]))
    options.close()
    return found


def _keys(options: Section, sizes: tuple[int, ...]) -> tuple[Key, ...]:
    keys: list[Key] = []
    for section in options.sections("keys"):
        name, text = section.text("name"), section.text("secret")
        section.close()
        if not name or ":" in name:
            section.errors.append(f"{section.at('name')}: must be given, without a colon")
        if any(key.name == name for key in keys):
            section.errors.append(f"{section.at('name')}: {name!r} is used twice")
        try:
            secret = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            section.errors.append(f"{section.at('secret')}: must be base64")
            continue
        if len(secret) not in sizes:
            expected = " or ".join(map(str, sizes))
            section.errors.append(f"{section.at('secret')}: is of {len(secret)} bytes, expected {expected}")
        keys.append(Key(name, secret))
    if not keys:
        options.errors.append(f"{options.at('keys')}: must contain at least one key")
    return tuple(keys)


def _kms(options: Section) -> Provider:
    version, name, endpoint = options.text("apiVersion", "v1"), options.text("name"), options.text("endpoint")
    timeout = options.duration("timeout", 3.0) or 0.0
    options.raw("cachesize")
    if version != "v2":
        options.errors.append(f"{options.at('apiVersion')}: only v2 is supported; KMS v1 is switched off in Kubernetes")
    if not name or ":" in name:
        options.errors.append(f"{options.at('name')}: must be given, without a colon")
    if not endpoint.startswith("unix://"):
        options.errors.append(f"{options.at('endpoint')}: must be unix:///path/of/the/socket")
    if timeout <= 0:
        options.errors.append(f"{options.at('timeout')}: must be positive")
    return Provider("kms", name=name, endpoint=endpoint, timeout_seconds=timeout)
