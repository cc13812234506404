"""What tests of the folder share: a source and a store over it, both done at once; and file systems."""

from tests.kit.folder_source import folder, serve, times
from tests.kit.folder_store import either_way, narrow_umask, open_shop, shop, without_tmpfile
from tests.kit.mounts import mounted
