"""The providers of one resource in their order: the first writes, all read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minikube_py.components.apiserver.storage.encryption import MARK
from minikube_py.components.apiserver.storage.encryption.ciphers import IDENTITY, CannotDecrypt, Sealer, sealer
from minikube_py.components.apiserver.storage.encryption.configuration import Provider
from minikube_py.components.apiserver.storage.encryption.kms import GrpcPlugin, KmsProvider


@dataclass(frozen=True, slots=True)
class Transformer:
    """``sealers`` hold every key of every provider, in order; the first one is used for writing."""

    sealers: tuple[Sealer | KmsProvider, ...]

    def to_store(self, key: str, value: bytes) -> bytes:
        """Raises KmsError when the plugin that should encrypt cannot be used."""
        first = self.sealers[0]
        return first.prefix + first.seal(value, key.encode())

    def from_store(self, key: str, data: bytes) -> tuple[bytes, bool]:
        """(value, whether it should be written anew). Raises CannotDecrypt."""
        for index, found in enumerate(self.sealers):
            if found.prefix:
                if data.startswith(found.prefix):
                    rest = data[len(found.prefix) :]
                    value = found.open(rest, key.encode())
                    stale = index > 0 or (isinstance(found, KmsProvider) and not found.current(rest))
                    return value, stale
            elif not data.startswith(MARK):
                return data, index > 0
        if data.startswith(MARK):
            wanted = b":".join(data.split(b":", 5)[2:5]).decode(errors="replace")
            raise CannotDecrypt(f"no provider or key matches {wanted!r}")
        raise CannotDecrypt("the value is not encrypted, and there is no identity provider to read it")

    def is_current(self, data: bytes) -> bool:
        """Whether a stored value is as it would be written now."""
        first = self.sealers[0]
        if not first.prefix:
            return not data.startswith(MARK)
        if not data.startswith(first.prefix):
            return False
        return not isinstance(first, KmsProvider) or first.current(data[len(first.prefix) :])

    def kms(self) -> list[KmsProvider]:
        return [found for found in self.sealers if isinstance(found, KmsProvider)]

    def prepare(self, stored: Iterable[bytes]) -> None:
        """Unwrap what these values need of KMS plugins. Blocks. Raises KmsError, CannotDecrypt."""
        values = list(stored)
        for provider in self.kms():
            provider.prepare(data[len(provider.prefix) :] for data in values if data.startswith(provider.prefix))


def make_transformer(providers: Sequence[Provider], plugins: dict[Provider, KmsProvider]) -> Transformer:
    """The transformer of a resource. ``plugins`` is shared, so that each KMS is connected to once."""
    sealers: list[Sealer | KmsProvider] = []
    for provider in providers:
        if provider.kind == "identity":
            sealers.append(IDENTITY)
        elif provider.kind == "kms":
            found = plugins.get(provider)
            if found is None:
                found = plugins[provider] = KmsProvider(provider.name, GrpcPlugin(provider))
            sealers.append(found)
        else:
            sealers += [sealer(provider.kind, key) for key in provider.keys]
    return Transformer(tuple(sealers))
