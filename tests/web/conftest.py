"""A promotion goes from one store into another."""

from tests.kit.folder_store import open_shop
