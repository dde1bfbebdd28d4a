"""Certificates of authorities, as configurations of webhooks hold them."""

from __future__ import annotations

import base64
import re

_BLOCK = re.compile(rb"-----BEGIN ([^-\n]*)-----\n(.*?)-----END \1-----", re.DOTALL)


def bundle_problem(encoded: str) -> str:
    """Why no certificate can be read from PEM blocks in base64 (``ValidateCABundle``); empty for one or nothing."""
    if not encoded:
        return ""
    from cryptography import x509

    text = base64.b64decode(encoded).replace(b"\r\n", b"\n")
    problem = ""
    blocks = list(_BLOCK.finditer(text))
    for block in blocks:
        sort, body = block.groups()
        if sort != b"CERTIFICATE" or b":" in body:
            continue
        try:
            x509.load_der_x509_certificate(base64.b64decode(body))
        except ValueError as error:
            problem = problem or f"failed to parse certificate: {error}"
        else:
            return ""
    if not problem and text[blocks[-1].end() if blocks else 0 :].strip(b"\n"):
        problem = "unable to parse bytes as PEM block"
    return f"unable to load root certificates: {problem or 'no valid certificate authority data seen'}"
