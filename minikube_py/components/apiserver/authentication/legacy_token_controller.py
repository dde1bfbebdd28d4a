"""Fills Secrets of type ``kubernetes.io/service-account-token`` and removes those that have outlived their use.

Control loops, run by the server beside the controllers, because they sign. ``run_token_controller``: a
Secret that names an existing service account gets token, CA certificate and namespace; one whose account
is gone (or is another of the same name) is deleted; an account stops listing a Secret that is gone.
``run_token_cleaner``: Secrets that were made for accounts automatically (as before v1.24) and were not
used for a year are marked invalid, and deleted a year later. Same behaviour as the controllers
``serviceaccount-token`` and ``legacy-serviceaccount-token-cleaner``.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from minikube_py.client.controller import run_controller
from minikube_py.client.types import Client, DeleteOptions, EventType, WriteOptions
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.apiserver.authentication.legacy_tokens import (
    ACCOUNT_NAME,
    ACCOUNT_UID,
    INVALID_SINCE,
    LAST_USED,
    SECRET_TYPE,
    day_of,
    legacy_claims,
)
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_already_exists, is_conflict, is_not_found
from minikube_py.machinery.objects import (
    Object,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    resource_version_of,
    thaw,
    uid_of,
)
from minikube_py.machinery.observed import Observed
from minikube_py.machinery.resources import CONFIG_MAPS, PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from minikube_py.machinery.times import parse_time
from minikube_py.pki.service_accounts import ServiceAccountTokens

log = logging.getLogger(__name__)

NAME = "serviceaccount-token-controller"
CLEANER = "legacy-serviceaccount-token-cleaner"
TRACKING_NAMESPACE, TRACKING_CONFIG_MAP = "kube-system", "kube-apiserver-legacy-service-account-token-tracking"
clean_up_period_seconds = 365 * 86_400.0
clean_up_interval_seconds = 86_400.0
_DAY = 86_400.0
_BY_ACCOUNT = "service-account"
_Key = tuple[str, str, str]
"""("secret" or "account", namespace, name)."""


async def run_token_controller(
    client: Client, tokens: ServiceAccountTokens, root_ca: Observed[str], clock: Clock, ready: Callable[[], None]
) -> None:
    """Keep the Secrets filled until cancelled. ``tokens`` has the legacy issuer; ``root_ca`` is a PEM bundle."""
    selected = client.informer(SECRETS, field_selector=f"type={SECRET_TYPE}")
    accounts = Lookup(client, SERVICE_ACCOUNTS)
    selected.add_index(_BY_ACCOUNT, _account_of)
    queue: WorkQueue[_Key] = WorkQueue(clock, name=NAME)

    def secret_changed(type: EventType, secret: Object, previous: Object | None) -> None:
        if type is EventType.DELETED:
            for account in _account_of(secret):
                queue.add(("account", *_split(account)))
        else:
            queue.add(("secret", namespace_of(secret), name_of(secret)))

    def account_changed(type: EventType, account: Object, previous: Object | None) -> None:
        for secret in selected.by_index(_BY_ACCOUNT, f"{namespace_of(account)}/{name_of(account)}"):
            queue.add(("secret", namespace_of(secret), name_of(secret)))

    def root_ca_changed() -> None:
        for secret in selected.list():
            queue.add(("secret", namespace_of(secret), name_of(secret)))

    async def reconcile(key: _Key) -> None:
        what, namespace, name = key
        if what == "account":
            await drop_references(client, accounts, namespace, name)
            return
        secret = selected.get(name, namespace)
        if secret is not None and not is_deleting(secret):
            await reconcile_secret(client, accounts, tokens, root_ca.value, secret)

    await selected.synced()
    await accounts.synced()
    ends = [
        selected.subscribe(secret_changed),
        accounts.informer.subscribe(account_changed),
        root_ca.subscribe(root_ca_changed),
    ]
    ready()
    try:
        await run_controller(queue, reconcile, name=NAME, clock=clock, workers=2)
    finally:
        for end in ends:
            end()


def _account_of(secret: Object) -> tuple[str, ...]:
    """Index function: ``namespace/name`` of the account that a Secret is for."""
    name = (metadata(secret).get("annotations") or {}).get(ACCOUNT_NAME)
    return (f"{namespace_of(secret)}/{name}",) if name else ()


def _split(key: str) -> tuple[str, str]:
    namespace, _, name = key.partition("/")
    return namespace, name


async def reconcile_secret(
    client: Client, accounts: Lookup, tokens: ServiceAccountTokens, root_ca: str, secret: Object
) -> None:
    """Fill or delete one Secret. Raises ApiError (Conflict: a newer state is on its way)."""
    namespace, name = namespace_of(secret), name_of(secret)
    annotations = metadata(secret).get("annotations") or {}
    account_name, wanted_uid = annotations.get(ACCOUNT_NAME), annotations.get(ACCOUNT_UID)
    if not account_name:
        return
    account = accounts.informer.get(account_name, namespace)
    if account is None or (wanted_uid and uid_of(account) != wanted_uid):
        account = await accounts.get_live(account_name, namespace)
    if account is None or (wanted_uid and uid_of(account) != wanted_uid):
        options = DeleteOptions(
            precondition_uid=uid_of(secret), precondition_resource_version=resource_version_of(secret)
        )
        try:
            await client.delete(SECRETS, name, namespace, options=options)
        except ApiError as error:
            if not is_not_found(error):
                raise
        return
    data = secret.get("data") or {}
    wanted = {"ca.crt": _encoded(root_ca), "namespace": _encoded(namespace)}
    if data.get("token") and wanted_uid and all(data.get(key) == value for key, value in wanted.items()):
        return
    draft = thaw(secret)
    draft["data"] = {**data, **wanted}
    if not data.get("token"):
        draft["data"]["token"] = _encoded(tokens.sign(legacy_claims(account, secret)))
    draft["metadata"].setdefault("annotations", {})[ACCOUNT_UID] = uid_of(account)
    try:
        await client.update(SECRETS, draft, namespace, options=WriteOptions(field_manager=NAME))
    except ApiError as error:
        if not is_not_found(error):
            raise


async def drop_references(client: Client, accounts: Lookup, namespace: str, name: str) -> None:
    """Take Secrets that are gone out of an account's list. Raises ApiError."""
    account = await accounts.get_live(name, namespace)
    listed = (account or {}).get("secrets") or []
    if account is None or not listed:
        return
    kept = [item for item in listed if await Lookup(client, SECRETS).get_live(item.get("name", ""), namespace)]
    if len(kept) == len(listed):
        return
    draft = thaw(account)
    draft["secrets"] = thaw(kept)
    await client.update(SERVICE_ACCOUNTS, draft, namespace, options=WriteOptions(field_manager=NAME))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def run_token_cleaner(client: Client, server: Client, clock: Clock, ready: Callable[[], None]) -> None:
    """Clean once a day until cancelled; ``server``, the API server itself, notes first since when uses are known."""
    await _note_tracking(server, clock)
    ready()
    while True:
        await clock.sleep(clean_up_interval_seconds)
        try:
            await clean(client, clock.now())
        except ApiError as error:
            log.warning("cleaning legacy tokens failed", extra={"controller": CLEANER, "error": str(error)})


async def _note_tracking(client: Client, clock: Clock) -> None:
    meta = {"name": TRACKING_CONFIG_MAP, "namespace": TRACKING_NAMESPACE}
    try:
        await client.create(CONFIG_MAPS, {"metadata": meta, "data": {"since": day_of(clock.now())}}, TRACKING_NAMESPACE)
    except ApiError as error:
        if not is_already_exists(error):
            raise


async def clean(client: Client, now: float) -> None:
    """Mark or delete what nobody has used for a year. Raises ApiError."""
    tracking = await Lookup(client, CONFIG_MAPS).get_live(TRACKING_CONFIG_MAP, TRACKING_NAMESPACE)
    since = _day_start(((tracking or {}).get("data") or {}).get("since") or "")
    limit = now - clean_up_period_seconds
    # Days are rounded down, so a use may have been up to a day later than it says.
    if since is None or since + _DAY > limit:
        return
    secrets = await _all(client, SECRETS, field_selector=f"type={SECRET_TYPE}")
    accounts = await _all(client, SERVICE_ACCOUNTS)
    automatic = {
        (namespace_of(account), item.get("name")) for account in accounts for item in account.get("secrets") or ()
    }
    mounted = set(_mounted(await _all(client, PODS)))
    for secret in secrets:
        key = (namespace_of(secret), name_of(secret))
        if key in automatic and key not in mounted and _unused(secret, limit):
            await _retire(client, secret, now, limit)


async def _all(client: Client, resource: Resource, *, field_selector: str = "") -> Sequence[Object]:
    """A collection, by the informers that the controllers share."""
    informer = client.informer(resource, field_selector=field_selector)
    await informer.synced()
    return informer.list()


def _unused(secret: Object, limit: float) -> bool:
    if is_deleting(secret) or parse_time(str(metadata(secret).get("creationTimestamp"))) > limit:
        return False
    label = labels_of(secret).get(LAST_USED)
    if label is None:
        return True
    used = _day_start(label)
    return used is not None and used + _DAY <= limit


async def _retire(client: Client, secret: Object, now: float, limit: float) -> None:
    namespace, name = namespace_of(secret), name_of(secret)
    label = labels_of(secret).get(INVALID_SINCE)
    try:
        if label is None:
            patch = {
                "metadata": {"labels": {INVALID_SINCE: day_of(now)}, "resourceVersion": resource_version_of(secret)}
            }
            await client.patch(SECRETS, name, patch, namespace, options=WriteOptions(field_manager=CLEANER))
            return
        invalid = _day_start(label)
        if invalid is not None and invalid + _DAY <= limit:
            options = DeleteOptions(
                precondition_uid=uid_of(secret), precondition_resource_version=resource_version_of(secret)
            )
            await client.delete(SECRETS, name, namespace, options=options)
            log.info("deleted an unused service account token", extra={"secret": f"{namespace}/{name}"})
    except ApiError as error:
        if not is_not_found(error) and not is_conflict(error):
            raise


def _mounted(pods: Sequence[Object]) -> Iterable[tuple[str, Any]]:
    for pod in pods:
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            if volume.get("secret"):
                yield namespace_of(pod), volume["secret"].get("secretName")


def _day_start(day: str) -> float | None:
    try:
        return parse_time(f"{day}T00:00:00Z")
    except ValueError:
        return None
