"""Running handlers: a call that is complete goes in, its answer or status goes to the connection.

Every handler that runs is in ``tasks`` and is cancelled by cancelling ``call.task``; what a ``Shortcut`` has begun goes
on when its call is gone. What a handler raises ends its call and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
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
    if shortcut is not None and _take_shortcut(connection, call, shortcut):
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


class ShortReply:
    """What the work that a shortcut has begun is to tell of its outcome, as if it were its future."""

    __slots__ = ("_call", "_connection", "_shortcut", "_told")

    def __init__(self, connection: Answering, call: Call, shortcut: Shortcut) -> None:
        self._connection = connection
        self._call = call
        self._shortcut = shortcut
        self._told = False

    def done(self) -> bool:
        return self._told

    def set_result(self, result: Any) -> None:
        self._told = True
        try:
            self._connection.answer(self._call, self._shortcut.answer(result))
        except StatusError as failure:
            self._connection.end(self._call, failure.code, failure.text)
        except Exception:
            _end_crashed(self._connection, self._call)

    def set_exception(self, exception: Exception) -> None:
        self._told = True
        try:
            failure = self._shortcut.refuse(exception)
            self._connection.end(self._call, failure.code, failure.text)
        except Exception:
            _end_crashed(self._connection, self._call)


def _take_shortcut(connection: Answering, call: Call, shortcut: Shortcut) -> bool:
    """Do without a task; False: that cannot be."""
    try:
        begun = shortcut.begin(call.only_message(), call, ShortReply(connection, call, shortcut))
    except StatusError as failure:
        connection.end(call, failure.code, failure.text)
        return True
    except Exception:
        _end_crashed(connection, call)
        return True
    if begun:
        call.request = None
    return begun


def _end_crashed(connection: Answering, call: Call) -> None:
    _log.exception("etcd interface: %s failed", call.head.path)
    connection.end(call, Code.INTERNAL, "etcdserver: internal error")
