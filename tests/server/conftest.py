"""Fixtures of this folder."""

from tests.kit.log_lines import log

__all__ = ["log"]
