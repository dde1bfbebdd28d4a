"""Validation of CustomResourceDefinitions, in Kubernetes' order and with its texts.

Follows ``ValidateCustomResourceDefinition`` and ``...Update``.
"""

from __future__ import annotations

from collections.abc import Iterable

from minikube_py.machinery.custom_resources.places import RULES, marked_places
from minikube_py.machinery.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    required,
    too_many,
)
from minikube_py.machinery.kinds.admissionregistration.webhooks import client_config_errors
from minikube_py.machinery.kinds.apiextensions.approval import ANNOTATION, Approval, approval_of, is_protected
from minikube_py.machinery.kinds.apiextensions.default_values import default_errors, has_unpruned_defaults
from minikube_py.machinery.kinds.apiextensions.go_form import go_schema, go_versions, set_fields
from minikube_py.machinery.kinds.apiextensions.hoisted import Hoisted, Part, hoist
from minikube_py.machinery.kinds.apiextensions.rule_costs import RuleContext, root_context
from minikube_py.machinery.kinds.apiextensions.schema_rules import (
    TYPES,
    Options,
    map_key_errors,
    schema_errors,
    set_item_errors,
)
from minikube_py.machinery.kinds.apiextensions.schema_walk import Json, field_at, subschemas
from minikube_py.machinery.kinds.apiextensions.structural import conversion_error, structural_errors
from minikube_py.machinery.kinds.common.authorities import bundle_problem
from minikube_py.machinery.kinds.common.checks import Errors, not_supported_in_order
from minikube_py.machinery.kinds.common.strategy import immutable
from minikube_py.machinery.names import dns1035_label_errors, dns1123_subdomain_errors
from minikube_py.machinery.objects import Object, annotations_of, name_of

_COLUMN_TYPES = "boolean,date,integer,number,string"
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_AT_ROOT = (
    "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern "
    "MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields "
    "XValidations"
)
_MAX_SELECTABLE = 8
_CONVERSIONS = ("None", "Webhook")


def definition_errors(definition: Object, old: Object | None) -> list[FieldError]:
    """Everything against a new definition (``old`` is None) or a changed one."""
    spec, before = definition.get("spec") or {}, (old or {}).get("spec") or {}
    errors = _name_errors(definition, spec) if old is None else []
    errors += _spec_errors(spec, before if old is not None else None, judge_bundle=_judges_bundle(old))
    if old is not None:
        errors += _immutable_errors(spec, before, established=_is_established(old))
    status = definition.get("status") or {}
    errors += names_errors("status.acceptedNames", status.get("acceptedNames") or {})
    errors += _stored_version_errors(spec.get("versions") or (), status.get("storedVersions"))
    errors += _approval_errors(definition, old)
    if spec.get("preserveUnknownFields") and not before.get("preserveUnknownFields"):
        text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        errors.append(invalid_value("spec.preserveUnknownFields", True, text))
    return errors


def _name_errors(definition: Object, spec: Json) -> Errors:
    called, plural = name_of(definition), (spec.get("names") or {}).get("plural") or ""
    if called and called != f"{plural}.{spec.get('group') or ''}":
        return [invalid_value("metadata.name", called, 'must be spec.names.plural+"."+spec.group')]
    return []


def _is_established(definition: Object) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions)


def _immutable_errors(spec: Json, before: Json, *, established: bool) -> Errors:
    names, old_names = spec.get("names") or {}, before.get("names") or {}
    errors: Errors = []
    if established:
        errors += immutable("spec.scope", spec.get("scope") or "", before.get("scope") or "")
        errors += immutable("spec.names.kind", names.get("kind") or "", old_names.get("kind") or "")
    errors += immutable("spec.group", spec.get("group") or "", before.get("group") or "")
    return errors + immutable("spec.names.plural", names.get("plural") or "", old_names.get("plural") or "")


def _judges_bundle(old: Object | None) -> bool:
    """Whether authorities of a conversion webhook must be some: not before it is used, nor if they never were."""
    if old is None or not _is_established(old):
        return False
    bundle = _client_config((old.get("spec") or {}).get("conversion")).get("caBundle")
    return not bundle or not bundle_problem(bundle)


def _client_config(conversion: Json | None) -> Json:
    return ((conversion or {}).get("webhook") or {}).get("clientConfig") or {}


def _spec_errors(spec: Json, before: Json | None, *, judge_bundle: bool) -> Errors:
    hoisted = hoist(spec)
    options, structural = _demands(before)
    preserve = bool(spec.get("preserveUnknownFields"))
    structural = structural or not preserve
    errors = _group_errors(spec.get("group") or "")
    errors += _enum_errors("spec.scope", spec.get("scope") or "", ("Cluster", "Namespaced"))
    errors += _missing_schema_errors(hoisted, before, preserve=preserve)
    schemas = list(hoisted.schemas())
    if preserve and any(part.get("default") is not None for schema in schemas for part in subschemas(schema)):
        text = "must be false in order to use defaults in the schema"
        errors.append(invalid_value("spec.preserveUnknownFields", True, text))
    structural = structural or any(_is_extended(part) for schema in schemas for part in subschemas(schema))
    pruned = before is None or not any(has_unpruned_defaults(schema) for schema in hoist(before).schemas())
    checked = _Schemas(options, structural, pruned)
    for index, version in enumerate(hoisted.versions):
        path, called = f"spec.versions[{index}]", version.get("name") or ""
        errors += _joined(f"{path}.name", called, dns1035_label_errors(called))
        errors += _deprecation_errors(f"{path}.deprecationWarning", version)
        errors += _part_errors(hoisted.part(index), hoisted.status_enabled(index), checked)
    errors += _versions_errors(hoisted)
    names = spec.get("names") or {}
    for field in ("plural", "singular", "kind", "listKind"):
        if not names.get(field):
            errors.append(required(f"spec.names.{field}"))
    errors += names_errors("spec.names", names)
    errors += _part_errors(hoisted.shared, hoisted.any_status_enabled, checked)
    conversion = spec.get("conversion")
    if preserve and conversion and conversion.get("strategy") != "None":
        text = "must be None if spec.preserveUnknownFields is true"
        errors.append(invalid_value("spec.conversion.strategy", conversion.get("strategy") or "", text))
    return errors + _conversion_errors(conversion, (before or {}).get("conversion") or {}, judge_bundle=judge_bundle)


def _demands(before: Json | None) -> tuple[Options, bool]:
    """What a schema must satisfy, and whether it must be structural: no more than the stored one does."""
    if before is None:
        return Options(), True
    schemas = list(hoist(before).schemas())
    parts = [part for schema in schemas for part in subschemas(schema)]
    options = Options(
        valid_types=all((part.get("type") or TYPES[0]) in TYPES for part in parts),
        atomic_sets=not any(set_item_errors("", part) for part in parts),
        map_keys=not any(map_key_errors("", part) for part in parts),
    )
    return options, not any(conversion_error(schema) or structural_errors("", schema) for schema in schemas)


def _is_extended(schema: Json) -> bool:
    """Whether a schema uses Kubernetes' own vocabulary."""
    return (
        bool(schema.get("x-kubernetes-embedded-resource") or schema.get("x-kubernetes-int-or-string"))
        or schema.get("x-kubernetes-preserve-unknown-fields") is not None
        or bool(schema.get("x-kubernetes-list-map-keys") or schema.get("x-kubernetes-validations"))
        or schema.get("x-kubernetes-list-type") is not None
    )


def _joined(path: str, value: str, texts: Iterable[str], prefix: str = "") -> Errors:
    """All texts against a name in one error."""
    joined = ",".join(texts)
    return [invalid_value(path, value, prefix + joined)] if joined else []


def _group_errors(group: str) -> Errors:
    if not group:
        return [required("spec.group")]
    errors = _joined("spec.group", group, dns1123_subdomain_errors(group))
    if not errors and "." not in group:
        errors.append(invalid_value("spec.group", group, "should be a domain with at least one dot"))
    return errors


def _enum_errors(path: str, value: str, accepted: tuple[str, ...]) -> Errors:
    if not value:
        return [required(path)]
    return [] if value in accepted else [not_supported_in_order(path, value, accepted)]


def _missing_schema_errors(hoisted: Hoisted, before: Json | None, *, preserve: bool) -> Errors:
    if (hoisted.shared.schema or {}).get("openAPIV3Schema") is not None:
        return []
    demanded = before is None or _all_have_schemas(hoist(before))
    if not demanded and preserve:
        return []
    return [
        required(
            f"spec.versions[{index}].schema.openAPIV3Schema",
            "" if demanded else "because otherwise all fields are pruned",
        )
        for index, version in enumerate(hoisted.versions)
        if (version.get("schema") or {}).get("openAPIV3Schema") is None and (demanded or version.get("served"))
    ]


def _all_have_schemas(hoisted: Hoisted) -> bool:
    if (hoisted.shared.schema or {}).get("openAPIV3Schema") is not None:
        return True
    return all((version.get("schema") or {}).get("openAPIV3Schema") is not None for version in hoisted.versions)


def _deprecation_errors(path: str, version: Json) -> Errors:
    warning = version.get("deprecationWarning")
    if warning is None:
        return []
    if not version.get("deprecated"):
        return [invalid_value(path, warning, "can only be set for deprecated versions")]
    texts = []
    if len(warning.encode()) > 256:
        texts.append("must be <= 256 characters long")
    if not warning:
        texts.append("must not be an empty string")
    at = next((index for index, char in enumerate(warning) if not char.isprintable()), None)
    if at is not None:
        found = len(warning[:at].encode())
        text = f"must only contain printable UTF-8 characters; non-printable character found at index {found}"
        texts.append(text)
    return [invalid_value(path, warning, text) for text in texts]


def _versions_errors(hoisted: Hoisted) -> Errors:
    versions = hoisted.versions
    names = [version.get("name") or "" for version in versions]
    texts = []
    if len(set(names)) != len(names):
        texts.append("must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        texts.append("must have exactly one version marked as storage version")
    return [invalid_value("spec.versions", go_versions(versions), text) for text in texts]


def names_errors(path: str, names: Json) -> Errors:
    """``ValidateCustomResourceDefinitionNames``: whatever is given is well-formed."""
    errors: Errors = []
    for field in ("plural", "singular"):
        value = names.get(field) or ""
        errors += _joined(f"{path}.{field}", value, dns1035_label_errors(value)) if value else []
    for field in ("kind", "listKind"):
        value, prefix = names.get(field) or "", "may have mixed case, but should otherwise match: "
        errors += _joined(f"{path}.{field}", value, dns1035_label_errors(value.lower()), prefix) if value else []
    for index, value in enumerate(names.get("shortNames") or ()):
        errors += _joined(f"{path}.shortNames[{index}]", value, dns1035_label_errors(value))
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        text = "kind and listKind may not be the same"
        errors.append(invalid_value(f"{path}.listKind", names["listKind"], text))
    for index, value in enumerate(names.get("categories") or ()):
        errors += _joined(f"{path}.categories[{index}]", value, dns1035_label_errors(value))
    return errors


class _Schemas:
    """How the schemas of one definition are checked."""

    __slots__ = ("options", "pruned", "structural")

    def __init__(self, options: Options, structural: bool, pruned: bool) -> None:
        self.options, self.structural, self.pruned = options, structural, pruned

    def errors(self, path: str, schema: Json, *, has_status: bool) -> Errors:
        """``validateCustomResourceDefinitionValidation``; ``path`` is that of ``openAPIV3Schema``."""
        errors = _root_errors(path, schema) if has_status else []
        if schema.get("nullable"):
            errors.append(forbidden_field(f"{path}.nullable", "nullable cannot be true at the root"))
        unreadable = conversion_error(schema) if self.structural else ""
        context: RuleContext | None = None
        if self.structural and not unreadable:
            found = structural_errors(path, schema) or default_errors(path, schema, pruned=self.pruned)
            errors += found
            if not found and marked_places(schema).below & RULES:
                context = root_context(schema)
        errors += schema_errors(path, schema, self.options, root=True, context=context)
        if unreadable and not errors:
            errors.append(invalid_value(path, "", unreadable))
        return errors + (context.total.errors(path) if context is not None else [])


def _root_errors(path: str, schema: Json) -> Errors:
    """With a status subresource the root holds nothing that would be lost to the status' own schema."""
    for name in set_fields(schema):
        if name == "Type":
            if schema["type"] != "object":
                text = (
                    'only "object" is allowed as the type at the root of the schema if the status subresource '
                    "is enabled"
                )
                return [invalid_value(f"{path}.type", schema["type"], text)]
        elif name not in _AT_ROOT.split():
            text = (
                f"only [{_AT_ROOT}] fields are allowed at the root of the schema if the status subresource is enabled"
            )
            return [invalid_value(path, go_schema(schema), text)]
    return []


def _part_errors(part: Part, has_status: bool, checked: _Schemas) -> Errors:
    """Schema, subresources, columns and selectable fields of one version or of all."""
    errors: Errors = []
    schema = (part.schema or {}).get("openAPIV3Schema")
    if schema is not None:
        errors += checked.errors(f"{part.schema_path}.openAPIV3Schema", schema, has_status=has_status)
    scale = (part.subresources or {}).get("scale")
    if scale is not None:
        errors += _scale_errors(f"{part.path}.subresources.scale", scale)
    for index, column in enumerate(part.columns):
        errors += _column_errors(f"{part.path}.additionalPrinterColumns[{index}]", column)
    if part.selectable:
        errors += _selectable_errors(part, schema)
    return errors


def _scale_errors(path: str, scale: Json) -> Errors:
    errors: Errors = []
    for field, prefix in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        value = scale.get(field) or ""
        if not value:
            errors.append(required(f"{path}.{field}"))
        elif not value.startswith("."):
            errors += _json_path_errors(f"{path}.{field}", value)
        elif not value.startswith(prefix):
            text = f"should be a json path under {prefix[:-1]}"
            errors.append(invalid_value(f"{path}.{field}", value, text))
    selector = scale.get("labelSelectorPath") or ""
    if selector and not selector.startswith("."):
        errors += _json_path_errors(f"{path}.labelSelectorPath", selector)
    elif selector and not selector.startswith((".spec.", ".status.")):
        text = "should be a json path under either .spec or .status"
        errors.append(invalid_value(f"{path}.labelSelectorPath", selector, text))
    return errors


def _json_path_errors(path: str, value: str) -> Errors:
    if value.startswith("."):
        return []
    return [invalid_value(path, value, "must be a simple json path starting with .")]


def _column_errors(path: str, column: Json) -> Errors:
    errors: Errors = []
    if not column.get("name"):
        errors.append(required(f"{path}.name"))
    sort, text = column.get("type") or "", f"must be one of {_COLUMN_TYPES}"
    if not sort:
        errors.append(required(f"{path}.type", text))
    elif sort not in _COLUMN_TYPES.split(","):
        errors.append(invalid_value(f"{path}.type", sort, text))
    written = column.get("format") or ""
    if written and written not in _COLUMN_FORMATS:
        errors.append(invalid_value(f"{path}.format", written, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    where = column.get("jsonPath") or ""
    return errors + (_json_path_errors(f"{path}.JSONPath", where) if where else [required(f"{path}.JSONPath")])


def _selectable_errors(part: Part, schema: Json | None) -> Errors:
    path = f"{part.path}.selectableFields"
    if schema is None:
        text = "selectableFields may only be set when version.schema.openAPIV3Schema is not included"
        if part.path == "spec":
            text = "selectableFields may only be set when validations.schema is included"
        return [invalid_value(path, "", text)]
    errors: Errors = []
    seen: set[tuple[str, ...]] = set()
    for index, entry in enumerate(part.selectable):
        field, where = f"{path}[{index}].jsonPath", entry.get("jsonPath") or ""
        if not where:
            errors.append(required(field))
            continue
        try:
            names, found = field_at(schema, where, array_notation=False)
        except ValueError as error:
            errors.append(invalid_value(field, where, f"is an invalid path: {error}"))
            continue
        errors += _selected_errors(field, where, names, found)
        if names in seen:
            errors.append(duplicate(field, where))
        seen.add(names)
    if len(seen) > _MAX_SELECTABLE:
        errors.append(too_many(path, len(seen), _MAX_SELECTABLE))
    return errors


def _selected_errors(path: str, where: str, names: tuple[str, ...], found: Json) -> Errors:
    errors: Errors = []
    if names[0] == "metadata":
        errors.append(invalid_value(path, where, "must not point to fields in metadata"))
    if found.get("type") not in ("string", "boolean", "integer"):
        text = (
            "must point to a field of type string, boolean or integer. Enum string fields and strings with formats "
            "are allowed."
        )
        errors.append(invalid_value(path, where, text))
    return errors


def _stored_version_errors(versions: Iterable[Json], stored: list[str] | None) -> Errors:
    """Every version that objects may be stored in is still there."""
    path = "status.storedVersions"
    if not stored:
        return [invalid_value(path, stored, "must have at least one stored version")]
    names = [version.get("name") or "" for version in versions]
    errors: Errors = [
        invalid_value(path, list(stored), f"must have the storage version {version.get('name') or ''}")
        for version in versions
        if version.get("storage") and (version.get("name") or "") not in stored
    ]
    for index, called in enumerate(stored):
        if called not in names:
            text = (
                f"missing from spec.versions; {called} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {called} and removes "
                f"{called} from status.storedVersions"
            )
            errors.append(invalid_value(f"{path}[{index}]", called, text))
    return errors


def _conversion_errors(conversion: Json | None, before: Json, *, judge_bundle: bool) -> Errors:
    if conversion is None:
        return []
    path, webhook = "spec.conversion", conversion.get("webhook") or {}
    config, versions = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    errors = _enum_errors(f"{path}.strategy", conversion.get("strategy") or "", _CONVERSIONS)
    if conversion.get("strategy") != "Webhook":
        given = (("webhookClientConfig", config is not None), ("conversionReviewVersions", bool(versions)))
        text = "should not be set when strategy is not set to Webhook"
        return errors + [forbidden_field(f"{path}.{name}", text) for name, is_set in given if is_set]
    if config is None:
        errors.append(required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook"))
    else:
        errors += client_config_errors(f"{path}.webhookClientConfig", config)
        problem = bundle_problem(config.get("caBundle") or "") if judge_bundle else ""
        if problem:
            errors.append(invalid_value(f"{path}.webhookClientConfig.caBundle", config["caBundle"], problem))
    known = _are_known((before.get("webhook") or {}).get("conversionReviewVersions") or [])
    return errors + _review_version_errors(f"{path}.conversionReviewVersions", versions, demanded=known)


def _are_known(versions: list[str]) -> bool:
    return not versions or bool({"v1", "v1beta1"} & set(versions))


def _review_version_errors(path: str, versions: list[str], *, demanded: bool) -> Errors:
    if not versions:
        return [required(path)]
    errors: Errors = []
    for index, version in enumerate(versions):
        if version in versions[:index]:
            errors.append(invalid_value(f"{path}[{index}]", version, "duplicate version"))
        else:
            errors += [invalid_value(f"{path}[{index}]", version, text) for text in dns1035_label_errors(version)]
    if demanded and not _are_known(versions):
        errors.append(invalid_value(path, versions, "must include at least one of v1, v1beta1"))
    return errors


def _approval_errors(definition: Object, old: Object | None) -> Errors:
    """Groups of the Kubernetes community need an approval in writing; an unchanged state is not asked again."""
    if not is_protected(definition):
        return []
    state, text = approval_of(definition)
    if state in (Approval.APPROVED, Approval.BYPASSED) or (old is not None and approval_of(old)[0] is state):
        return []
    path = f"metadata.annotations[{ANNOTATION}]"
    if state is Approval.MISSING:
        return [required(path, text)]
    return [invalid_value(path, annotations_of(definition).get(ANNOTATION, ""), text)]
