"""Where projects come from. Each module provides ISource; wrappers wrap any ISource."""
