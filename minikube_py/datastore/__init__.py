"""Revisioned key-value store on SQL, with watch. Start at ``types`` for what it promises."""
