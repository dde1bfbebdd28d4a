"""The encryption configuration that pyk3s keeps itself (``--secrets-encryption``): pure functions of its content.

One entry for Secrets with one keyed provider and ``identity``; the order of the two says whether new values are
encrypted. Stages of a rotation are k3s's: start, prepare (the new key can be read), rotate (the new key writes),
reencrypt_finished (the old key is gone).
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minikube_py.components.apiserver.configuration_file import GROUP, ConfigurationError
from minikube_py.components.apiserver.storage.encryption import MANAGED_FILE
from minikube_py.components.apiserver.storage.encryption.configuration import parse_encryption

STAGES = ("start", "prepare", "rotate", "reencrypt_finished")
_KEY_BYTES = 32
_STAGE = "encryption-state.json"
Content = dict[str, Any]


def config_path(data_dir: Path) -> Path:
    return data_dir / MANAGED_FILE


def ensure_config(data_dir: Path, provider: str, now: float) -> Path:
    """Create the configuration with a first key where there is none. Blocks. Raises OSError."""
    path = config_path(data_dir)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write(path, generated(provider, now), "start")
    return path


def generated(provider: str, now: float) -> Content:
    """A configuration that encrypts Secrets with a new key."""
    providers = [{provider: {"keys": [new_key(provider, now)]}}, {"identity": {}}]
    return {
        "kind": "EncryptionConfiguration",
        "apiVersion": f"{GROUP}/v1",
        "resources": [{"resources": ["secrets"], "providers": providers}],
    }


def new_key(provider: str, now: float) -> dict[str, str]:
    """A key named after the moment, as k3s names them."""
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    name = f"{provider}key-{moment.replace(':', '-')}"
    return {"name": name, "secret": base64.b64encode(os.urandom(_KEY_BYTES)).decode()}


def read(path: Path) -> tuple[Content, str]:
    """(configuration, stage). Blocks. Raises ConfigurationError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} does not exist; start the server with --secrets-encryption to encrypt Secrets"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    parse_encryption(data, str(path))
    try:
        stage = json.loads((path.parent / _STAGE).read_text())["stage"]
    except (OSError, ValueError, KeyError):
        stage = "start"
    return json.loads(data), stage if stage in STAGES else "start"


def write(path: Path, content: Content, stage: str) -> None:
    """Replace configuration and stage, 0600. Blocks. Raises OSError."""
    _replace(path.parent / _STAGE, json.dumps({"stage": stage}))
    _replace(path, json.dumps(content, indent=1))


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def _edited(content: Content, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Content:
    entry = content["resources"][0]
    return {**content, "resources": [{**entry, "providers": edit(entry["providers"])}, *content["resources"][1:]]}


def is_enabled(content: Content) -> bool:
    return "identity" not in content["resources"][0]["providers"][0]


def enabled(content: Content, *, on: bool) -> Content:
    """New values are encrypted from now on, or no longer; what is stored stays readable."""

    def edit(providers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        keyed = [provider for provider in providers if "identity" not in provider]
        plain: list[dict[str, Any]] = [{"identity": {}}]
        return [*keyed, *plain] if on else [*plain, *keyed]

    return _edited(content, edit)


def keys(content: Content) -> list[tuple[str, str]]:
    """(provider, key name) in order; the first one writes when encryption is on."""
    return [
        (kind, key["name"])
        for provider in content["resources"][0]["providers"]
        for kind, options in provider.items()
        for key in (options or {}).get("keys", ())
    ]


def with_new_key(content: Content, now: float) -> Content:
    """A further key that can be read but does not write yet."""

    def edit(providers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [_with_keys(provider, lambda kind, found: [*found, new_key(kind, now)]) for provider in providers]

    return _edited(content, edit)


def with_last_key_first(content: Content) -> Content:
    """The newest key writes; the others can still be read."""

    def edit(providers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [_with_keys(provider, lambda kind, found: [found[-1], *found[:-1]]) for provider in providers]

    return _edited(content, edit)


def with_first_key_alone(content: Content) -> Content:
    """Only the key that writes is left; for when nothing is stored with the others any more."""

    def edit(providers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [_with_keys(provider, lambda kind, found: found[:1]) for provider in providers]

    return _edited(content, edit)


def _with_keys(
    provider: dict[str, Any], change: Callable[[str, list[dict[str, str]]], list[dict[str, str]]]
) -> dict[str, Any]:
    return {
        kind: {**options, "keys": change(kind, options["keys"])} if (options or {}).get("keys") else options
        for kind, options in provider.items()
    }
