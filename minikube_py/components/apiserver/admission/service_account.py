"""ServiceAccount: every pod runs as a service account and finds its token mounted.

Same rules and texts as ``plugin/pkg/admission/serviceaccount``.
"""

from __future__ import annotations

from collections.abc import Iterator

from minikube_py.components.apiserver.admission.refusal import draft_spec, is_for, refuse
from minikube_py.components.apiserver.authorization.pod_needs import MIRROR_ANNOTATION, needs_of
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.names import random_suffix
from minikube_py.machinery.objects import Object, annotations_of, name_of, thaw
from minikube_py.machinery.resources import PODS

DEFAULT_ACCOUNT = "default"
ENFORCE_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
_EPHEMERAL = "ephemeralcontainers"
# What Go's strconv.ParseBool takes for true.
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
VOLUME_PREFIX = "kube-api-access-"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
token_lifetime_seconds = 3607
# A namespace's default account is made by a controller right after the namespace: wait for it a moment.
default_account_attempts = 10
default_account_pause_seconds = 0.1


class ServiceAccountPlugin:
    """Pods on creation, and ephemeral containers that are added to them."""

    name = "ServiceAccount"
    handles_by_kind = True

    def __init__(self, service_accounts: Lookup, clock: Clock) -> None:
        self._service_accounts = service_accounts
        self._clock = clock

    def handles(self, request: AdmissionRequest) -> bool:
        ephemeral = is_for(request, PODS, Operation.UPDATE, subresource=_EPHEMERAL)
        return ephemeral or is_for(request, PODS, Operation.CREATE)

    async def admit(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or request.subresource or _is_mirror(request, pod):
            return
        spec = draft_spec(pod)
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = DEFAULT_ACCOUNT
        account = await self._account(request, spec["serviceAccountName"])
        if _automounts(spec, account):
            _mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = thaw(account["imagePullSecrets"])
        _check_secrets(request, spec, account)

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or (not request.subresource and _is_mirror(request, pod)):
            return
        spec = draft_spec(pod)
        if not spec.get("serviceAccountName"):
            raise refuse(request, f"no service account specified for pod {request.namespace}/{request.name}")
        account = await self._account(request, spec["serviceAccountName"])
        _check_secrets(request, spec, account)

    async def _account(self, request: AdmissionRequest, name: str) -> Object:
        attempts = default_account_attempts if name == DEFAULT_ACCOUNT else 1
        for attempt in range(attempts):
            if attempt:
                await self._clock.sleep(default_account_pause_seconds)
            account = await self._service_accounts.get(name, request.namespace)
            if account is not None:
                return account
        why = f'error looking up service account {request.namespace}/{name}: serviceaccount "{name}" not found'
        raise refuse(request, why)


def _is_mirror(request: AdmissionRequest, pod: Object) -> bool:
    """Whether it is a mirror pod, which runs as nobody. Raises Forbidden when it refers to credentials."""
    if MIRROR_ANNOTATION not in annotations_of(pod):
        return False
    spec = draft_spec(pod)
    if spec.get("serviceAccountName"):
        raise refuse(request, "a mirror pod may not reference service accounts")
    # Without the annotation the pod's references count, which is what has to be judged here.
    if needs_of({**pod, "metadata": {}}).secrets:
        raise refuse(request, "a mirror pod may not reference secrets")
    for volume in spec.get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("serviceAccountToken") is not None:
                raise refuse(request, "a mirror pod may not use ServiceAccountToken volume projections")
    return True


def _automounts(spec: Object, account: Object) -> bool:
    for holder in (spec, account):
        wish = holder.get("automountServiceAccountToken")
        if wish is not None:
            return bool(wish)
    return True


def _mount_token(spec: Object) -> None:
    """Mount the token where a container has nothing at that path; add the volume when one needs it."""
    names = [str(volume.get("name", "")) for volume in spec.get("volumes") or ()]
    existing = next((name for name in names if name.startswith(VOLUME_PREFIX)), "")
    name = existing or VOLUME_PREFIX + random_suffix()
    needed = False
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            mounts = container.get("volumeMounts") or []
            if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                continue
            container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
            needed = True
    if needed and not existing:
        spec["volumes"] = [*(spec.get("volumes") or ()), token_volume(name)]


def token_volume(name: str) -> Object:
    """The projected volume with the token, the cluster's CA and the pod's namespace."""
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": token_lifetime_seconds, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
            ],
            "defaultMode": 420,
        },
    }


def _check_secrets(request: AdmissionRequest, spec: Object, account: Object) -> None:
    """Only Secrets that the account lists may be used, where it is set so. Raises ApiError(403) for the first other."""
    if annotations_of(account).get(ENFORCE_MOUNTABLE) not in _TRUE:
        return
    problems = _unlisted_ephemeral(spec, account) if request.subresource else _unlisted(spec, account)
    for problem in problems:
        raise refuse(request, problem)


def _unlisted(spec: Object, account: Object) -> Iterator[str]:
    because = f"is not allowed because service account {name_of(account)} does not reference that"
    listed = {item.get("name") for item in account.get("secrets") or ()}
    for volume in spec.get("volumes") or ():
        name = (volume.get("secret") or {}).get("secretName") or ""
        if volume.get("secret") is not None and name not in listed:
            yield f'volume with secret.secretName="{name}" {because} secret'
    yield from _unlisted_in_environments(
        spec, account, ("initContainers", "init container"), ("containers", "container")
    )
    pullable = {item.get("name") for item in account.get("imagePullSecrets") or ()}
    for index, reference in enumerate(spec.get("imagePullSecrets") or ()):
        if reference.get("name") not in pullable:
            yield f'imagePullSecrets[{index}].name="{reference.get("name") or ""}" {because} imagePullSecret'


def _unlisted_ephemeral(spec: Object, account: Object) -> Iterator[str]:
    yield from _unlisted_in_environments(spec, account, ("ephemeralContainers", "ephemeral container"))


def _unlisted_in_environments(spec: Object, account: Object, *sorts: tuple[str, str]) -> Iterator[str]:
    because = f"is not allowed because service account {name_of(account)} does not reference that secret"
    listed = {item.get("name") for item in account.get("secrets") or ()}
    for field, words in sorts:
        for container in spec.get(field) or ():
            for where, reference in _environment_secrets(container):
                name = reference.get("name") or ""
                if name not in listed:
                    yield (
                        f'{words} {container.get("name") or ""} with {where} referencing secret.secretName="{name}" '
                        f"{because}"
                    )


def _environment_secrets(container: Object) -> Iterator[tuple[str, Object]]:
    """(where, reference) of the Secrets that a container's environment is made from."""
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if reference is not None:
            yield f"envVar {variable.get('name') or ''}", reference
    for source in container.get("envFrom") or ():
        if source.get("secretRef") is not None:
            yield "envFrom", source["secretRef"]
