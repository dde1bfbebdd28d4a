"""The KMS v2 client against a real gRPC plugin on a Unix socket."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from minikube_py.components.apiserver.storage.encryption.configuration import Provider
from minikube_py.components.apiserver.storage.encryption.kms import GrpcPlugin, KmsError, KmsProvider
from minikube_py.machinery.wire import delimited, fields


class Plugin(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Turns bytes around; refuses to decrypt what another key id has wrapped."""

    def service(self, handler_call_details: Any) -> Any:
        method = {"Status": self.status, "Encrypt": self.encrypt, "Decrypt": self.decrypt}
        found = method.get(handler_call_details.method.removeprefix("/v2.KeyManagementService/"))
        return grpc.unary_unary_rpc_method_handler(found) if found is not None else None

    def status(self, request: bytes, context: Any) -> bytes:
        return delimited(1, b"v2") + delimited(2, b"ok") + delimited(3, b"k1")

    def encrypt(self, request: bytes, context: Any) -> bytes:
        plain = {number: value for number, _, value in fields(request)}[1]
        assert isinstance(plain, bytes)
        note = delimited(1, b"a.example.com") + delimited(2, b"note")
        return delimited(1, plain[::-1]) + delimited(2, b"k1") + delimited(3, note)

    def decrypt(self, request: bytes, context: Any) -> bytes:
        found = {number: value for number, _, value in fields(request)}
        if found[3] != b"k1":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unknown key id")
        assert found[4] == delimited(1, b"a.example.com") + delimited(2, b"note")
        assert isinstance(found[1], bytes)
        return delimited(1, found[1][::-1])


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([Plugin()])
    url = f"unix://{tmp_path}/kms.sock"
    server.add_insecure_port(url)
    server.start()
    yield url
    server.stop(0).wait()


def test_seeds_are_wrapped_and_unwrapped(endpoint: str) -> None:
    first = KmsProvider("vault", GrpcPlugin(Provider("kms", name="vault", endpoint=endpoint)))
    first.refresh()
    sealed = first.seal(b"value", b"key")
    assert b"value" not in sealed
    second = KmsProvider("vault", GrpcPlugin(Provider("kms", name="vault", endpoint=endpoint)))
    second.refresh()
    second.prepare([sealed])
    assert second.open(sealed, b"key") == b"value"
    assert second.current(sealed)
    for provider in (first, second):
        provider.plugin.close()


def test_a_plugin_that_is_away_is_named(tmp_path: Path) -> None:
    provider = Provider("kms", name="vault", endpoint=f"unix://{tmp_path}/absent.sock", timeout_seconds=0.2)
    plugin = GrpcPlugin(provider)
    with pytest.raises(KmsError, match="KMS plugin vault: Status failed"):
        plugin.status()
    plugin.close()


def test_a_refusal_of_the_plugin_is_told(endpoint: str) -> None:
    plugin = GrpcPlugin(Provider("kms", name="vault", endpoint=endpoint))
    wrapped = plugin.encrypt(b"seed")
    assert wrapped.annotations == {"a.example.com": b"note"}
    with pytest.raises(KmsError, match="unknown key id"):
        plugin.decrypt(type(wrapped)("other", wrapped.ciphertext, wrapped.annotations))
    plugin.close()
