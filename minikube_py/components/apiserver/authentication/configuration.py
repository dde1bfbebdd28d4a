"""AuthenticationConfiguration: the file of ``--authentication-config``, and the ``--oidc-*`` flags as the same records.

Checked as a whole before anything of it is used, with the texts of
``k8s.io/apiserver/pkg/apis/apiserver/validation``; expressions are compiled here, once.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from minikube_py.components.apiserver.authentication.expressions import (
    ClaimsExpression,
    UserExpression,
    compile_claims_expression,
    compile_user_expression,
)
from minikube_py.components.apiserver.configuration_file import (
    GROUP,
    ConfigurationError,
    Section,
    raise_errors,
    read_document,
)
from minikube_py.machinery.errors import FieldError, duplicate, invalid_value, required, too_many
from minikube_py.machinery.names import domain_prefixed_path_errors

most_authenticators = 64
_KIND = "AuthenticationConfiguration"
_ACCEPTED = {(f"{GROUP}/{version}", _KIND): "authentication" for version in ("v1", "v1beta1", "v1alpha1")}
ALL_SIGNING_ALGORITHMS = ("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
_KUBERNETES_DOMAINS = ("kubernetes.io", "k8s.io")


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who signs, where its keys are found and for whom it must have signed (any of ``audiences``)."""

    url: str
    audiences: tuple[str, ...]
    discovery_url: str = ""
    ca_pem: str = ""
    """CA certificates for the issuer's server; empty: the system's."""
    signing_algorithms: tuple[str, ...] = ALL_SIGNING_ALGORITHMS


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimMapping:
    """A part of the user from a claim (with a prefix) or from an expression; neither: the part stays empty."""

    claim: str = ""
    prefix: str = ""
    expression: ClaimsExpression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredClaim:
    """A claim that must have this very string."""

    claim: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRule:
    """An expression over the claims that must be true."""

    expression: ClaimsExpression
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRule:
    """An expression over the mapped user that must be true."""

    expression: UserExpression
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtAuthenticator:
    """One entry of ``jwt``."""

    issuer: Issuer
    username: ClaimMapping
    groups: ClaimMapping = ClaimMapping()
    uid: ClaimMapping = ClaimMapping()
    extra: tuple[tuple[str, ClaimsExpression], ...] = ()
    required_claims: tuple[RequiredClaim, ...] = ()
    claim_rules: tuple[ClaimRule, ...] = ()
    user_rules: tuple[UserRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Whether requests without credentials are let in, and for which paths (none listed: all)."""

    enabled: bool = True
    paths: frozenset[str] = frozenset()

    def allows(self, path: str) -> bool:
        return self.enabled and (not self.paths or path in self.paths)


@dataclass(frozen=True, slots=True)
class AuthenticationConfiguration:
    """The whole file; ``anonymous`` None leaves it to ``--anonymous-auth``."""

    jwt: tuple[JwtAuthenticator, ...] = ()
    anonymous: Anonymous | None = None


def read_authentication_configuration(
    path: Path, *, disallowed_issuers: Sequence[str] = ()
) -> AuthenticationConfiguration:
    """Read and check the file. Blocks. Raises ConfigurationError.

    ``disallowed_issuers`` are those of service account tokens: nobody else may speak for them.
    """
    errors: list[str] = []
    found: list[FieldError] = []
    root = Section(read_document(path, _ACCEPTED), "", errors)
    sections = root.sections("jwt")
    if len(sections) > most_authenticators:
        found.append(too_many("jwt", len(sections), most_authenticators))
        sections = []
    authenticators = [_authenticator(section, found, disallowed_issuers) for section in sections]
    found += _repeated([(f"jwt[{i}].issuer.url", item.issuer.url) for i, item in enumerate(authenticators)])
    urls = [(f"jwt[{i}].issuer.discoveryURL", item.issuer.discovery_url) for i, item in enumerate(authenticators)]
    found += _repeated([(field, url) for field, url in urls if url])
    anonymous = _anonymous(root.section("anonymous"), found) if root.has("anonymous") else None
    root.raw("anonymous")
    root.close()
    raise_errors(str(path), [*errors, *found])
    return AuthenticationConfiguration(tuple(authenticators), anonymous)


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcFlags:
    """The ``--oidc-*`` flags, which describe one issuer."""

    issuer_url: str = ""
    client_id: str = ""
    ca_file: str = ""
    username_claim: str = "sub"
    username_prefix: str = ""
    groups_claim: str = ""
    groups_prefix: str = ""
    signing_algs: tuple[str, ...] = ("RS256",)
    required_claim: tuple[str, ...] = ()


def configuration_from_flags(
    flags: OidcFlags, *, disallowed_issuers: Sequence[str] = ()
) -> AuthenticationConfiguration:
    """The configuration that the flags mean. Blocks for the CA's file. Raises ConfigurationError.

    Without ``--oidc-username-prefix`` a user name that is no email address gets ``issuer#`` in front;
    ``-`` means no prefix.
    """
    if not flags.issuer_url:
        if flags.client_id:
            raise ConfigurationError("--oidc-client-id needs --oidc-issuer-url")
        return AuthenticationConfiguration()
    if not flags.client_id:
        raise ConfigurationError("--oidc-issuer-url needs --oidc-client-id")
    unknown = [name for name in flags.signing_algs if name not in ALL_SIGNING_ALGORITHMS]
    if unknown:
        raise ConfigurationError(f"--oidc-signing-algs: unsupported signing algorithm {unknown[0]!r}")
    pairs = [text.partition("=") for text in flags.required_claim]
    if any(not separator or not claim for claim, separator, _ in pairs):
        raise ConfigurationError("--oidc-required-claim must be key=value")
    prefix = flags.username_prefix
    if not prefix and flags.username_claim != "email":
        prefix = f"{flags.issuer_url}#"
    issuer = Issuer(
        url=flags.issuer_url,
        audiences=(flags.client_id,),
        ca_pem=_read_ca(flags.ca_file),
        signing_algorithms=flags.signing_algs,
    )
    found = _url_errors(issuer.url, disallowed_issuers, "--oidc-issuer-url")
    found += _ca_errors(issuer.ca_pem, "--oidc-ca-file")
    raise_errors("the OIDC flags cannot be used", found)
    jwt = JwtAuthenticator(
        issuer=issuer,
        username=ClaimMapping(claim=flags.username_claim, prefix="" if prefix == "-" else prefix),
        groups=ClaimMapping(claim=flags.groups_claim, prefix=flags.groups_prefix),
        required_claims=tuple(RequiredClaim(claim=claim, value=value) for claim, _, value in pairs),
    )
    return AuthenticationConfiguration((jwt,))


def _read_ca(path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--oidc-ca-file: cannot read {path}: {error}") from error


def _authenticator(section: Section, found: list[FieldError], disallowed: Sequence[str]) -> JwtAuthenticator:
    issuer = _issuer(section.section("issuer"), found, disallowed)
    rules_path = section.at("claimValidationRules")
    required_claims, claim_rules = _claim_rules(section.sections("claimValidationRules"), found)
    mappings = section.section("claimMappings")
    username = _mapping(mappings.section("username"), found, needed=True)
    groups = _mapping(mappings.section("groups"), found, needed=False)
    uid = _uid(mappings.section("uid"), found)
    extra = _extra(mappings.sections("extra"), found)
    mappings.close()
    expressions = [rule.expression for rule in claim_rules] + [expression for _, expression in extra]
    if username.expression is not None:
        expressions.append(username.expression)
        if username.expression.reads("email") and not any(item.reads("email_verified") for item in expressions):
            found.append(
                invalid_value(
                    mappings.at("username.expression"),
                    username.expression.text,
                    "claims.email_verified must be used in claimMappings.username.expression or "
                    "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email "
                    "is used in claimMappings.username.expression",
                )
            )
    user_rules = _user_rules(section.sections("userValidationRules"), found)
    section.close()
    found += _repeated([(f"{rules_path}[{i}].claim", rule.claim) for i, rule in enumerate(required_claims)])
    return JwtAuthenticator(
        issuer=issuer,
        username=username,
        groups=groups,
        uid=uid,
        extra=extra,
        required_claims=required_claims,
        claim_rules=claim_rules,
        user_rules=user_rules,
    )


def _issuer(section: Section, found: list[FieldError], disallowed: Sequence[str]) -> Issuer:
    url, discovery = section.text("url"), section.text("discoveryURL")
    audiences, policy = section.texts("audiences"), section.text("audienceMatchPolicy")
    ca_pem, egress = section.text("certificateAuthority"), section.text("egressSelectorType")
    section.close()
    found += _url_errors(url, disallowed, section.at("url")) if url else [required(section.at("url"))]
    if discovery:
        field = section.at("discoveryURL")
        if url.rstrip("/") == discovery.rstrip("/"):
            found.append(invalid_value(field, discovery, "discoveryURL must be different from URL"))
        found += _url_errors(discovery, (), field)
    field = section.at("audiences")
    if not audiences:
        found.append(required(field, f"at least one {field} is required"))
    found += [required(f"{field}[{i}]") for i, audience in enumerate(audiences) if not audience]
    found += _repeated([(f"{field}[{i}]", audience) for i, audience in enumerate(audiences)])
    if len(audiences) > 1 and policy != "MatchAny":
        why = "audienceMatchPolicy must be MatchAny for multiple audiences"
        found.append(invalid_value(section.at("audienceMatchPolicy"), policy, why))
    elif policy not in ("", "MatchAny"):
        why = "audienceMatchPolicy must be empty or MatchAny for single audience"
        found.append(invalid_value(section.at("audienceMatchPolicy"), policy, why))
    found += _ca_errors(ca_pem, section.at("certificateAuthority"))
    if egress not in ("", "controlplane", "cluster"):
        why = "egress selector must be either controlplane or cluster"
        found.append(invalid_value(section.at("egressSelectorType"), egress, why))
    return Issuer(url=url, audiences=audiences, discovery_url=discovery, ca_pem=ca_pem)


def _url_errors(url: str, disallowed: Sequence[str], field: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if url in disallowed:
        listed = "[" + " ".join(sorted(disallowed)) + "]"
        errors.append(invalid_value(field, url, f"URL must not overlap with disallowed issuers: {listed}"))
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return [*errors, invalid_value(field, url, str(error))]
    checks = (
        (parts.scheme != "https", "URL scheme must be https"),
        (parts.username is not None, "URL must not contain a username or password"),
        (bool(parts.query), "URL must not contain a query"),
        (bool(parts.fragment), "URL must not contain a fragment"),
    )
    return errors + [invalid_value(field, url, why) for wrong, why in checks if wrong]


def _ca_errors(pem: str, field: str) -> list[FieldError]:
    if not pem:
        return []
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        why = "data does not contain any valid RSA or ECDSA certificates"
        return [invalid_value(field, "<omitted>", why)]
    return []


def _claim_rules(
    sections: Sequence[Section], found: list[FieldError]
) -> tuple[tuple[RequiredClaim, ...], tuple[ClaimRule, ...]]:
    claims: list[RequiredClaim] = []
    rules: list[ClaimRule] = []
    seen: set[str] = set()
    for section in sections:
        claim, value = section.text("claim"), section.text("requiredValue")
        text, message = section.text("expression"), section.text("message")
        section.close()
        if claim and text:
            found.append(invalid_value(section.path, claim, "claim and expression can't both be set"))
        elif claim:
            if message:
                why = "may not be specified when claim is set"
                found.append(invalid_value(section.at("message"), message, why))
            claims.append(RequiredClaim(claim=claim, value=value))
        elif not text:
            found.append(required(section.path, "claim or expression is required"))
        else:
            if value:
                why = "may not be specified when expression is set"
                found.append(invalid_value(section.at("requiredValue"), value, why))
            if text in seen:
                found.append(duplicate(section.at("expression"), text))
                continue
            seen.add(text)
            expression = compile_claims_expression(text, section.at("expression"), found, boolean=True)
            if expression is not None:
                rules.append(ClaimRule(expression=expression, message=message))
    return tuple(claims), tuple(rules)


def _mapping(section: Section, found: list[FieldError], *, needed: bool) -> ClaimMapping:
    claim, prefix, text = section.text("claim"), section.optional_text("prefix"), section.text("expression")
    section.close()
    if claim and text:
        found.append(invalid_value(section.path, "", "claim and expression can't both be set"))
    elif text:
        if prefix is not None:
            why = "may not be specified when expression is set"
            found.append(invalid_value(section.at("prefix"), prefix, why))
        return ClaimMapping(expression=compile_claims_expression(text, section.at("expression"), found))
    elif claim and prefix is None:
        why = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
        found.append(required(section.at("prefix"), why))
    elif not claim and needed:
        found.append(required(section.path, "claim or expression is required"))
    return ClaimMapping(claim=claim, prefix=prefix or "")


def _uid(section: Section, found: list[FieldError]) -> ClaimMapping:
    claim, text = section.text("claim"), section.text("expression")
    section.close()
    if claim and text:
        found.append(invalid_value(section.path, "", "claim and expression can't both be set"))
    elif text:
        return ClaimMapping(expression=compile_claims_expression(text, section.at("expression"), found))
    return ClaimMapping(claim=claim)


def _extra(sections: Sequence[Section], found: list[FieldError]) -> tuple[tuple[str, ClaimsExpression], ...]:
    extra: dict[str, ClaimsExpression] = {}
    seen: set[str] = set()
    for section in sections:
        key, text, field = section.text("key"), section.text("valueExpression"), section.at("key")
        section.close()
        found += [invalid_value(field, key, why) for why in domain_prefixed_path_errors(key)]
        if key != key.lower():
            found.append(invalid_value(field, key, "must be lowercase"))
        domain = key.partition("/")[0] if "/" in key else ""
        if any(domain == reserved or domain.endswith(f".{reserved}") for reserved in _KUBERNETES_DOMAINS):
            why = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
            found.append(invalid_value(field, key, why))
        if key in seen:
            found.append(duplicate(field, key))
            continue
        seen.add(key)
        if not text:
            found.append(required(section.at("valueExpression")))
            continue
        expression = compile_claims_expression(text, section.at("valueExpression"), found)
        if expression is not None:
            extra[key] = expression
    return tuple(extra.items())


def _user_rules(sections: Sequence[Section], found: list[FieldError]) -> tuple[UserRule, ...]:
    rules: dict[str, UserRule] = {}
    for section in sections:
        text, message, field = section.text("expression"), section.text("message"), section.at("expression")
        section.close()
        if not text:
            found.append(required(field))
        elif text in rules:
            found.append(duplicate(field, text))
        else:
            expression = compile_user_expression(text, field, found)
            if expression is not None:
                rules[text] = UserRule(expression=expression, message=message)
    return tuple(rules.values())


def _anonymous(section: Section, found: list[FieldError]) -> Anonymous:
    enabled, conditions = section.flag("enabled"), section.sections("conditions")
    paths = [condition.text("path") for condition in conditions]
    for condition in conditions:
        condition.close()
    section.close()
    if conditions and not enabled:
        value = [{"path": path} for path in paths]
        why = "enabled should be set to true when conditions are defined"
        found.append(invalid_value(section.at("conditions"), value, why))
    return Anonymous(enabled, frozenset(paths))


def _repeated(values: Sequence[tuple[str, str]]) -> list[FieldError]:
    """One error for each value that came before; ``values`` are (field, value)."""
    seen: set[str] = set()
    errors: list[FieldError] = []
    for field, value in values:
        if value in seen:
            errors.append(duplicate(field, value))
        seen.add(value)
    return errors
