"""Providers that need nothing but a key: pure functions of (bytes, key, context).

``context`` is the datastore key, which binds a value to its place where the cipher authenticates such data. The
forms are those of ``k8s.io/apiserver/pkg/storage/value/encrypt``; each value begins with what identifies its
provider and key.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from minikube_py.components.apiserver.storage.encryption.configuration import Key

_BLOCK = 16
_NONCE = 12
_BOX_NONCE = 24


class CannotDecrypt(Exception):
    """A stored value does not fit its key; the text says why, without any of the value."""


@dataclass(frozen=True, slots=True)
class Sealer:
    """One key of one provider. ``open`` raises CannotDecrypt."""

    prefix: bytes
    seal: Callable[[bytes, bytes], bytes]
    open: Callable[[bytes, bytes], bytes]


IDENTITY = Sealer(b"", lambda value, context: value, lambda data, context: data)


def sealer(kind: str, key: Key) -> Sealer:
    """The sealer of an aescbc, aesgcm or secretbox key."""
    prefix = f"k8s:enc:{kind}:v1:{key.name}:".encode()
    seal, opened = {"aescbc": _cbc, "aesgcm": gcm, "secretbox": _secretbox}[kind](key.secret)
    return Sealer(prefix, seal, opened)


Pair = tuple[Callable[[bytes, bytes], bytes], Callable[[bytes, bytes], bytes]]


def gcm(secret: bytes) -> Pair:
    """AES-GCM with a random nonce in front."""
    cipher = AESGCM(secret)

    def seal(value: bytes, context: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + cipher.encrypt(nonce, value, context)

    def opened(data: bytes, context: bytes) -> bytes:
        try:
            return cipher.decrypt(data[:_NONCE], data[_NONCE:], context)
        except (InvalidTag, ValueError):
            raise CannotDecrypt(
                "the value was changed, moved to another key, or encrypted with another secret"
            ) from None

    return seal, opened


def _cbc(secret: bytes) -> Pair:
    algorithm = algorithms.AES(secret)

    def seal(value: bytes, context: bytes) -> bytes:
        vector, padder = os.urandom(_BLOCK), PKCS7(_BLOCK * 8).padder()
        encryptor = Cipher(algorithm, modes.CBC(vector)).encryptor()
        padded = padder.update(value) + padder.finalize()
        return vector + encryptor.update(padded) + encryptor.finalize()

    def opened(data: bytes, context: bytes) -> bytes:
        try:
            decryptor = Cipher(algorithm, modes.CBC(data[:_BLOCK])).decryptor()
            padded = decryptor.update(data[_BLOCK:]) + decryptor.finalize()
            unpadder = PKCS7(_BLOCK * 8).unpadder()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError:
            raise CannotDecrypt("the value was changed, or encrypted with another secret") from None

    return seal, opened


def _secretbox(secret: bytes) -> Pair:
    from nacl.exceptions import CryptoError  # only configurations that name it need libsodium
    from nacl.secret import SecretBox

    box = SecretBox(secret)

    def seal(value: bytes, context: bytes) -> bytes:
        return bytes(box.encrypt(value, os.urandom(_BOX_NONCE)))

    def opened(data: bytes, context: bytes) -> bytes:
        try:
            return box.decrypt(data)
        except (CryptoError, ValueError):
            raise CannotDecrypt("the value was changed, or encrypted with another secret") from None

    return seal, opened
