"""What is logged is compared."""

from tests.kit.log_lines import log
