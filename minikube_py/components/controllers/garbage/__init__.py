"""Garbage collection: what is owned goes when its owners go (``pkg/controller/garbagecollector``)."""
