"""Make ``machinery/protobuf_fields.txt`` from a table of Kubernetes' protobuf messages.

In: tab-separated lines ``message, full name, field, number, label, type`` (the facts that ``.proto`` files
of v1.36 state), and the definitions bundle. Out: only what OpenAPI does not say, which is the numbers:

    [io.k8s.api.core.v1]
    Pod metadata spec status
    Volume name volumeSource>VolumeSource

Fields come in the order of their numbers; ``name=7`` sets a number that does not follow the one before.
``name>Message`` is a message whose fields JSON has in the parent; ``name~`` one that JSON writes as a
list (its only field is ``items``).

Run: python scripts/protobuf_table.py FACTS.tsv
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from minikube_py.machinery.schema import Definitions, definitions

TARGET = Path(__file__).resolve().parent.parent / "minikube_py" / "machinery" / "protobuf_fields.txt"
Field = tuple[str, int, str, str]
_LISTS = ("Verbs", "ExtraValue")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_BESIDES = (_META + "PartialObjectMetadata", _META + "PartialObjectMetadataList")
_RENAMED = {"ref": "$ref", "schema": "$schema"}


def read(path: Path) -> dict[str, list[Field]]:
    """Fields by message, the message named as OpenAPI names it."""
    messages: dict[str, list[Field]] = defaultdict(list)
    for line in path.read_text().splitlines():
        kind, message, field, number, label, type_name = (line.split("\t") + [""] * 6)[:6]
        if kind == "message":
            messages[_openapi(message)].append((field, int(number), label, type_name))
    return messages


def _openapi(message: str) -> str:
    return "io.k8s." + message.removeprefix("k8s.io.").replace("_", "-")


def table(messages: dict[str, list[Field]], known: Definitions) -> str:
    """The text of the table, for the messages that have a definition."""
    packages: dict[str, list[str]] = defaultdict(list)
    wanted = [message for message in messages if message in known or message in _BESIDES]
    for message in wanted:
        package, _, short = message.rpartition(".")
        words = _spelled(message, sorted(messages[message], key=lambda field: field[1]), known)
        packages[package].append(" ".join([short, *words]))
        # Structures that JSON writes into their parent have no definition of their own.
        inlined = [f"{package}.{word.partition('>')[2].partition('=')[0]}" for word in words if ">" in word]
        wanted += [name for name in inlined if name not in wanted]
    for lines in packages.values():
        lines.sort()
    return "".join(f"[{package}]\n" + "\n".join(lines) + "\n" for package, lines in packages.items())


def _spelled(message: str, fields: list[Field], known: Definitions) -> list[str]:
    if message in known:
        properties = known.structure(message).get("properties") or {}
    else:
        properties = {field[0]: {} for field in fields}
    words: list[str] = []
    expected = 1
    for name, number, _, type_name in fields:
        word = _json_name(name, properties)
        if word not in properties and "." not in type_name and type_name[:1].isupper():
            word = f"{name}>{type_name}"
        elif any(type_name == short or type_name.endswith(f",{short}>") for short in _LISTS):
            word += "~"
        words.append(word if number == expected else f"{word}={number}")
        expected = number + 1
    return words


def _json_name(name: str, properties: dict[str, object]) -> str:
    if name in properties:
        return name
    if name.startswith("xKubernetes"):
        return "".join(f"-{char.lower()}" if char.isupper() else char for char in name)
    if _RENAMED.get(name) in properties:
        return _RENAMED[name]
    return next((known for known in properties if known.lower() == name.lower()), name)


if __name__ == "__main__":
    TARGET.write_text(table(read(Path(sys.argv[1])), definitions()))
    sys.stdout.write(f"{TARGET} ({TARGET.stat().st_size} bytes)\n")
