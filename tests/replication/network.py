"""
Machines on a network that only one process has, and that ends with it.

`enter` starts a module once more, as the first process of namespaces of its own (Linux): of the network, of
processes and of mounts. Whatever becomes of it, nothing of them stays behind. Not for: what runs there
(`nodes`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Set in the environment of a process that `enter` has started.
_ENTERED = "TWISTED_INDEX_TEST_NETWORK"
_UNSHARE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
_TOOLS = ("unshare", "nsenter", "ip", "mount")
#: Where the process itself is in its network; the machines are behind it.
HERE = "10.77.0.1"
_BRIDGE = "machines"


def why_not() -> str:
    """Tell why no such network can be made here; empty if one can."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed here: {', '.join(missing)}"
    tried = subprocess.run(
        [
            *_UNSHARE,
            "sh",
            "-c",
            "ip link add machine-0 type veth peer name machine-1 && mount -t tmpfs none /mnt",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"namespaces cannot be made here: {tried.stderr.strip()}"


def enter(module: str, words: Sequence[str]) -> None:
    """Go on as a process that has a network of its own: return there, and never here."""
    if _ENTERED not in os.environ:
        if reason := why_not():
            sys.exit(reason)
        os.environ[_ENTERED] = "yes"
        os.execvp(_UNSHARE[0], [*_UNSHARE, sys.executable, "-m", module, *words])
    del os.environ[_ENTERED]
    _ip("link", "set", "lo", "up")
    _ip("link", "add", _BRIDGE, "type", "bridge")
    _ip("address", "add", f"{HERE}/24", "dev", _BRIDGE)
    _ip("link", "set", _BRIDGE, "up")


class Machine:
    """
    A network namespace with one link to all others.

    Args:
        name: Of the link, up to 15 characters.
        number: The last part of its address.
    """

    def __init__(self, name: str, number: int) -> None:
        self._link = name
        self.address = f"10.77.0.{number}"
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._namespace = f"/proc/{self._holder.pid}/ns/net"
        while os.readlink(self._namespace) == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(self._holder.pid))
        _ip("link", "set", name, "master", _BRIDGE, "up")
        for words in (
            ("address", "add", f"{self.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            _run(*self.inside("ip", *words))

    def inside(self, *command: str) -> tuple[str, ...]:
        """Give the command that runs one in here."""
        return ("nsenter", f"--net={self._namespace}", *command)

    def within(self, work: Callable[[], None]) -> None:
        """Do something as a program on this machine would, which needs no link to it."""
        errors: list[BaseException] = []

        def enter_and_work() -> None:
            try:
                with open(self._namespace, "rb") as namespace:
                    # setns(2): of this thread alone; os.setns came with Python 3.12.
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
                        raise OSError(ctypes.get_errno(), "setns", self._namespace)
                work()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=enter_and_work)
        thread.start()
        thread.join()
        for error in errors:
            raise error

    @contextlib.contextmanager
    def cut_off(self) -> Iterator[None]:
        """Cut the link: nothing arrives any more, in either direction, and nobody is told so."""
        _ip("link", "set", self._link, "down")
        try:
            yield
        finally:
            _ip("link", "set", self._link, "up")

    @contextlib.contextmanager
    def losing(self, one_in: int) -> Iterator[None]:
        """Lose one packet in so many of those that arrive, and of those that leave."""
        rules = "".join(
            f"add chain inet loss {hook} {{ type filter hook {hook} priority 0; }}\n"
            f"add rule inet loss {hook} {name} eth0 numgen random mod {one_in} == 0 drop\n"
            for hook, name in (("input", "iifname"), ("output", "oifname"))
        )
        _run(*self.inside("nft", "-f", "-"), given=f"add table inet loss\n{rules}")
        try:
            yield
        finally:
            _run(*self.inside("nft", "delete", "table", "inet", "loss"))


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*command: str, given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
