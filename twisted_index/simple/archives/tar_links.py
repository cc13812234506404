"""
The links of a tar archive, and their targets.

Pure. No link is followed on any file system: its target is a member, or nothing.
"""

from __future__ import annotations

from twisted_index.simple.archives.limits import MAX_LINKS

#: Links that are followed for one path, as in Linux (path_resolution(7)).
_MAX_HOPS = 40
#: Bytes of a path, as in Linux (PATH_MAX): no system unpacks a link with a longer one.
_MAX_PATH = 4096


class SymlinkTable:
    """
    The links of an archive, up to MAX_LINKS bytes; further ones are ignored.

    A tar is read from first to last, and the target of a link may precede or follow it. So links are
    stored, and resolved when all are known.
    """

    def __init__(self) -> None:
        self._targets: dict[bytes, bytes] = {}  # name to target, both from the root of the archive
        self._room = MAX_LINKS

    def put(self, name: bytes, target: bytes, *, symbolic: bool) -> None:
        """
        Store a link, replacing an earlier member of its name.

        Args:
            name: The name of the link.
            target: As in the archive.
            symbolic: Whether the target is relative to the folder of the link. A hard link's is relative
                to the root of the archive (POSIX pax, linkname).
        """
        name = normalize_member_name(name)
        absolute = symbolic and target.startswith(b"/")
        if symbolic:
            target = name.rpartition(b"/")[0] + b"/" + target
        self._room -= len(name) + len(target)
        if absolute or self._room < 0 or max(len(name), len(target)) > _MAX_PATH:
            target = b".."  # leaves the archive, so it does not resolve
        if self._room >= 0:
            self._targets[name] = target

    def drop(self, name: bytes) -> None:
        """Remove a link that a later member of the same name replaces."""
        if self._targets:
            self._targets.pop(normalize_member_name(name), None)

    def resolve(self, name: bytes) -> bytes | None:
        """
        Resolve a path through links to files and to folders.

        Returns:
            A path without links; None if the path leaves the archive, is too long, or has too many links,
            as in a loop.
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
    """Normalize the name of a member: no leading, double or trailing slashes, and no `.`."""
    return b"/".join(_parts(name))


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]
