"""The local client of a server that audits: every request of a component goes through the journal.

It only says what is asked for; ``LocalClient`` does it, with the annotations of the request's record at hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode

from minikube_py.client.types import (
    NO_DELETE_OPTIONS,
    NO_WRITE_OPTIONS,
    Client,
    DeleteOptions,
    Informer,
    ObjectList,
    PatchType,
    WatchEvent,
    WriteOptions,
)
from minikube_py.components.apiserver.local_audit import Asked, Journal, Opened
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.machinery.objects import Object, name_of, namespace_of
from minikube_py.machinery.resources import Resource

MakeClient = Callable[[dict[str, str] | None], Client]
"""The plain client whose writes add to these audit annotations."""
_PLAIN = ":@$&+,;=!'()*~"
"""What may stand in a path's segment as it is."""
_Call = Callable[[Client], Awaitable[Object]]


class AuditedClient:
    """Implements ``client.types.Client`` for one user; see the module."""

    def __init__(
        self,
        make: MakeClient,
        journal: Journal,
        user: UserInfo,
        user_agent: str,
        *,
        informers_as: UserInfo | None = None,
    ) -> None:
        """``informers_as``: whose informers these are, where a program shares them among its users."""
        self._make = make
        self._plain = make(None)
        self._journal = journal
        self._user = user
        self._user_agent = user_agent
        self._informers_as = informers_as or user

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> Object:
        asked = self._asked("GET", uri(resource, namespace, name, subresource))
        return await self._recorded(
            asked, lambda client: client.get(resource, name, namespace, subresource=subresource)
        )

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        query = _selected(label_selector, field_selector, resource_version=resource_version)
        query |= _given(limit=str(limit or ""), **{"continue": continue_token})

        async def ask(annotations: dict[str, str] | None) -> ObjectList:
            return await self._plain.list(
                resource,
                namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                resource_version=resource_version,
                limit=limit,
                continue_token=continue_token,
            )

        return await self._journal.recorded(
            self._asked("GET", uri(resource, namespace, query=query)), ask, shown=lambda page: _page(resource, page)
        )

    async def create(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        name: str | None = None,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        where = uri(resource, namespace or namespace_of(obj), name, subresource, query=_written(options))
        return await self._recorded(
            self._asked("POST", where, 201),
            lambda client: client.create(resource, obj, namespace, name=name, subresource=subresource, options=options),
            sent=obj,
        )

    async def update(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        where = uri(resource, namespace or namespace_of(obj), name_of(obj), subresource, query=_written(options))
        return await self._recorded(
            self._asked("PUT", where),
            lambda client: client.update(resource, obj, namespace, subresource=subresource, options=options),
            sent=obj,
        )

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Object | Sequence[Object],
        namespace: str | None = None,
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        where = uri(resource, namespace, name, subresource, query=_written(options))
        return await self._recorded(
            self._asked("PATCH", where),
            lambda client: client.patch(
                resource, name, patch, namespace, patch_type=patch_type, subresource=subresource, options=options
            ),
            sent=patch,
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        options: DeleteOptions = NO_DELETE_OPTIONS,
    ) -> Object:
        return await self._recorded(
            self._asked("DELETE", uri(resource, namespace, name)),
            lambda client: client.delete(resource, name, namespace, options=options),
            sent=_deletion(options),
        )

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        options: DeleteOptions = NO_DELETE_OPTIONS,
    ) -> None:
        async def ask(annotations: dict[str, str] | None) -> None:
            await self._client(annotations).delete_collection(
                resource, namespace, label_selector=label_selector, field_selector=field_selector, options=options
            )

        where = uri(resource, namespace, query=_selected(label_selector, field_selector))
        await self._journal.recorded(
            self._asked("DELETE", where),
            ask,
            sent=_deletion(options),
            shown=lambda _: {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"},
        )

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        query = _selected(label_selector, field_selector, resource_version=resource_version, watch="true")
        record = await self._journal.begin(self._asked("GET", uri(resource, namespace, query=query)))
        opening = self._plain.watch(
            resource,
            namespace,
            resource_version=resource_version,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        begun = False
        try:
            async with opening as events:
                if record is not None:
                    await self._journal.auditor.started(record, 200)
                begun = True
                yield events
        except BaseException as error:
            if record is not None and not begun:
                await self._journal.failed(record, error)
            raise
        finally:
            if record is not None and begun:
                self._journal.auditor.abandoned(record, 200)

    def informer(
        self, resource: Resource, namespace: str | None = None, *, field_selector: str = "", label_selector: str = ""
    ) -> Informer:
        found = self._plain.informer(resource, namespace, field_selector=field_selector, label_selector=label_selector)
        listing = uri(resource, namespace, query=_selected(label_selector, field_selector))
        watching = uri(resource, namespace, query=_selected(label_selector, field_selector, watch="true"))
        user, agent = self._informers_as, self._user_agent
        self._journal.opened(Opened(Asked(user, agent, "GET", listing), Asked(user, agent, "GET", watching)))
        return found

    def _asked(self, method: str, where: str, code: int = 200) -> Asked:
        return Asked(self._user, self._user_agent, method, where, code)

    def _client(self, annotations: dict[str, str] | None) -> Client:
        return self._plain if annotations is None else self._make(annotations)

    async def _recorded(self, asked: Asked, call: _Call, *, sent: object = None) -> Object:
        async def ask(annotations: dict[str, str] | None) -> Object:
            return await call(self._client(annotations))

        return await self._journal.recorded(asked, ask, sent=sent, shown=lambda answer: answer)


def _page(resource: Resource, page: ObjectList) -> Object:
    """A page of a collection as it would be answered."""
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": _given(resourceVersion=page.resource_version, **{"continue": page.continue_token}),
        "items": [*page.items],
    }


def uri(
    resource: Resource,
    namespace: str | None,
    name: str | None = None,
    subresource: str | None = None,
    *,
    query: Mapping[str, str] | None = None,
) -> str:
    """The request line's path and query, as client-go builds them. An empty namespace: all, or there is none."""
    path = resource.path(namespace, quote(name, safe=_PLAIN) if name else None, subresource)
    return f"{path}?{urlencode(query)}" if query else path


def _selected(labels: str, fields: str, *, resource_version: str = "", watch: str = "") -> dict[str, str]:
    return _given(fieldSelector=fields, labelSelector=labels, resourceVersion=resource_version, watch=watch)


def _written(options: WriteOptions) -> dict[str, str]:
    return _given(
        dryRun="All" if options.dry_run else "",
        fieldManager=options.field_manager,
        force="true" if options.force else "",
    )


def _given(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _deletion(options: DeleteOptions) -> Object:
    """The body of a deletion."""
    made: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
    if options.grace_period_seconds is not None:
        made["gracePeriodSeconds"] = options.grace_period_seconds
    guards = _given(uid=options.precondition_uid or "", resourceVersion=options.precondition_resource_version or "")
    if guards:
        made["preconditions"] = guards
    if options.propagation_policy is not None:
        made["propagationPolicy"] = options.propagation_policy
    if options.dry_run:
        made["dryRun"] = ["All"]
    return made
