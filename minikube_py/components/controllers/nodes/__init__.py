"""Nodes that fall silent, pods that must leave them, and pods that are left over."""
