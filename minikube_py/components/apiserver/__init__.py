"""The API server: HTTP face, registry and watch cache over the datastore."""
