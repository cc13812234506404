"""The audit log is written by a store."""

from tests.kit.folder_store import narrow_umask, open_shop, shop
