"""The client of ``bench/datastore``: measures one server of etcd's protocol and prints what it found as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

_STREAMS, _WATCHES = 10, 10


async def main(address: str, seconds: float) -> None:
    import grpc

    async with grpc.aio.insecure_channel(address, (("grpc.max_receive_message_length", -1),)) as channel:
        client = Client(channel)
        await client.put(b"/warm", b"")
        found = {"single": await client.puts(b"/single", 1, seconds), "many": await client.puts(b"/many", 64, seconds)}
        for n in range(1000):
            await client.put(b"/range/%04d" % n, b"x" * 500)
        found["ranges"] = await client.ranges(seconds)
        found |= await client.watches(seconds)
    print(json.dumps(found))


class Client:
    def __init__(self, channel: Any) -> None:
        from minikube_py.datastore.etcd.messages import message

        self._message = message
        self._put = channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=message("PutRequest").SerializeToString,
            response_deserializer=message("PutResponse").FromString,
        )
        self._range = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=message("RangeRequest").SerializeToString,
            response_deserializer=message("RangeResponse").FromString,
        )
        self._watch = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=message("WatchRequest").SerializeToString,
            response_deserializer=message("WatchResponse").FromString,
        )

    async def put(self, key: bytes, value: bytes) -> None:
        await self._put(self._message("PutRequest")(key=key, value=value))

    async def puts(self, prefix: bytes, writers: int, seconds: float) -> float:
        """Puts per second of so many concurrent writers, 500 bytes each."""
        began = time.perf_counter()
        value, counts = b"x" * 500, [0] * writers

        async def write(at: int) -> None:
            while time.perf_counter() - began < seconds:
                await self.put(b"%s/%d/%d" % (prefix, at, counts[at] % 1000), value)
                counts[at] += 1

        await asyncio.gather(*map(write, range(writers)))
        return sum(counts) / (time.perf_counter() - began)

    async def ranges(self, seconds: float) -> float:
        request = self._message("RangeRequest")(key=b"/range/", range_end=b"/range0")
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            assert len((await self._range(request)).kvs) == 1000
            count += 1
        return count / (time.perf_counter() - began)

    async def watches(self, seconds: float) -> dict[str, float]:
        """100 watches on 10 streams see 1,000 puts a second, if the server can."""
        total = int(1000 * seconds)
        calls = [self._watch() for _ in range(_STREAMS)]
        for call in calls:
            for _ in range(_WATCHES):
                create = self._message("WatchCreateRequest")(key=b"/watched/", range_end=b"/watched0")
                await call.write(self._message("WatchRequest")(create_request=create))
        for call in calls:
            for _ in range(_WATCHES):
                assert (await call.read()).created
        began = time.perf_counter()
        seen = [0] * _STREAMS

        async def follow(at: int) -> None:
            while seen[at] < total * _WATCHES:
                seen[at] += len((await calls[at].read()).events)

        async def write() -> float:
            gate = asyncio.Semaphore(64)

            async def one(n: int) -> None:
                async with gate:
                    await self.put(b"/watched/%d" % n, b"x" * 100)

            async with asyncio.TaskGroup() as tasks:
                for n in range(total):
                    ahead = began + n / 1000 - time.perf_counter()
                    if ahead > 0:
                        await asyncio.sleep(ahead)
                    tasks.create_task(one(n))
            return total / (time.perf_counter() - began)

        following = [asyncio.create_task(follow(at)) for at in range(_STREAMS)]
        rate = await write()
        await asyncio.wait(following, timeout=30)
        took = time.perf_counter() - began
        for task in following:
            task.cancel()
        for call in calls:
            call.cancel()
        expected = total * _WATCHES * _STREAMS
        return {"watched": rate, "delivered": sum(seen) / took, "lost": expected - sum(seen)}


if __name__ == "__main__":
    sys.path[:0] = [sys.argv[1]]
    asyncio.run(main(sys.argv[2], float(sys.argv[3])))
