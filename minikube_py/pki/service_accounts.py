"""Service account tokens: signed JWTs, the keys that check them, and the OIDC documents about them.

Claims and their checks live with the authenticator; here is only what is true of any token: it was
signed by one of our keys with that key's algorithm. Same rules as kube-apiserver's
``serviceaccount.JWTTokenGenerator`` and ``serviceaccount.NewOpenIDMetadata``.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from minikube_py.machinery.objects import Object
from minikube_py.pki.errors import PkiError
from minikube_py.pki.files import read_file

longest_token_bytes = 16384
_PEM_KEY = re.compile(rb"-----BEGIN ([A-Z ]*KEY)-----.+?-----END \1-----", re.DOTALL)
JWKS_PATH = "/openid/v1/jwks"


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key with its id and the only algorithm it may be used with."""

    identifier: str
    algorithm: str
    public: Any
    jwk: Mapping[str, str]


class ServiceAccountTokens:
    """Signs with the first key; verifies with all of them. ``adopt`` takes other keys while in use."""

    def __init__(self, signer: Any, keys: Sequence[VerifyingKey], issuers: Sequence[str]) -> None:
        self._signer = signer
        self._keys = {key.identifier: key for key in keys}
        self._primary = keys[0]
        self.issuers = tuple(issuers)
        self.generation = 0
        """Rises with every change of the keys: what was verified before may not hold any more."""

    def adopt(self, other: ServiceAccountTokens) -> None:
        """Sign and verify with the other's keys from now on; the issuers stay."""
        self._signer, self._keys, self._primary = other._signer, other._keys, other._primary
        self.generation += 1

    @property
    def issuer(self) -> str:
        """The issuer of new tokens; tokens of the others are still accepted."""
        return self.issuers[0]

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A compact JWT of these claims plus the issuer."""
        import jwt

        headers = {"kid": self._primary.identifier}
        body = {**claims, "iss": self.issuer}
        # Sorted, as Go writes its claims; "typ" is left out as there.
        return jwt.encode(dict(sorted(body.items())), self._signer, self._primary.algorithm, {**headers, "typ": None})

    def is_ours(self, token: str) -> bool:
        """Whether the text looks like a JWT of one of our issuers; says nothing about its signature."""
        if len(token) > longest_token_bytes or token.count(".") != 2 or "=" in token:  # base64 is unpadded here
            return False
        claims = _decode_part(token.split(".")[1])
        return claims is not None and claims.get("iss") in self.issuers

    def verify(self, token: str) -> Object | None:
        """The claims of a token with a good signature, else None. Times and audiences are the caller's."""
        import jwt

        if not self.is_ours(token):
            return None
        header = _decode_part(token.split(".", 1)[0])
        if header is None:
            return None
        named = header.get("kid")
        if named is not None and not isinstance(named, str):
            return None
        candidates = [self._keys[named]] if named in self._keys else [] if named else list(self._keys.values())
        options: Any = dict.fromkeys(
            ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub", "verify_jti"), False
        )
        for key in candidates:
            try:
                claims: Object = jwt.decode(token, key.public, [key.algorithm], options)
            except jwt.InvalidTokenError:
                continue
            return claims
        return None

    def jwks(self) -> Object:
        """The JSON Web Key Set at ``/openid/v1/jwks``."""
        return {"keys": [dict(key.jwk) for key in self._keys.values()]}

    def discovery(self, jwks_uri: str) -> Object:
        """The OIDC discovery document at ``/.well-known/openid-configuration``."""
        return {
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({key.algorithm for key in self._keys.values()}),
        }


def load_service_account_tokens(
    service_key: Path, issuers: Sequence[str], further_keys: Sequence[Path] = ()
) -> ServiceAccountTokens:
    """Keys from PEM files; ``further_keys`` (public or private) only verify. Raises PkiError.

    ``service_key`` may hold several keys, as in k3s after a rotation: the first signs, all verify.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    own = _load(service_key)
    signer = own[0]
    if not isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise PkiError(f"{service_key} does not begin with a private key")
    keys = {key.identifier: key for key in map(verifying_key, own)}
    for path in further_keys:
        keys |= {key.identifier: key for key in map(verifying_key, _load(path))}
    return ServiceAccountTokens(signer, list(keys.values()), issuers)


def _load(path: Path) -> list[Any]:
    """The keys of a file, at least one."""
    from cryptography.hazmat.primitives import serialization

    pem = read_file(path)
    if pem is None:
        raise PkiError(f"{path} is missing")
    blocks = [found[0] for found in _PEM_KEY.finditer(pem)]
    try:
        keys = [
            serialization.load_pem_private_key(block, password=None)
            if b"PRIVATE KEY" in block
            else serialization.load_pem_public_key(block)
            for block in blocks
        ]
    except (ValueError, TypeError) as error:
        raise PkiError(f"{path} is not a key in PEM form ({error}): restore it from a backup") from error
    if not keys:
        raise PkiError(f"{path} is not a key in PEM form: restore it from a backup")
    return keys


def verifying_key(key: Any) -> VerifyingKey:
    """The public side of an EC P-256 or RSA key. Raises PkiError for other keys.

    The id is the base64url SHA-256 of the key's DER form, as ``serviceaccount.keyIDFromPublicKey``.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    public = key.public_key() if hasattr(key, "public_key") else key
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    identifier = _encode(hashlib.sha256(der).digest())
    common = {"use": "sig", "kid": identifier}
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == "secp256r1":
        point = public.public_numbers()
        jwk = {"kty": "EC", "alg": "ES256", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)}
        return VerifyingKey(identifier, "ES256", public, common | jwk)
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        jwk = {"kty": "RSA", "alg": "RS256", "n": _number(numbers.n), "e": _number(numbers.e)}
        return VerifyingKey(identifier, "RS256", public, common | jwk)
    raise PkiError("service account keys must be EC P-256 or RSA")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _number(number: int, length: int = 0) -> str:
    return _encode(number.to_bytes(length or (number.bit_length() + 7) // 8, "big"))


def _decode_part(part: str) -> Object | None:
    try:
        decoded = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return None
    return decoded if isinstance(decoded, dict) else None
