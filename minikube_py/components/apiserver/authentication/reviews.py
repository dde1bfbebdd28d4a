"""TokenReview, SelfSubjectReview and TokenRequest: answered from what the server knows, never stored.

Handlers follow the protocol of virtual resources: they take the decoded and defaulted body and give
the object that is sent back. ``metadata`` of the body (with managed fields, where the caller tracks
them) is kept, as kube-apiserver keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minikube_py.components.apiserver.authentication.identity import BadToken, Now, TokenAuthenticator, user_object
from minikube_py.components.apiserver.authentication.service_accounts import BoundTo, claims_for
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.registry.metadata import place
from minikube_py.components.apiserver.types import RequestContext
from minikube_py.machinery.errors import (
    ApiError,
    bad_request,
    conflict,
    invalid,
    invalid_value,
    not_found,
)
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object, metadata, name_of, uid_of
from minikube_py.machinery.times import rfc3339
from minikube_py.pki.service_accounts import ServiceAccountTokens

GROUP = "authentication.k8s.io"
_UNKNOWN = "invalid bearer token"
default_lifetime_seconds = 3600
shortest_lifetime_seconds = 600
longest_lifetime_seconds = 1 << 32
# The kubelet asks for this odd lifetime for the tokens of pods: such a token really lives a year, for
# clients that do not read the file again, and only marks its use after this time.
warn_only_lifetime_seconds = 3607
extended_lifetime_seconds = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class TokenReviewHandler:
    """``create tokenreviews``: whom does this token stand for?"""

    tokens: TokenAuthenticator
    api_audiences: Sequence[str]

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        spec = body.get("spec") or {}
        token = spec.get("token") or ""
        if not token:
            raise bad_request("token is required for TokenReview in authentication")
        audiences = tuple(spec.get("audiences") or self.api_audiences)
        try:
            identity = await self.tokens.authenticate_token(token, audiences)
        except ApiError as error:
            if error.code != 401:
                raise
            identity, why = None, error.__cause__
        else:
            why = None
        if identity is None:
            text = f"[{_UNKNOWN}, {why}]" if isinstance(why, BadToken) else _UNKNOWN
            status: Object = {"user": {}, "error": text}
        else:
            user = user_object(identity.user)
            status = {"authenticated": True, "user": user, "audiences": list(identity.audiences)}
        return {**body, "status": status}


@dataclass(frozen=True, slots=True)
class SelfSubjectReviewHandler:
    """``create selfsubjectreviews``: who am I?"""

    now: Now

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        return {
            "kind": "SelfSubjectReview",
            "apiVersion": kind.resource.api_version,
            "metadata": {"creationTimestamp": rfc3339(self.now())},
            "status": {"userInfo": user_object(ctx.user)},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequestHandler:
    """``create serviceaccounts/token``: a new token, bound to the object that the request names."""

    tokens: ServiceAccountTokens
    service_accounts: Lookup
    pods: Lookup
    secrets: Lookup
    nodes: Lookup
    api_audiences: Sequence[str]
    now: Now
    extend_expiration: bool = True
    """kube-apiserver's ``--service-account-extend-token-expiration``."""

    def default(self, body: Object) -> None:
        spec = body.setdefault("spec", {})
        if isinstance(spec, dict) and spec.get("expirationSeconds") is None:
            spec["expirationSeconds"] = default_lifetime_seconds

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        place(body.setdefault("metadata", {}), namespace)
        _check_name(body, name)
        account = await self.service_accounts.get(name, namespace)
        if account is None:
            raise not_found("", "serviceaccounts", name)
        _check_account_uid(body, account)
        spec = body.get("spec") or {}
        lifetime = spec.get("expirationSeconds")
        lifetime = default_lifetime_seconds if lifetime is None else int(lifetime)
        _check_lifetime(lifetime)
        audiences = list(spec.get("audiences") or self.api_audiences)
        reference = spec.get("boundObjectRef")
        bound = await self._bind(account, reference) if reference else BoundTo(service_account=account)
        extended = (
            self.extend_expiration
            and lifetime == warn_only_lifetime_seconds
            and bound.pod is not None
            and set(audiences) <= set(self.api_audiences)
        )
        now = self.now()
        claims = claims_for(
            bound,
            audiences=audiences,
            now=now,
            lifetime_seconds=extended_lifetime_seconds if extended else lifetime,
            warn_after_seconds=lifetime if extended else 0,
        )
        return {
            "kind": "TokenRequest",
            "apiVersion": f"{GROUP}/v1",
            "metadata": {
                **metadata(body),
                "name": name,
                "namespace": namespace,
                "uid": uid_of(account),
                "creationTimestamp": rfc3339(now),
            },
            "spec": {"audiences": audiences, "expirationSeconds": lifetime, "boundObjectRef": reference},
            "status": {"token": self.tokens.sign(claims), "expirationTimestamp": rfc3339(int(now) + lifetime)},
        }

    async def _bind(self, account: Object, reference: Object) -> BoundTo:
        """The live objects of a bond. Raises ApiError when it names another object or none."""
        kind, name = reference.get("kind"), str(reference.get("name", ""))
        namespace = str(metadata(account).get("namespace", ""))
        group, version = _group_version(str(reference.get("apiVersion") or ""))
        if group or kind not in ("Pod", "Secret", "Node"):
            raise bad_request(f"cannot bind token to object of type {group}/{version}, Kind={kind or ''}")
        if kind == "Node":
            node = await _needed(self.nodes, name, None)
            _check_uid(reference, node)
            return BoundTo(service_account=account, node=node)
        if kind == "Secret":
            secret = await _needed(self.secrets, name, namespace)
            _check_uid(reference, secret)
            return BoundTo(service_account=account, secret=secret)
        pod = await _needed(self.pods, name, namespace)
        spec = pod.get("spec") or {}
        account_name = metadata(account).get("name")
        if spec.get("serviceAccountName", "") != account_name:
            raise bad_request(
                f'cannot bind token for serviceaccount "{account_name}" to pod running with different '
                "serviceaccount name."
            )
        _check_uid(reference, pod)
        node_name = spec.get("nodeName")
        found = await self.nodes.get(node_name) if node_name else None
        if node_name and found is None:
            # A node may be gone for a moment while it registers anew; the name alone is still true.
            found = {"metadata": {"name": node_name, "uid": ""}}
        return BoundTo(service_account=account, pod=pod, node=found)


def _group_version(api_version: str) -> tuple[str, str]:
    """Group and version; neither where there is more than one slash (``schema.FromAPIVersionAndKind``)."""
    group, _, version = api_version.rpartition("/")
    return ("", "") if "/" in group else (group, version)


async def _needed(lookup: Lookup, name: str, namespace: str | None) -> Object:
    found = await lookup.get(name, namespace)
    if found is None:
        raise not_found(lookup.resource.group, lookup.resource.plural, name)
    return found


def _check_uid(reference: Object, found: Object) -> None:
    wanted = reference.get("uid")
    if wanted and wanted != uid_of(found):
        why = (
            f"the UID in the bound object reference ({wanted}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise conflict("", str(reference.get("kind", "")), str(reference.get("name", "")), why)


def _check_name(body: Object, name: str) -> None:
    given = metadata(body).get("name")
    if given and given != name:
        why = "must match the service account name if specified"
        raise invalid(GROUP, "TokenRequest", name, [invalid_value("metadata.name", given, why)])


def _check_account_uid(body: Object, account: Object) -> None:
    """A request for another account of the same name is a conflict (TokenRequestServiceAccountUIDValidation)."""
    wanted = metadata(body).get("uid")
    if wanted and wanted != uid_of(account):
        why = (
            f"the UID in the token request ({wanted}) does not match the UID of the service account ({uid_of(account)})"
        )
        raise conflict(GROUP, "TokenRequest", name_of(account), why)


def _check_lifetime(lifetime: int) -> None:
    why = ""
    if lifetime < shortest_lifetime_seconds:
        why = "may not specify a duration less than 10 minutes"
    elif lifetime > longest_lifetime_seconds:
        why = "may not specify a duration larger than 2^32 seconds"
    if why:
        raise invalid(GROUP, "TokenRequest", "", [invalid_value("spec.expirationSeconds", lifetime, why)])
