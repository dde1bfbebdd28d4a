"""The HTTP face: from a request's bytes to a registry call and back."""
