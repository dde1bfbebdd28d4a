"""The KMS v2 provider: envelope encryption whose outer key a plugin behind a Unix socket holds.

A random seed is wrapped by the plugin once and then derives a fresh AES-GCM key for each value (HKDF-SHA256), as
``envelope/kmsv2`` does; values carry the wrapped seed. The plugin is asked again when its key id changes, which
``refresh`` finds out. Messages are those of ``k8s.io/kms/apis/v2``.

Seeds of values that this process has not written are unwrapped by ``prepare``. Values of another server on the same
database may come with a seed that is new here; the first of them is unwrapped on the spot, which holds the loop for
that one call to the plugin.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from minikube_py.components.apiserver.storage.encryption.ciphers import CannotDecrypt, gcm
from minikube_py.components.apiserver.storage.encryption.configuration import Provider
from minikube_py.machinery.wire import LENGTH, WireError, delimited, fields, tag, varint

_SERVICE = "/v2.KeyManagementService/"
_SEED_BYTES = 32
_INFO_BYTES = 32
_HKDF_SEED = 1
remembered_seeds = 1000
_LONGEST_KEY_ID = 1024


class KmsError(Exception):
    """The plugin gave no usable answer; the text names it and says why."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A seed as the plugin has wrapped it."""

    key_id: str
    ciphertext: bytes
    annotations: Mapping[str, bytes]


class Plugin(Protocol):
    """The three calls of a KMS plugin. All block and raise KmsError."""

    def status(self) -> tuple[str, str, str]:
        """(version, healthz, key id)."""

    def encrypt(self, plain: bytes) -> Wrapped: ...

    def decrypt(self, wrapped: Wrapped) -> bytes: ...

    def close(self) -> None: ...


class KmsProvider:
    """See the module. Call ``refresh`` before the first value is written; it blocks, so call it in a thread."""

    def __init__(self, name: str, plugin: Plugin) -> None:
        self.prefix = f"k8s:enc:kms:v2:{name}:".encode()
        self.name = name
        self.plugin = plugin
        self.problem = ""
        """Why the plugin cannot be used now; empty: it can."""
        self._seed = b""
        self._wrapped: Wrapped | None = None
        self._seeds: OrderedDict[bytes, bytes] = OrderedDict()

    @property
    def key_id(self) -> str:
        return self._wrapped.key_id if self._wrapped is not None else ""

    def refresh(self) -> None:
        """Ask for the plugin's state, and wrap a new seed when its key has changed. Blocks. Raises KmsError."""
        try:
            version, health, key_id = self.plugin.status()
            if version not in ("v2", "v2beta1"):
                raise KmsError(f"KMS plugin {self.name} speaks version {version!r}; expected v2")
            if health != "ok":
                raise KmsError(f"KMS plugin {self.name} is not healthy: {health}")
            if self._wrapped is None or self._wrapped.key_id != key_id:
                seed = os.urandom(_SEED_BYTES)
                wrapped = self.plugin.encrypt(seed)
                if not 0 < len(wrapped.key_id) <= _LONGEST_KEY_ID:
                    raise KmsError(f"KMS plugin {self.name} answered with an unusable key id")
                self._seed, self._wrapped = seed, wrapped
                self._remember(wrapped.ciphertext, seed)
        except KmsError as error:
            self.problem = str(error)
            raise
        self.problem = ""

    def prepare(self, stored: Iterable[bytes]) -> None:
        """Unwrap the seeds of these values (without prefix). Blocks. Raises KmsError, CannotDecrypt."""
        for data in stored:
            _, wrapped, _ = parse_envelope(data)
            if wrapped.ciphertext not in self._seeds:
                self._unwrap(wrapped)

    def seal(self, value: bytes, context: bytes) -> bytes:
        if self._wrapped is None:
            raise KmsError(self.problem or f"KMS plugin {self.name} has not been asked yet")
        info = os.urandom(_INFO_BYTES)
        seal, _ = gcm(_derived(self._seed, info))
        return envelope(info + seal(value, context), self._wrapped)

    def open(self, data: bytes, context: bytes) -> bytes:
        encrypted, wrapped, source = parse_envelope(data)
        seed = self._seeds.get(wrapped.ciphertext)
        if seed is None:
            try:
                seed = self._unwrap(wrapped)
            except KmsError as error:
                raise CannotDecrypt(str(error)) from error
        if source != _HKDF_SEED:
            return gcm(seed)[1](encrypted, context)
        info, rest = encrypted[:_INFO_BYTES], encrypted[_INFO_BYTES:]
        return gcm(_derived(seed, info))[1](rest, context)

    def current(self, data: bytes) -> bool:
        """Whether a value was written with the plugin's current key."""
        _, wrapped, source = parse_envelope(data)
        return source == _HKDF_SEED and wrapped.key_id == self.key_id

    def _unwrap(self, wrapped: Wrapped) -> bytes:
        seed = self.plugin.decrypt(wrapped)
        self._remember(wrapped.ciphertext, seed)
        return seed

    def _remember(self, ciphertext: bytes, seed: bytes) -> None:
        self._seeds[ciphertext] = seed
        while len(self._seeds) > remembered_seeds:
            self._seeds.popitem(last=False)


def _derived(seed: bytes, info: bytes) -> bytes:
    """HKDF-Expand with SHA-256, 32 bytes: one block of it."""
    return hmac.new(seed, info + b"\x01", hashlib.sha256).digest()


def envelope(encrypted: bytes, wrapped: Wrapped) -> bytes:
    """The EncryptedObject message of a value."""
    notes = b"".join(delimited(4, _pair(name, value)) for name, value in sorted(wrapped.annotations.items()))
    return (
        delimited(1, encrypted)
        + delimited(2, wrapped.key_id.encode())
        + delimited(3, wrapped.ciphertext)
        + notes
        + tag(5, 0)
        + varint(_HKDF_SEED)
    )


def parse_envelope(data: bytes) -> tuple[bytes, Wrapped, int]:
    """(encrypted value, wrapped seed or key, kind of the latter). Raises CannotDecrypt."""
    found: dict[int, Any] = {}
    annotations: dict[str, bytes] = {}
    try:
        for number, wire_type, value in fields(data):
            if number == 4 and wire_type == LENGTH and isinstance(value, bytes):
                name, content = _unpair(value)
                annotations[name] = content
            else:
                found[number] = value
        key_id = found[2].decode()
        wrapped = Wrapped(key_id, found[3], annotations)
        return found[1], wrapped, int(found.get(5, 0))
    except (WireError, KeyError, ValueError, AttributeError):
        raise CannotDecrypt("the value is not an envelope of KMS v2") from None


def _pair(name: str, value: bytes) -> bytes:
    return delimited(1, name.encode()) + delimited(2, value)


def _unpair(data: bytes) -> tuple[str, bytes]:
    found = {number: value for number, _, value in fields(data)}
    name, content = found.get(1, b""), found.get(2, b"")
    if not isinstance(name, bytes) or not isinstance(content, bytes):
        raise WireError("not a map entry")
    return name.decode(), content


class GrpcPlugin:
    """Implements ``Plugin`` over grpcio's synchronous client, which is opened by the first call."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._channel: Any = None

    def status(self) -> tuple[str, str, str]:
        found = self._call("Status", b"")
        return _text(found.get(1)), _text(found.get(2)), _text(found.get(3))

    def encrypt(self, plain: bytes) -> Wrapped:
        found = self._call("Encrypt", delimited(1, plain) + delimited(2, _uid()))
        return Wrapped(_text(found.get(2)), _bytes(found.get(1)), found.get("annotations") or {})

    def decrypt(self, wrapped: Wrapped) -> bytes:
        notes = b"".join(delimited(4, _pair(name, value)) for name, value in sorted(wrapped.annotations.items()))
        request = (
            delimited(1, wrapped.ciphertext) + delimited(2, _uid()) + delimited(3, wrapped.key_id.encode()) + notes
        )
        return _bytes(self._call("Decrypt", request).get(1))

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _call(self, method: str, request: bytes) -> dict[Any, Any]:
        import grpc

        if self._channel is None:
            self._channel = grpc.insecure_channel(self._provider.endpoint)
        call: Callable[..., bytes] = self._channel.unary_unary(_SERVICE + method)
        try:
            answer = call(request, timeout=self._provider.timeout_seconds)
            found: dict[Any, Any] = {}
            for number, _, value in fields(answer):
                if number == 3 and method == "Encrypt" and isinstance(value, bytes):
                    name, content = _unpair(value)
                    found.setdefault("annotations", {})[name] = content
                else:
                    found[number] = value
            return found
        except (grpc.RpcError, WireError) as error:
            details = error.details() if hasattr(error, "details") else str(error)
            raise KmsError(f"KMS plugin {self._provider.name}: {method} failed: {details}") from error


def _uid() -> bytes:
    return str(uuid.uuid4()).encode()


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""
