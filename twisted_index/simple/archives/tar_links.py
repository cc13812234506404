"""
The links of a tar archive, and where they lead.

Pure. Nothing is followed on any file system: a link leads to a member, or nowhere.
"""

from __future__ import annotations

from twisted_index.simple.archives.limits import MAX_LINKS

#: Links that one path may lead through, as Linux counts them (path_resolution(7)).
_MAX_HOPS = 40
#: Bytes of a path, as Linux has it (PATH_MAX): no system unpacks a link of a longer one.
_MAX_PATH = 4096


class SymlinkTable:
    """
    The links seen so far, at most MAX_LINKS bytes of them: what comes after that is no link.

    A tar is read from first to last, and what a link leads to may stand before or behind it. So they
    are remembered, and followed when all are known.
    """

    def __init__(self) -> None:
        self._targets: dict[bytes, bytes] = {}  # both from the root of the archive
        self._room = MAX_LINKS

    def put(self, name: bytes, target: bytes, *, symbolic: bool) -> None:
        """
        Remember a link, in place of an older member of its name.

        Args:
            name: Its own.
            target: As the archive spells it.
            symbolic: Whether that starts in the folder of the link. A hard link's starts at the root
                of the archive (POSIX pax, linkname).
        """
        name = normalize_member_name(name)
        absolute = symbolic and target.startswith(b"/")
        if symbolic:
            target = name.rpartition(b"/")[0] + b"/" + target
        self._room -= len(name) + len(target)
        if absolute or self._room < 0 or max(len(name), len(target)) > _MAX_PATH:
            target = b".."  # leads out, so nowhere
        if self._room >= 0:
            self._targets[name] = target

    def drop(self, name: bytes) -> None:
        """Forget a link whose name another member takes later on: unpacking leaves that one."""
        if self._targets:
            self._targets.pop(normalize_member_name(name), None)

    def resolve(self, name: bytes) -> bytes | None:
        """
        Find out what a member is in the end, through links to files and to folders.

        Returns:
            The plain path of something that is no link; None if the path leaves the archive, is too
            long, or leads through too many links, as it does in a circle.
        """
        done: list[bytes] = []
        left = _parts(name)[::-1]
        hops = 0
        while left:
            part = left.pop()
            if part != b"..":
                done.append(part)
            elif done:
                done.pop()
            else:
                return None
            target = self._targets.get(b"/".join(done))
            if target is not None:
                hops += 1
                if hops > _MAX_HOPS:
                    return None
                left += _parts(target)[::-1]
                done = []
        return b"/".join(done)


def normalize_member_name(name: bytes) -> bytes:
    """Spell the name of a member without leading, double and trailing slashes, and without `.`."""
    return b"/".join(_parts(name))


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]
