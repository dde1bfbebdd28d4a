"""The paths that are no resources and yet have OpenAPI documents: lists of groups and versions, version, token keys.

In: the groups that are served. Out: ``Operation`` records by the name of the document that holds them
(``apis/apps``), as ``/openapi/v3`` lists it. Follows the API server's discovery handlers and routes.
"""

from __future__ import annotations

from collections.abc import Iterable

from minikube_py.machinery.openapi_paths import JSON_TYPES, Operation, group_word

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_JSON = ("application/json",)
_KEYS = ("application/jwk-set+json",)


def root_operations(groups: Iterable[str]) -> dict[str, Operation]:
    """One operation for each such document; ``groups`` of built-in kinds, "" the core group."""
    found = {
        "api": _listing("/api/", "getCoreAPIVersions", "get available API versions", "core", "APIVersions"),
        "apis": _listing("/apis/", "getAPIVersions", "get available API versions", "apis", "APIGroupList"),
    }
    for group in groups:
        if group:
            name, tag = f"get{group_word(group, first=True)}APIGroup", group_word(group, first=False)
            found[f"apis/{group}"] = _listing(f"/apis/{group}/", name, "get information of a group", tag, "APIGroup")
    issuer = "get service account issuer OpenID"
    found[".well-known/openid-configuration"] = Operation(
        "/.well-known/openid-configuration/", "get", "getServiceAccountIssuerOpenIDConfiguration",
        f"{issuer} configuration, also known as the 'OIDC discovery doc'", "WellKnown", (), _JSON,
    )  # fmt: skip
    found["openid/v1/jwks"] = Operation(
        "/openid/v1/jwks/", "get", "getServiceAccountIssuerOpenIDKeyset",
        f"{issuer} JSON Web Key Set (contains public token verification keys)", "openid", (), _KEYS,
    )  # fmt: skip
    found["version"] = Operation(
        "/version/", "get", "getCodeVersion", "get the version information for this server", "version", _JSON, _JSON,
        result="io.k8s.apimachinery.pkg.version.Info",
    )  # fmt: skip
    return found


def _listing(path: str, identifier: str, text: str, tag: str, kind: str) -> Operation:
    return Operation(path, "get", identifier, text, tag, JSON_TYPES, JSON_TYPES, result=_META + kind)
