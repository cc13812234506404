"""What several tests of replication share."""

from tests.kit.log_lines import log
