"""What one index is made of: who answers for a name."""
