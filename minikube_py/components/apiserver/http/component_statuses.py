"""The deprecated ComponentStatus list: the parts of this process, always answered, never stored."""

from __future__ import annotations

from minikube_py.components.apiserver.http.call import Call, Response, answer_object
from minikube_py.components.apiserver.http.resources import answer, form_of, list_object
from minikube_py.components.apiserver.http.views import partial_list, table
from minikube_py.components.apiserver.registry.core import Core
from minikube_py.components.apiserver.registry.outcome import Outcome
from minikube_py.machinery.errors import ApiError, not_found
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object

_DATASTORE = "etcd-0"
_NAMES = ("controller-manager", _DATASTORE, "scheduler")


def _status(name: str, core: Core) -> Object:
    why = core.caches.store.stall if name == _DATASTORE else ""
    condition = {"type": "Healthy", "status": "False" if why else "True", "message": why or "ok"}
    return {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name, "creationTimestamp": None},
        "conditions": [condition],
    }


async def component_statuses(core: Core, kind: Kind, call: Call) -> Response:
    """GET of one or all. Raises NotFound, and ApiError 405 for a watch."""
    call.warnings.extend(kind.warnings({}, None))
    if call.info.verb == "watch":
        message = 'watch is not supported on resources of kind "componentstatuses"'
        raise ApiError(405, "MethodNotAllowed", message, details={"kind": "componentstatuses"})
    if call.info.name and call.info.verb == "get":
        if call.info.name not in _NAMES:
            raise not_found("", "componentstatuses", call.info.name)
        return await answer(core, kind, call, Outcome(_status(call.info.name, core)))
    form = form_of(call, listed=True)
    objects = [_status(name, core) for name in _NAMES]
    meta: Object = {}
    if form.view == "Table":
        return answer_object(table(kind, objects, meta, core.clock.now(), version=form.view_version), form)
    if form.view:
        return answer_object(partial_list(kind, objects, meta, form.view_version), form)
    return answer_object(list_object(kind, objects, meta), form)
