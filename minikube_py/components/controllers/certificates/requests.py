"""What a certificate signing request asks for, and whether a signer may give it (``pkg/apis/certificates``).

Functions over the parsed request, without effects. The texts are Kubernetes' own: they end up in conditions.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.machinery.objects import Object, name_of

log = logging.getLogger(__name__)

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING_SIGNER = "kubernetes.io/kubelet-serving"
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"

_NODES = ["system:nodes"]
_NODE_PREFIX = "system:node:"
_KUBELET_SERVING_USAGES = frozenset({"digital signature", "key encipherment", "server auth"})
_KUBELET_CLIENT_USAGES = frozenset({"digital signature", "key encipherment", "client auth"})
_RSA_ONLY = frozenset({"key encipherment"})


class RequestUnreadable(ValueError):
    """The PEM of a request does not parse."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Subject and names of a request."""

    pem: bytes
    common_name: str
    organizations: Sequence[str]
    dns_names: Sequence[str]
    addresses: Sequence[str]
    emails: Sequence[str]
    uris: Sequence[str]


def parse_request(request: Object) -> Asked:
    """The parsed ``spec.request``. Raises RequestUnreadable."""
    from cryptography import x509

    try:
        pem = base64.b64decode((request.get("spec") or {}).get("request") or "", validate=True)
        parsed = x509.load_pem_x509_csr(pem)
        names = _names(parsed)
    except (binascii.Error, ValueError) as error:
        raise RequestUnreadable(str(error)) from error
    oid = x509.NameOID
    common_names = parsed.subject.get_attributes_for_oid(oid.COMMON_NAME)
    return Asked(
        pem,
        str(common_names[-1].value) if common_names else "",
        [str(item.value) for item in parsed.subject.get_attributes_for_oid(oid.ORGANIZATION_NAME)],
        *names,
    )


def asked_by(request: Object) -> Asked | None:
    """What a request asks for; None, and a line in the log, for one that cannot be read."""
    try:
        return parse_request(request)
    except RequestUnreadable as error:
        log.warning("cannot read a certificate request", extra={"request": name_of(request), "error": str(error)})
        return None


def _names(parsed: Any) -> tuple[list[str], list[str], list[str], list[str]]:
    """DNS names, addresses, mail addresses and URIs."""
    from cryptography import x509

    try:
        found = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], [], [], []
    kinds = (x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier)
    dns, addresses, emails, uris = ([str(name) for name in found.get_values_for_type(kind)] for kind in kinds)
    return dns, addresses, emails, uris


def kubelet_client_problem(asked: Asked, usages: Sequence[str]) -> str:
    """``ValidateKubeletClientCSR``: why this is no kubelet's client certificate; empty when it is."""
    if list(asked.organizations) != _NODES:
        return "subject organization is not system:nodes"
    for values, what in (
        (asked.dns_names, "DNS"),
        (asked.emails, "Email"),
        (asked.addresses, "IP"),
        (asked.uris, "URI"),
    ):
        if values:
            return f"{what} subjectAltNames are not allowed"
    if not asked.common_name.startswith(_NODE_PREFIX):
        return "subject common name does not begin with system:node:"
    return _usage_problem(usages, _KUBELET_CLIENT_USAGES)


def kubelet_serving_problem(asked: Asked, usages: Sequence[str]) -> str:
    """``ValidateKubeletServingCSR``."""
    if list(asked.organizations) != _NODES:
        return "subject organization is not system:nodes"
    if not asked.dns_names and not asked.addresses:
        return "DNS or IP subjectAltName is required"
    for values, what in ((asked.emails, "Email"), (asked.uris, "URI")):
        if values:
            return f"{what} subjectAltNames are not allowed"
    wrong = _usage_problem(usages, _KUBELET_SERVING_USAGES)
    if wrong:
        return wrong
    return "" if asked.common_name.startswith(_NODE_PREFIX) else "subject common name does not begin with system:node:"


def client_problem(asked: Asked, usages: Sequence[str]) -> str:
    """``validAPIServerClientUsages``: any name, but for authenticating as a client only."""
    for usage in usages:
        if usage not in _KUBELET_CLIENT_USAGES:
            return f"invalid usage for client certificate: {usage}"
    return "" if "client auth" in usages else "missing required usage for client certificate: client auth"


def _usage_problem(usages: Sequence[str], wanted: frozenset[str]) -> str:
    if frozenset(usages) in (wanted, wanted - _RSA_ONLY):
        return ""
    return f"usages did not match [{' '.join(sorted(wanted))}]"


SIGNER_PROBLEMS: Mapping[str, Callable[[Asked, Sequence[str]], str]] = {
    CLIENT_SIGNER: client_problem,
    KUBELET_CLIENT_SIGNER: kubelet_client_problem,
    KUBELET_SERVING_SIGNER: kubelet_serving_problem,
    LEGACY_SIGNER: lambda asked, usages: "",
}
"""What each built-in signer checks."""


def condition_of(request: Object, type: str) -> Object | None:
    """The condition of a type that is true (an absent status counts as true)."""
    for condition in (request.get("status") or {}).get("conditions") or ():
        if condition.get("type") == type and condition.get("status", "True") == "True":
            found: Object = condition
            return found
    return None
