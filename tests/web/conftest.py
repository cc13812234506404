"""A promotion goes from one store into another; what is logged is compared."""

from tests.kit.folder_store import open_shop
from tests.kit.log_lines import log
