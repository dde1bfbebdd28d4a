"""Objects of custom kinds by their structural schemas: defaults, value validation, CEL rules, embedded metadata.

Pure functions over plain JSON. In: an object and the schema of a CustomResourceDefinition's version (raw
JSON, read-only). Out: field errors with the texts of the API server, or the object with its defaults.
"""
