"""Images without a registry: the pause program, building archives, reading and importing them."""
