"""Swagger UI at /swagger-ui, over the OpenAPI v3 documents of this server.

The files are those of the PyPI package ``swagger-ui-bundle`` (a dependency; nothing of it is imported), found when
they are first asked for. The page and the script that starts it are ours: a page that loads nothing from elsewhere.
``read`` blocks and belongs in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

ROOT = "/swagger-ui"
PACKAGE = "swagger-ui-bundle"
MISSING = f"Swagger UI is not installed: the Python package {PACKAGE} is missing; install it and ask again\n"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'"
)
"""Content-Security-Policy of every answer: the page shows data of the cluster and has its visitor's rights."""

_FILES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui-standalone-preset.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Kubernetes API</title>
<link rel="icon" href="/swagger-ui/favicon-32x32.png">
<link rel="stylesheet" href="/swagger-ui/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="/swagger-ui/swagger-ui-bundle.js"></script>
<script src="/swagger-ui/swagger-ui-standalone-preset.js"></script>
<script src="/swagger-ui/start.js"></script>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    media_type: str


def read(name: str, documents: list[str]) -> Asset | None:
    """A file of the UI by its name below ROOT; "" is the page. ``documents``: paths below /openapi/v3.

    None for unknown names. Raises ModuleNotFoundError when the package is not installed, OSError for its files.
    """
    folder = _folder()
    if name in ("", "index.html"):
        return Asset(_PAGE, "text/html; charset=utf-8")
    if name == "start.js":
        return Asset(_start(documents), "text/javascript; charset=utf-8")
    if name not in _FILES:
        return None
    return Asset((folder / name).read_bytes(), _FILES[name])


def _folder() -> Path:
    """Where the package keeps the files; its newest vendored version."""
    from importlib.metadata import distribution  # costs 7 ms of the start

    found = sorted(
        {Path(str(file.locate())).parent for file in distribution(PACKAGE).files or () if file.name == "swagger-ui.css"}
    )
    if not found or not found[-1].is_dir():
        raise ModuleNotFoundError(PACKAGE)
    return found[-1]


def _start(documents: list[str]) -> bytes:
    """The script that starts the UI, with the list of documents to choose from (core/v1 first)."""
    urls = [{"url": f"/openapi/v3/{path}", "name": path} for path in documents]
    return (
        b"window.onload = () => { window.ui = SwaggerUIBundle({ urls: " + orjson.dumps(urls) + b", dom_id: '#ui', "
        b"docExpansion: 'none', validatorUrl: null, deepLinking: true, presets: [SwaggerUIBundle.presets.apis, "
        b"SwaggerUIStandalonePreset], layout: 'StandaloneLayout' }); };\n"
    )
