"""Build hook: Kubernetes' OpenAPI definitions, repacked for the API server.

In: ``_definitions.json`` of the ``kubernetes-validate`` package (1.6 MB of text, build time only). Out:
``minikube_py/machinery/definitions.bundle``, which the wheel and the editable install carry and git
does not. Run ``python scripts/build_hook.py`` to rebuild it in the tree.

Layout of the bundle: 8 bytes magic, 4 bytes length of the index, the index (JSON), then sections that
are compressed one by one:

* ``structure``: the definitions without descriptions, one JSON text after the other; the index gives
  where each begins, so that one definition is parsed alone;
* one section of descriptions for each package of definitions (``io.k8s.api.core.v1``), read for
  OpenAPI documents only: {definition: {"": its description, property: description}}.

Undone here is what the package does to the upstream document: ``null`` beside each type, and
enumerations of ``apiVersion`` and ``kind``. References are bare names.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

MAGIC = b"pyk3sdf2"
VERSION = "v1.36.0-local"
TARGET = Path(__file__).resolve().parent.parent / "minikube_py" / "machinery" / "definitions.bundle"
_REFERENCE = "#/$defs/"
_UNTYPED = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string", "format": "quantity"},
}


def source_path() -> Path:
    """Where the installed package keeps the definitions; raises RuntimeError when it is not installed."""
    relative = f"kubernetes_validate/kubernetes-json-schema/{VERSION}/_definitions.json"
    try:
        path = Path(str(distribution("kubernetes-validate").locate_file(relative)))
    except PackageNotFoundError as error:
        raise RuntimeError("kubernetes-validate is not installed; it is needed to build pyk3s") from error
    if not path.is_file():
        raise RuntimeError(f"{path} is missing: kubernetes-validate has no {VERSION}")
    return path


def build(target: Path = TARGET) -> None:
    """Write the bundle, replacing an older one."""
    document = json.loads(source_path().read_bytes())
    target.write_bytes(pack(document["$defs"]))


def pack(definitions: dict[str, dict[str, Any]]) -> bytes:
    """The bundle's bytes for a table of definitions; the same input gives the same bytes."""
    offsets: dict[str, list[int]] = {}
    texts: list[bytes] = []
    descriptions: dict[str, dict[str, dict[str, str]]] = {}
    position = 0
    for name, raw in sorted(definitions.items()):
        text = _compact(_UNTYPED.get(name) or structure_of(raw))
        texts.append(text)
        offsets[name] = [position, len(text)]
        position += len(text)
        descriptions.setdefault(name.rpartition(".")[0], {})[name] = descriptions_of(raw)
    sections = {"structure": b"".join(texts)}
    sections |= {f"descriptions:{package}": _compact(found) for package, found in descriptions.items()}
    packed: list[bytes] = []
    places: dict[str, list[int]] = {}
    position = 0
    for label, data in sections.items():
        blob = zlib.compress(data, 9)
        places[label] = [position, len(blob)]
        packed.append(blob)
        position += len(blob)
    index = _compact({"sections": places, "definitions": offsets, "kinds": kinds_of(definitions)})
    return MAGIC + struct.pack(">I", len(index)) + index + b"".join(packed)


def kinds_of(definitions: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The definition of each ``apiVersion Kind``; of several (DeleteOptions) any, they are the same."""
    found: dict[str, str] = {}
    for name, raw in sorted(definitions.items()):
        for gvk in raw.get("x-kubernetes-group-version-kind", ()):
            api_version = f"{gvk['group']}/{gvk['version']}" if gvk["group"] else gvk["version"]
            found.setdefault(f"{api_version} {gvk['kind']}", name)
    return found


def structure_of(raw: dict[str, Any]) -> dict[str, Any]:
    """A schema without descriptions, with upstream's spelling of types and bare references."""
    result: dict[str, Any] = {}
    for key, value in raw.items():
        if key == "description":
            continue
        if key == "type":
            result[key] = value if isinstance(value, str) else next(item for item in value if item != "null")
        elif key == "$ref":
            result[key] = value.removeprefix(_REFERENCE)
        elif key == "properties":
            result[key] = {name: _property(name, item) for name, item in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            result[key] = structure_of(value)
        elif key == "enum":
            result[key] = [item for item in value if item is not None]
        else:
            result[key] = value
    return result


def _property(name: str, raw: dict[str, Any]) -> dict[str, Any]:
    schema = structure_of(raw)
    if name in ("apiVersion", "kind"):
        schema.pop("enum", None)
    return schema


def descriptions_of(raw: dict[str, Any]) -> dict[str, str]:
    """The definition's own description under the empty name, and those of its properties."""
    found = {"": raw["description"]} if raw.get("description") else {}
    for name, schema in raw.get("properties", {}).items():
        if schema.get("description"):
            found[name] = schema["description"]
    return found


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script where hatchling is not installed
    pass
else:

    class DefinitionsHook(BuildHookInterface[Any]):  # type: ignore[misc,unused-ignore]
        """Hatchling's side: build the bundle before files are collected."""

        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            build()
            build_data.setdefault("artifacts", []).append("minikube_py/machinery/definitions.bundle")


if __name__ == "__main__":
    build()
    sys.stdout.write(f"{TARGET} ({TARGET.stat().st_size} bytes)\n")
