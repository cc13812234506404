"""Notification and recording of changes: observers, webhooks, the audit log."""
