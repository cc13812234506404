"""What happened, and who hears of it: observers, webhooks, the audit log."""
