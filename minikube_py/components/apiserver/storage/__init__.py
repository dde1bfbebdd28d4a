"""The watch cache: every stored object once, as the bytes that are served, kept current by the datastore."""
