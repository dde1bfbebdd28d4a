"""A read-only image registry on loopback that serves one OCI archive: enough for a pull.

    python registry.py ARCHIVE PORT

Every name and tag leads to the archive's one image. Runs until it is ended.
"""

from __future__ import annotations

import json
import sys
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def load(archive: Path) -> tuple[dict[str, bytes], str]:
    """All blobs by digest, and the digest of the manifest."""
    blobs: dict[str, bytes] = {}
    index = b""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            file = tar.extractfile(member)
            content = file.read() if file else b""
            if member.name.startswith("blobs/sha256/"):
                blobs["sha256:" + member.name.rsplit("/", 1)[1]] = content
            elif member.name == "index.json":
                index = content
    return blobs, json.loads(index)["manifests"][0]["digest"]


def handler(blobs: dict[str, bytes], manifest: str) -> type[BaseHTTPRequestHandler]:
    class Registry(BaseHTTPRequestHandler):
        def answer(self, *, body: bool) -> None:
            last = self.path.rsplit("/", 1)[-1]
            digest = last if last.startswith("sha256:") else manifest
            content = b"{}" if self.path == "/v2/" else blobs.get(digest)
            if content is None:
                self.send_error(404)
                return
            kind = "application/octet-stream"
            if "/manifests/" in self.path:
                kind = str(json.loads(content)["mediaType"])
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Content-Digest", digest)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_GET(self) -> None:
            self.answer(body=True)

        def do_HEAD(self) -> None:
            self.answer(body=False)

    return Registry


if __name__ == "__main__":
    found = handler(*load(Path(sys.argv[1])))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), found).serve_forever()
