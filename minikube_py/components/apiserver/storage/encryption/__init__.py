"""Encryption at rest: values are encrypted on their way to the datastore and decrypted on their way back.

``configuration`` reads an EncryptionConfiguration, ``ciphers`` and ``kms`` are its providers, ``transformer`` puts
the providers of one resource in their order, ``store`` stands between the API server's caches and the datastore.
The watch cache holds plain text, the datastore and its snapshots, exports and etcd face show cipher text.
Forms of stored values are those of kube-apiserver (``k8s:enc:aescbc:v1:key1:``...).
"""

from pathlib import PurePath

MARK = b"k8s:enc:"
"""How every encrypted value begins."""
MANAGED_FILE = PurePath("server", "cred", "encryption-config.json")
"""The configuration that pyk3s keeps itself, under its data folder."""
