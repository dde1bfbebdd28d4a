"""Dynamic admission by expressions: ValidatingAdmissionPolicy and MutatingAdmissionPolicy."""
