"""What ``bench/datastore`` measures over gRPC: functions of a ``Load``, the same for every server."""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter
from typing import Any

from datastore_load import Load

from minikube_py.datastore.etcd.messages import message

_PUT, _RANGE, _WATCH = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range", "/etcdserverpb.Watch/Watch"
_STREAMS, _WATCHES = 10, 10
_PUTS_PER_SECOND = 1000
_KEYS = 1000
_PATIENCE_SECONDS = 30.0

Put, WatchResponse = message("PutRequest"), message("WatchResponse")


def prepare(load: Load) -> None:
    """The keys that ``ranges`` reads, and a server that is warm."""
    for n in range(_KEYS):
        load.call(_PUT, _put(b"/range/%04d" % n, 500))
    puts(load, 64, 0.3)


def puts(load: Load, writers: int, seconds: float) -> float:
    """Puts per second of so many writers, each of whom waits for its answer; 500 bytes each."""
    counts = [0] * writers

    def start(at: int) -> int:
        counts[at] += 1
        return load.start(_PUT, _put(b"/puts/%d/%d" % (at, counts[at] % _KEYS), 500))

    began = perf_counter()
    writing = {start(at): at for at in range(writers)}
    done = 0
    while writing:
        for stream in load.step():
            done += 1
            at = writing.pop(stream)
            if perf_counter() - began < seconds:
                writing[start(at)] = at
    return done / (perf_counter() - began)


def ranges(load: Load, seconds: float) -> float:
    """Ranges per second of 1,000 keys of 500 bytes, one after the other."""
    request = message("RangeRequest")(key=b"/range/", range_end=b"/range0").SerializeToString()
    assert len(message("RangeResponse").FromString(load.call(_RANGE, request)).kvs) == _KEYS
    began, count = perf_counter(), 0
    while perf_counter() - began < seconds:
        stream = load.start(_RANGE, request, keep=True)
        while stream not in load.step():
            pass
        assert len(load.body(stream)) > _KEYS * 500
        load.forget(stream)
        count += 1
    return count / (perf_counter() - began)


def watches(load: Load, seconds: float) -> dict[str, float]:
    """100 watches on 10 streams while 1,000 puts a second are made: puts and events per second, and events lost."""
    create = message("WatchCreateRequest")(key=b"/watched/", range_end=b"/watched0")
    request = message("WatchRequest")(create_request=create).SerializeToString()
    streams = [load.start(_WATCH, request, keep=True, end=False) for _ in range(_STREAMS)]
    for stream in streams:
        for _ in range(_WATCHES - 1):
            load.send(stream, request, end=False)
    reader = _Events(load, streams)
    while reader.created < _STREAMS * _WATCHES:
        load.step()
        reader.read()
    total = int(_PUTS_PER_SECOND * seconds)
    began, sent, answered = perf_counter(), 0, 0
    while answered < total:
        due = min(total, int((perf_counter() - began) * _PUTS_PER_SECOND) + 1)
        for n in range(sent, due):
            load.start(_PUT, _put(b"/watched/%d" % n, 100))
        sent = max(sent, due)
        answered += len(load.step(wait_seconds=1 / _PUTS_PER_SECOND))
        reader.read()
    rate = total / (perf_counter() - began)
    expected = total * _STREAMS * _WATCHES
    while reader.events < expected and perf_counter() - began < seconds + _PATIENCE_SECONDS:
        load.step(wait_seconds=0.1)
        reader.read()
    delivered = reader.events / (perf_counter() - began)
    return {"watched": rate, "delivered": delivered, "lost": expected - reader.events}


class _Events:
    """Counts what comes on watch streams."""

    def __init__(self, load: Load, streams: list[int]) -> None:
        self._load = load
        self._streams = streams
        self._rest: dict[int, bytes] = defaultdict(bytes)
        self.created = 0
        self.events = 0

    def read(self) -> None:
        for stream in self._streams:
            data = self._rest[stream] + self._load.body(stream)
            at = 0
            while len(data) - at >= 5:
                end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
                if end > len(data):
                    break
                response = WatchResponse.FromString(data[at + 5 : end])
                self.created += response.created
                self.events += len(response.events)
                at = end
            self._rest[stream] = data[at:]


def _put(key: bytes, size: int) -> bytes:
    data: Any = Put(key=key, value=b"x" * size).SerializeToString()
    return bytes(data)
