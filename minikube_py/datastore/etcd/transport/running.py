"""Running handlers: a call that is complete goes in, its answer or status goes to the connection.

Every handler that runs is in ``tasks``, as a task or (see ``Shortcut``) a future, and is cancelled by cancelling
``call.task``. What a handler raises ends its call and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any, Protocol

from minikube_py.datastore.etcd.transport.call import Call, Shortcut, Unary
from minikube_py.datastore.etcd.transport.status import Code, StatusError

_log = logging.getLogger(__name__)


class Answering(Protocol):
    """What this module needs of a connection. A call that was ended already is not ended again."""

    def answer(self, call: Call, message: bytes) -> None: ...
    def end(self, call: Call, code: Code, text: str = "") -> None: ...


def start(connection: Answering, call: Call, tasks: set[asyncio.Future[Any]]) -> None:
    """Start the handler of a call; it is in ``tasks`` while it runs."""
    shortcut = call.method.shortcut if isinstance(call.method, Unary) else None
    if shortcut is not None and _take_shortcut(connection, call, shortcut, tasks):
        return
    call.task = task = asyncio.create_task(_run(connection, call))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _run(connection: Answering, call: Call) -> None:
    method = call.method
    try:
        if isinstance(method, Unary):
            connection.answer(call, await method.handler(call.only_message(), call))
        else:
            await method.handler(call)
            connection.end(call, Code.OK)
    except StatusError as failure:
        connection.end(call, failure.code, failure.text)
    except Exception:
        _end_crashed(connection, call)


def _take_shortcut(connection: Answering, call: Call, shortcut: Shortcut, tasks: set[asyncio.Future[Any]]) -> bool:
    """Do without a task; False: that cannot be."""
    if len(call.messages_in) != 1:
        return False
    try:
        future = shortcut.begin(call.messages_in[0], call)
    except StatusError as failure:
        connection.end(call, failure.code, failure.text)
        return True
    except Exception:
        _end_crashed(connection, call)
        return True
    if future is None:
        return False
    call.only_message()
    call.task = future
    tasks.add(future)
    future.add_done_callback(partial(_end_shortcut, connection, call, shortcut, tasks))
    return True


def _end_shortcut(
    connection: Answering,
    call: Call,
    shortcut: Shortcut,
    tasks: set[asyncio.Future[Any]],
    future: asyncio.Future[Any],
) -> None:
    tasks.discard(future)
    if future.cancelled():
        return
    try:
        connection.answer(call, shortcut.answer(future))
    except StatusError as failure:
        connection.end(call, failure.code, failure.text)
    except Exception:
        _end_crashed(connection, call)


def _end_crashed(connection: Answering, call: Call) -> None:
    _log.exception("etcd interface: %s failed", call.head.path)
    connection.end(call, Code.INTERNAL, "etcdserver: internal error")
