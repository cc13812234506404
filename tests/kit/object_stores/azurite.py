"""azurite: Microsoft's emulator of Azure Blob Storage."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import shutil
from email.utils import formatdate
from pathlib import Path
from urllib.request import Request, urlopen

from tests.kit.object_stores.store import BUCKET, Store

_ACCOUNT = "tester"
_VERSION = "2021-12-02"


class Azurite(Store):
    """Its blob server alone."""

    name = "azurite"
    needs = "npm install azurite (in AZURITE_FOLDER, which has its node_modules)"
    scheme = "az"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.access_key, self.secret_key = _ACCOUNT, base64.b64encode(secrets.token_bytes(64)).decode()

    @classmethod
    def program(cls) -> str | None:
        own = os.environ.get("AZURITE_FOLDER")
        return shutil.which("azurite-blob", path=None if own is None else f"{own}/node_modules/.bin")

    @classmethod
    def is_installed(cls) -> bool:
        return cls.program() is not None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": self.access_key,
            "AZURE_STORAGE_ACCOUNT_KEY": self.secret_key,
            "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{self.port}/{_ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
        }

    def start(self) -> None:
        is_new = not (self.folder / "data").exists()
        address = ("--blobHost", "127.0.0.1", "--blobPort", str(self.port))
        accounts = {"AZURITE_ACCOUNTS": f"{self.access_key}:{self.secret_key}"}
        own = ("--location", self.folder / "data", "--skipApiVersionCheck", "--disableTelemetry")
        self._spawn("server", str(self.program()), *address, *own, env=accounts)
        self._await("the server", self._listens)
        if is_new:
            self._make_container()

    def _make_container(self) -> None:
        """Sign the request ourselves: the client library makes no containers."""
        path, date = f"/{_ACCOUNT}/{BUCKET}", formatdate(usegmt=True)
        signed = (
            "PUT"
            + "\n" * 12
            + f"x-ms-date:{date}\nx-ms-version:{_VERSION}\n/{_ACCOUNT}{path}\nrestype:container"
        )
        digest = hmac.new(base64.b64decode(self.secret_key), signed.encode(), hashlib.sha256).digest()
        fields = {
            "x-ms-date": date,
            "x-ms-version": _VERSION,
            "Authorization": f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}",
        }
        url = f"http://127.0.0.1:{self.port}{path}?restype=container"
        with urlopen(Request(url, method="PUT", headers=fields), timeout=20) as answer:
            assert answer.status == 201
