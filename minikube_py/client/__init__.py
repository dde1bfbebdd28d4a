"""How a component reads, watches and writes the API. Start at ``types``."""
