"""Certificate signing requests: approving, signing, cleaning (``pkg/controller/certificates``)."""
