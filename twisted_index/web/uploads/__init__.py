"""The upload API: forms as they arrive, and what becomes of them."""
