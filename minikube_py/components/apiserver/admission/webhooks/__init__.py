"""Dynamic admission by webhooks: MutatingAdmissionWebhook and ValidatingAdmissionWebhook."""
