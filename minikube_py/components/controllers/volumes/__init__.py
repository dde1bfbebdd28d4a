"""Claims and the volumes they are bound to: binding, reclaiming, and claims of pods' own ephemeral volumes."""
