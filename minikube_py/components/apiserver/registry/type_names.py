"""What Kubernetes' decoders say of an object of another type than the endpoint's."""

from __future__ import annotations

from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.machinery.errors import go_quote

_SCHEMES = {
    "apiextensions.k8s.io": "k8s.io/apiextensions-apiserver/pkg/apiserver/apiserver.go:55",
    "apiregistration.k8s.io": "k8s.io/kube-aggregator/pkg/apiserver/scheme/scheme.go:28",
}
_SCHEME = "pkg/api/legacyscheme/scheme.go:30"
_META_KINDS = frozenset((
    "Status", "DeleteOptions", "ListOptions", "GetOptions", "CreateOptions", "UpdateOptions", "PatchOptions",
    "WatchEvent",
))  # fmt: skip


def type_problem(kinds: Kinds, api_version: str, kind: str, *, wanted_group: str, wanted_kind: str) -> str:
    """Why an object of (api_version, kind) is not read as the wanted kind."""
    known = kinds.by_kind(api_version, kind) is not None
    is_list = kind.endswith("List") and kinds.by_kind(api_version, kind[:-4]) is not None
    if known or is_list or kind in _META_KINDS:
        version = api_version.rpartition("/")[2]
        internal = (wanted_group or "core").partition(".")[0]
        return f"converting ({version}.{kind}) to ({internal}.{wanted_kind}): unknown conversion"
    scheme = go_quote(_SCHEMES.get(wanted_group, _SCHEME))
    return f"no kind {go_quote(kind)} is registered for version {go_quote(api_version)} in scheme {scheme}"
