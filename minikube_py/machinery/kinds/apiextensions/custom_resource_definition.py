"""CustomResourceDefinition: declares a kind at run time.

Names, versions, conversion, schemas, defaults and CEL rules are validated in ``definition_validation``.
"""

from __future__ import annotations

from minikube_py.machinery.errors import FieldError, go_quote
from minikube_py.machinery.kind import Kind, Subresource
from minikube_py.machinery.kinds.common.setting import child, items, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, keep_metadata
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CUSTOM_RESOURCE_DEFINITIONS

DEFINITION = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"


def fill(definition: Object) -> None:
    """``SetDefaults_CustomResourceDefinition``."""
    spec = child(definition, "spec")
    names = child(spec, "names")
    kind = names.get("kind") or ""
    if not names.get("singular"):
        names["singular"] = kind.lower()
    if not names.get("listKind") and kind:
        names["listKind"] = f"{kind}List"
    if spec.get("conversion") is None:
        spec["conversion"] = {"strategy": "None"}
    service = ((spec["conversion"].get("webhook") or {}).get("clientConfig") or {}).get("service")
    if service is not None:
        set_default(service, port=443)


def prepare_create(definition: Object) -> None:
    """Status starts empty, but for the storage version."""
    stored = [v["name"] for v in items(definition["spec"], "versions") if v.get("storage")]
    definition["status"] = {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": stored[:1] or None,
    }


def prepare_update(definition: Object, old: Object) -> None:
    """A new storage version joins the stored ones (``status`` is a private copy)."""
    status = dict(definition.get("status") or old.get("status") or {})
    stored = list(status.get("storedVersions") or ())
    storage = [version["name"] for version in items(definition["spec"], "versions") if version.get("storage")]
    stored += [called for called in storage[:1] if called not in stored]
    definition["status"] = {**status, "storedVersions": stored}


def validate(definition: Object) -> list[FieldError]:
    """``ValidateCustomResourceDefinition``."""
    from minikube_py.machinery.kinds.apiextensions.definition_validation import definition_errors

    return definition_errors(definition, None)


def validate_update(definition: Object, old: Object) -> list[FieldError]:
    """``ValidateCustomResourceDefinitionUpdate``."""
    from minikube_py.machinery.kinds.apiextensions.definition_validation import definition_errors

    return definition_errors(definition, old)


def validate_status(definition: Object, old: Object) -> list[FieldError]:
    """Accepted names are well-formed."""
    from minikube_py.machinery.kinds.apiextensions.definition_validation import names_errors

    return names_errors("status.acceptedNames", (definition.get("status") or {}).get("acceptedNames") or {})


def warnings(definition: Object, old: Object | None) -> list[str]:
    """Formats in schemas that have no effect and did not stand there before."""
    from minikube_py.machinery.kinds.apiextensions.formats import unrecognized_formats
    from minikube_py.machinery.kinds.apiextensions.hoisted import hoist

    def formats(obj: Object | None) -> list[str]:
        schemas = hoist((obj or {}).get("spec") or {}).schemas()
        return list(dict.fromkeys(text for schema in schemas for text in unrecognized_formats(schema)))

    before = formats(old)
    return [f"unrecognized format {go_quote(text)}" for text in formats(definition) if text not in before]


KIND = Kind(
    resource=CUSTOM_RESOURCE_DEFINITIONS,
    singular="customresourcedefinition",
    definition=DEFINITION,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    prepare_status=keep_metadata,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    warnings=warnings,
    generation=True,
    has_status=True,
    unconditional_update=False,
)
