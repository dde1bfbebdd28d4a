"""Definitions in the published shape of well-known projects: certificates, service monitors, workflows.

Own writing after the projects' documentation: the same groups, names, versions, subresources and columns, and schemas
of their size and depth, with the constructs that they use. No text of theirs is here.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
STRING: Schema = {"type": "string"}
BOOL: Schema = {"type": "boolean"}
INT32: Schema = {"type": "integer", "format": "int32"}
TIME: Schema = {"type": "string", "format": "date-time"}
INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
QUANTITY: Schema = {**INT_OR_STRING, "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE])?$"}


def obj(description: str = "", required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if description:
        schema["description"] = description
    if required:
        schema["required"] = list(required)
    return schema


def array(items: Schema, kind: str = "atomic", *keys: str) -> Schema:
    schema: Schema = {"type": "array", "items": items, "x-kubernetes-list-type": kind}
    if keys:
        schema["x-kubernetes-list-map-keys"] = list(keys)
    return schema


def mapping(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def enum(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


CONDITION = obj(
    "A condition of the object.", ("status", "type"),
    type=STRING, status=enum("True", "False", "Unknown"), reason=STRING, message=STRING, lastTransitionTime=TIME,
    observedGeneration={"type": "integer", "format": "int64"},
)  # fmt: skip
CONDITIONS = array(CONDITION, "map", "type")
LABEL_SELECTOR = {
    **obj(
        "",
        (),
        matchLabels=mapping(STRING),
        matchExpressions=array(obj("", ("key", "operator"), key=STRING, operator=STRING, values=array(STRING))),
    ),
    "x-kubernetes-map-type": "atomic",
}
KEY_REF = {
    **obj("", ("key",), key=STRING, name={**STRING, "default": ""}, optional=BOOL),
    "x-kubernetes-map-type": "atomic",
}
REQUIREMENTS = obj("", (), limits=mapping(QUANTITY), requests=mapping(QUANTITY))
ENV = obj(
    "", ("name",), name=STRING, value=STRING,
    valueFrom=obj(
        "", (), configMapKeyRef=KEY_REF, secretKeyRef=KEY_REF, fieldRef=obj("", ("fieldPath",), fieldPath=STRING)
    ),
)  # fmt: skip
PORT = {
    **obj(
        "", ("containerPort",), containerPort=INT32, hostPort=INT32, name=STRING, protocol={**STRING, "default": "TCP"}
    )
}
PROBE = obj(
    "", (), exec=obj("", (), command=array(STRING)), httpGet=obj("", ("port",), path=STRING, port=INT_OR_STRING),
    periodSeconds=INT32, timeoutSeconds=INT32,
)  # fmt: skip
CONTAINER = obj(
    "A container as in a pod.", ("name",),
    name=STRING, image=STRING, imagePullPolicy=STRING, command=array(STRING), args=array(STRING), workingDir=STRING,
    env=array(ENV, "map", "name"), ports=array(PORT, "map", "containerPort", "protocol"), resources=REQUIREMENTS,
    livenessProbe=PROBE, readinessProbe=PROBE, startupProbe=PROBE,
    volumeMounts=array(
        obj("", ("name", "mountPath"), name=STRING, mountPath=STRING, readOnly=BOOL), "map", "mountPath"
    ),
)  # fmt: skip
VOLUME = obj(
    "", ("name",), name=STRING, emptyDir=obj("", (), medium=STRING, sizeLimit=QUANTITY),
    configMap=obj("", (), name=STRING, items=array(obj("", ("key", "path"), key=STRING, path=STRING))),
    secret=obj("", (), secretName=STRING), persistentVolumeClaim=obj("", ("claimName",), claimName=STRING),
)  # fmt: skip


def definition(group: str, kind: str, plural: str, versions: list[Schema], **names: Any) -> Schema:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "listKind": f"{kind}List", "singular": kind.lower(), **names},
            "versions": versions,
        },
    }


def version(name: str, schema: Schema, *, storage: bool = False, served: bool = True, **more: Any) -> Schema:
    return {"name": name, "served": served, "storage": storage, "schema": {"openAPIV3Schema": schema}, **more}


def _certificate_schema() -> Schema:
    keystore = obj("", ("create",), create=BOOL, alias=STRING, passwordSecretRef=KEY_REF, password=STRING)
    usages = enum(
        "signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment",
        "cert sign", "crl sign", "server auth", "client auth", "code signing", "email protection",
    )  # fmt: skip
    subject = {name: array(STRING) for name in ("organizations", "countries", "localities", "provinces")}
    spec = obj(
        "Desired state of the certificate.", ("issuerRef", "secretName"),
        commonName=STRING, dnsNames=array(STRING), ipAddresses=array(STRING), uris=array(STRING),
        emailAddresses=array(STRING), duration=STRING, renewBefore=STRING, renewBeforePercentage=INT32,
        isCA=described(BOOL, "Whether the certificate may sign others."), secretName=STRING,
        subject=obj("", (), serialNumber=STRING, **subject),
        issuerRef=obj("Who signs.", ("name",), name=STRING, kind=STRING, group=STRING),
        usages=array(usages),
        privateKey=obj(
            "", (), algorithm=enum("RSA", "ECDSA", "Ed25519"), encoding=enum("PKCS1", "PKCS8"),
            size={"type": "integer"},
            rotationPolicy={**enum("Never", "Always"), "default": "Always"},
        ),
        keystores=obj("", (), jks=keystore, pkcs12=keystore),
        secretTemplate=obj("", (), annotations=mapping(STRING), labels=mapping(STRING)),
        additionalOutputFormats=array(obj("", ("type",), type=enum("DER", "CombinedPEM"))),
        nameConstraints=obj("", (), critical=BOOL, permitted=obj("", (), dnsDomains=array(STRING))),
        revisionHistoryLimit=INT32,
    )  # fmt: skip
    spec["x-kubernetes-validations"] = [
        {
            "rule": "has(self.dnsNames) || has(self.commonName) || has(self.ipAddresses)",
            "message": "a name is needed",
        }
    ]
    status = obj(
        "", (), conditions=CONDITIONS, revision={"type": "integer"}, notAfter=TIME, notBefore=TIME, renewalTime=TIME,
        failedIssuanceAttempts={"type": "integer"}, nextPrivateKeySecretName=STRING,
    )  # fmt: skip
    return obj("A certificate that is kept up to date.", (), apiVersion=STRING, kind=STRING,
               metadata={"type": "object"}, spec=spec, status=status)  # fmt: skip


def certificates() -> Schema:
    ready = '.status.conditions[?(@.type == "Ready")].status'
    columns = [
        {"name": "Ready", "type": "string", "jsonPath": ready},
        {"name": "Secret", "type": "string", "jsonPath": ".spec.secretName"},
        {"name": "Issuer", "type": "string", "jsonPath": ".spec.issuerRef.name", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    selectable = [{"jsonPath": ".spec.issuerRef.name"}]  # the same in all versions, like the schema, or it is refused
    current = version(
        "v1", _certificate_schema(), storage=True, subresources={"status": {}}, additionalPrinterColumns=columns,
        selectableFields=selectable,
    )  # fmt: skip
    older = [
        version(
            name,
            _certificate_schema(),
            served=name == "v1beta1",
            deprecated=True,
            subresources={"status": {}},
            selectableFields=selectable,
        )
        for name in ("v1alpha2", "v1alpha3", "v1beta1")
    ]
    return definition(
        "cert-manager.io", "Certificate", "certificates", [*older, current],
        shortNames=["cert", "certs"], categories=["cert-manager"],
    )  # fmt: skip


def service_monitors() -> Schema:
    tls = obj(
        "", (), ca=obj("", (), configMap=KEY_REF, secret=KEY_REF), cert=obj("", (), configMap=KEY_REF, secret=KEY_REF),
        keySecret=KEY_REF, serverName=STRING, insecureSkipVerify=BOOL, caFile=STRING, certFile=STRING, keyFile=STRING,
    )  # fmt: skip
    actions = ("replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "Replace", "Keep", "Drop")
    relabel = obj(
        "", (), sourceLabels=array(STRING), separator=STRING, targetLabel=STRING, regex=STRING,
        modulus={"type": "integer", "format": "int64"}, replacement=STRING,
        action={**enum(*actions), "default": "replace"},
    )  # fmt: skip
    duration = {**STRING, "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?)$"}
    endpoint = obj(
        "", (), port=STRING, targetPort=INT_OR_STRING, path=STRING, scheme=enum("http", "https"),
        params=mapping(array(STRING)), interval=duration, scrapeTimeout=duration, tlsConfig=tls,
        bearerTokenSecret=KEY_REF, basicAuth=obj("", (), username=KEY_REF, password=KEY_REF), honorLabels=BOOL,
        oauth2=obj("", ("tokenUrl",), tokenUrl={**STRING, "minLength": 1}, scopes=array(STRING), tlsConfig=tls),
        metricRelabelings=array(relabel), relabelings=array(relabel), followRedirects=BOOL, enableHttp2=BOOL,
    )  # fmt: skip
    spec = obj(
        "What is scraped.", ("endpoints", "selector"),
        endpoints=array(endpoint), selector=LABEL_SELECTOR, jobLabel=STRING, targetLabels=array(STRING),
        namespaceSelector=obj("", (), any=BOOL, matchNames=array(STRING)), sampleLimit={"type": "integer"},
        attachMetadata=obj("", (), node=BOOL),
    )  # fmt: skip
    schema = obj("", ("spec",), apiVersion=STRING, kind=STRING, metadata={"type": "object"}, spec=spec)
    return definition(
        "monitoring.coreos.com", "ServiceMonitor", "servicemonitors", [version("v1", schema, storage=True)],
        shortNames=["smon"], categories=["prometheus-operator"],
    )  # fmt: skip


def workflows() -> Schema:
    """A very large schema: a template has steps, tasks, scripts, containers and more, in four places."""
    parameter = obj("", ("name",), name=STRING, value=STRING, default=STRING, enum=array(STRING), valueFrom=obj(
        "", (), path=STRING, jsonPath=STRING, default=STRING, configMapKeyRef=KEY_REF))  # fmt: skip
    bucket = obj("", (), endpoint=STRING, bucket=STRING, key=STRING, accessKeySecret=KEY_REF, secretKeySecret=KEY_REF)
    artifact = obj(
        "", ("name",), name=STRING, path=STRING, optional=BOOL, mode=INT32, s3=bucket, gcs=bucket, oss=bucket,
        http=obj("", ("url",), url=STRING),
        git=obj("", ("repo",), repo=STRING, revision=STRING, sshPrivateKeySecret=KEY_REF),
        raw=obj("", ("data",), data=STRING),
    )  # fmt: skip
    arguments = obj("", (), parameters=array(parameter, "map", "name"), artifacts=array(artifact, "map", "name"))
    inline = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    step = obj(
        "", (), name=STRING, template=STRING, arguments=arguments, when=STRING, withParam=STRING,
        withItems={"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": True}},
        templateRef=obj("", (), name=STRING, template=STRING, clusterScope=BOOL), inline=inline,
    )  # fmt: skip
    task = obj("", ("name",), **{**step["properties"], "dependencies": array(STRING), "depends": STRING})
    template = obj(
        "", (), name=STRING, inputs=arguments, outputs=arguments, container=CONTAINER, script=CONTAINER,
        initContainers=array(CONTAINER), sidecars=array(CONTAINER), volumes=array(VOLUME),
        steps={"type": "array", "items": array(step)}, dag=obj("", ("tasks",), tasks=array(task, "map", "name")),
        nodeSelector=mapping(STRING), activeDeadlineSeconds=INT_OR_STRING, parallelism={"type": "integer"},
        retryStrategy=obj("", (), limit=INT_OR_STRING, retryPolicy=STRING, expression=STRING,
                          backoff=obj("", (), duration=STRING, factor=INT_OR_STRING, maxDuration=STRING)),
        suspend=obj("", (), duration=STRING), podSpecPatch=STRING, serviceAccountName=STRING,
        metadata=obj("", (), labels=mapping(STRING), annotations=mapping(STRING)),
        resource=obj("", ("action",), action=STRING, manifest=STRING, successCondition=STRING),
    )  # fmt: skip
    spec = obj(
        "", (), entrypoint=STRING, arguments=arguments, templates=array(template, "map", "name"),
        templateDefaults=template, onExit=STRING, suspend=BOOL, parallelism={"type": "integer"}, volumes=array(VOLUME),
        hooks=mapping(obj("", (), template=STRING, arguments=arguments, expression=STRING)),
        volumeClaimTemplates=array(
            {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
        ),
        workflowTemplateRef=obj("", (), name=STRING, clusterScope=BOOL), serviceAccountName=STRING,
        synchronization=obj("", (), mutex=obj("", (), name=STRING), semaphore=obj("", (), configMapKeyRef=KEY_REF)),
    )  # fmt: skip
    spec["properties"]["templates"] = {"type": "array", "items": template}
    status = obj(
        "", (), phase=STRING, message=STRING, startedAt=TIME, finishedAt=TIME, conditions=CONDITIONS,
        nodes=mapping(inline), storedTemplates=mapping(template), progress=STRING,
    )  # fmt: skip
    status["x-kubernetes-preserve-unknown-fields"] = True
    schema = obj("", ("spec",), apiVersion=STRING, kind=STRING, metadata={"type": "object"}, spec=spec, status=status)
    columns = [
        {"name": "Status", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Age", "type": "date", "format": "date-time", "jsonPath": ".status.startedAt"},
    ]
    return definition(
        "argoproj.io", "Workflow", "workflows",
        [version("v1alpha1", schema, storage=True, additionalPrinterColumns=columns)], shortNames=["wf"],
    )  # fmt: skip


def anything() -> Schema:
    """A kind whose root keeps unknown fields and that can be scaled."""
    schema = {
        **obj(
            "",
            (),
            spec=obj("", (), replicas={**INT32, "minimum": 0}),
            status=obj("", (), replicas=INT32, selector=STRING),
        ),
        "x-kubernetes-preserve-unknown-fields": True,
    }
    scale = {
        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }  # fmt: skip
    parts = {"status": {}, "scale": scale}
    return definition("example.com", "Thing", "things", [version("v1", schema, storage=True, subresources=parts)])
