"""Definitions in the published shape of the Gateway API and of a service mesh: own writing, as ``known_shapes``.

What is special: unions kept by CEL rules on lists in lists, whose estimated cost is near the limits; a "one of" that is
written with ``oneOf``, ``not`` and ``anyOf``; several served versions; cluster-wide kinds.
"""

from __future__ import annotations

from typing import Any

from known_shapes import CONDITIONS, INT32, STRING, array, definition, enum, mapping, obj, version

Schema = dict[str, Any]
NAME = {**STRING, "minLength": 1, "maxLength": 253}
HOST = {
    **STRING, "minLength": 1, "maxLength": 253,
    "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
}  # fmt: skip
NUMBER = {**INT32, "minimum": 1, "maximum": 65535}
OBJECT_REF = obj(
    "", ("name",), group={**STRING, "default": "", "maxLength": 253}, name=NAME,
    kind={**STRING, "default": "Service", "maxLength": 63}, namespace={**STRING, "maxLength": 63}, port=NUMBER,
    weight={**INT32, "default": 1, "minimum": 0, "maximum": 1_000_000},
)  # fmt: skip
OBJECT_REF["x-kubernetes-validations"] = [
    {
        "message": "a Service needs a port",
        "rule": "size(self.group) == 0 && self.kind == 'Service' ? has(self.port) : true",
    }
]


def ruled(schema: Schema, *rules: tuple[str, str]) -> Schema:
    return {**schema, "x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def listing(items: Schema, most: int, kind: str = "atomic", *keys: str) -> Schema:
    return {**array(items, kind, *keys), "maxItems": most}


def resource(spec: Schema, status: Schema) -> Schema:
    return obj("", ("spec",), apiVersion=STRING, kind=STRING, metadata={"type": "object"}, spec=spec, status=status)


def gateways() -> Schema:
    tls = ruled(
        obj("", (), mode={**enum("Terminate", "Passthrough"), "default": "Terminate"},
            certificateRefs=listing(OBJECT_REF, 64), options={**mapping({**STRING, "maxLength": 4096}),
                                                              "maxProperties": 16}),
        ("self.mode == 'Terminate' ? size(self.certificateRefs) > 0 || size(self.options) > 0 : true",
         "certificates or options are needed to terminate TLS"),
    )  # fmt: skip
    listener = obj(
        "", ("name", "port", "protocol"), name=NAME, hostname=HOST, port=NUMBER,
        protocol={**STRING, "minLength": 1, "maxLength": 255}, tls=tls,
        allowedRoutes=obj("", (), namespaces=obj("", (), **{"from": enum("All", "Selector", "Same")})),
    )  # fmt: skip
    listener["properties"]["allowedRoutes"]["default"] = {"namespaces": {"from": "Same"}}
    same_host = "(has(a.hostname) && has(b.hostname) ? a.hostname == b.hostname : !has(a.hostname) && !has(b.hostname))"
    listeners = ruled(
        {**listing(listener, 64, "map", "name"), "minItems": 1},
        ("self.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)", "tls needs another protocol"),
        ("self.all(a, self.exists_one(b, a.name == b.name))", "names are given once"),
        (f"self.all(a, self.exists_one(b, a.port == b.port && a.protocol == b.protocol && {same_host}))",
         "port, protocol and hostname are used once"),
    )  # fmt: skip
    spec = obj("", ("gatewayClassName", "listeners"), gatewayClassName=NAME, listeners=listeners,
               addresses=listing(obj("", (), type={**STRING, "default": "IPAddress"}, value=NAME), 16))  # fmt: skip
    waiting = {"type": "Accepted", "status": "Unknown", "reason": "Pending", "message": "Waiting for a controller",
               "lastTransitionTime": "1970-01-01T00:00:00Z"}  # fmt: skip
    status = obj("", (), conditions={**CONDITIONS, "maxItems": 8})
    schema = resource(spec, {**status, "default": {"conditions": [waiting]}})
    columns = [{"name": "Class", "type": "string", "jsonPath": ".spec.gatewayClassName"},
               {"name": "Address", "type": "string", "jsonPath": ".status.addresses[*].value"}]  # fmt: skip
    more: Schema = {"subresources": {"status": {}}, "additionalPrinterColumns": columns}
    versions = [version("v1", schema, storage=True, **more), version("v1beta1", schema, **more)]
    names = {"shortNames": ["gtw"], "categories": ["gateway-api"]}
    return approved(definition("gateway.networking.k8s.io", "Gateway", "gateways", versions, **names))


FILTERS = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "RequestRedirect", "URLRewrite")


def http_routes() -> Schema:
    header = obj("", ("name", "value"), name={**NAME, "maxLength": 256}, value={**STRING, "maxLength": 4096})
    headers = obj("", (), set=listing(header, 16, "map", "name"), add=listing(header, 16, "map", "name"),
                  remove=listing(STRING, 16, "set"))  # fmt: skip
    parts = {"RequestMirror": obj("", ("backendRef",), backendRef=OBJECT_REF),
             "RequestRedirect": obj("", (), hostname=HOST, statusCode={"type": "integer", "enum": [301, 302]}),
             "URLRewrite": obj("", (), hostname=HOST)}  # fmt: skip
    fields = {sort: "urlRewrite" if sort == "URLRewrite" else sort[0].lower() + sort[1:] for sort in FILTERS}
    choice = obj("", ("type",), type=enum(*FILTERS),
                 **{fields[sort]: parts.get(sort, headers) for sort in FILTERS})  # fmt: skip
    choice = ruled(
        choice,
        *(
            (f"(self.type == '{sort}') == has(self.{field})", f"{field} belongs to type {sort}")
            for sort, field in fields.items()
        ),
    )
    filters = ruled(
        listing(choice, 16),
        ("!(self.exists(f, f.type == 'RequestRedirect') && self.exists(f, f.type == 'URLRewrite'))",
         "redirect or rewrite, not both"),
        ("self.filter(f, f.type == 'RequestHeaderModifier').size() <= 1", "one header modifier"),
    )  # fmt: skip
    path = ruled(
        obj("", (), type={**enum("Exact", "PathPrefix", "RegularExpression"), "default": "PathPrefix"},
            value={**STRING, "default": "/", "maxLength": 1024}),
        ("self.type in ['Exact', 'PathPrefix'] ? self.value.startsWith('/') : true", "paths begin with /"),
        ("self.type in ['Exact', 'PathPrefix'] ? !self.value.contains('//') : true", "paths have no //"),
    )  # fmt: skip
    match = obj("", (), path={**path, "default": {"type": "PathPrefix", "value": "/"}}, method=enum("GET", "POST"),
                headers=listing(header, 16, "map", "name"))  # fmt: skip
    rule = ruled(
        obj("", (), name=NAME,
            matches={**listing(match, 8), "default": [{"path": {"type": "PathPrefix", "value": "/"}}]},
            filters=filters, backendRefs=listing(OBJECT_REF, 16), timeouts=obj("", (), request=STRING)),
        ("has(self.backendRefs) && size(self.backendRefs) > 0 ? (!has(self.filters) || "
         "self.filters.all(f, f.type != 'RequestRedirect')) : true", "a redirect has no backends"),
    )  # fmt: skip
    spec = obj(
        "",
        (),
        hostnames=listing(HOST, 16),
        parentRefs=listing(obj("", ("name",), name=NAME), 32),
        rules={**listing(rule, 16), "default": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]},
    )
    schema = resource(spec, obj("", (), parents=listing(obj("", (), conditions=CONDITIONS), 32)))
    versions = [version("v1", schema, storage=True, subresources={"status": {}})]
    return approved(definition("gateway.networking.k8s.io", "HTTPRoute", "httproutes", versions))


def approved(crd: Schema) -> Schema:
    """With the annotation that definitions of protected groups must have."""
    approval = "https://github.com/kubernetes-sigs/gateway-api/pull/1"
    crd["metadata"]["annotations"] = {"api-approved.kubernetes.io": approval}
    return crd


def one_of(schema: Schema, *fields: str) -> Schema:
    """At most one of the fields, as generators from protocol buffers write it."""
    some = [{"required": [field]} for field in fields]
    return {**schema, "oneOf": [{"not": {"anyOf": some}}, *some]}


def virtual_services() -> Schema:
    text = one_of(obj("", (), exact=STRING, prefix=STRING, regex=STRING), "exact", "prefix", "regex")
    destination = obj("", ("host",), host=STRING, subset=STRING,
                      port=obj("", (), number={"type": "integer", "maximum": 4294967295, "minimum": 0}))  # fmt: skip
    route = obj("", ("destination",), destination=destination, weight=INT32)
    redirect = one_of(
        obj("", (), uri=STRING, authority=STRING, port={"type": "integer"}, derivePort=enum("FROM_PROTOCOL_DEFAULT"),
            redirectCode={"type": "integer"}),
        "port", "derivePort",
    )  # fmt: skip
    http = obj(
        "", (), name=STRING, route={"type": "array", "items": route}, redirect=redirect, timeout=STRING,
        match={"type": "array", "items": obj("", (), uri=text, headers=mapping(text), name=STRING)},
        fault=obj("", (), delay=one_of(obj("", (), fixedDelay=STRING, exponentialDelay=STRING),
                                       "fixedDelay", "exponentialDelay")),
    )  # fmt: skip
    spec = obj("", (), hosts={"type": "array", "items": STRING}, gateways={"type": "array", "items": STRING},
               http={"type": "array", "items": http})  # fmt: skip
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = obj("", (), spec=spec, status=status)
    columns = [{"name": "Hosts", "type": "string", "jsonPath": ".spec.hosts"}]
    versions = [
        version(name, schema, storage=name == "v1beta1", subresources={"status": {}}, additionalPrinterColumns=columns)
        for name in ("v1", "v1alpha3", "v1beta1")
    ]
    names = {"shortNames": ["vs"], "categories": ["mesh"]}
    return definition("networking.mesh.example.com", "VirtualService", "virtualservices", versions, **names)
