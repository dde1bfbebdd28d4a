"""gRPC calls to the container runtime: grpcio carries them, messages are coded by table.

grpcio is imported with the first call. Its own messages would need google.protobuf and generated
code for all of CRI; ``protobuf`` reads and writes the fields in use, on ``machinery.wire``.

What grpcio costs, measured with ``bench/start`` (Python 3.11, grpcio 1.85, a machine of two cores in use by
others) against an own HTTP/2 client that it replaced:

- resident memory of an idle ``pyk3s server``: 90 MB, before 77 MB (of 120 MB);
- wake-ups when idle: 7.4/s in all threads, of which the event loop's own 0.1/s (before: 0.1/s, event
  loop only); they are those of grpcio's thread pool, which no channel option turns off. CPU: 0.0-0.05 %, before 0.0 %;
- import: 0.11 s alone, 0.02-0.03 s after ``cri``, in a thread while containerd starts;
- start to node Ready: 1.40 and 1.71 s cold, before 1.62 s; 0.90 and 1.42 s again, before 1.03 s:
  within what the machine varies by;
- a unary call over a Unix socket, client and server in one process: 0.26 ms.
"""
