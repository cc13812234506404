"""
Archives read within limits, from an open, seekable, binary file; nothing is ever unpacked to disk.

What is here blocks: its caller runs it in a thread. It runs beside a reactor that shares the
interpreter with it, so it keeps its share of Python small and leaves the rest to zlib, bz2 and
lzma, which let other threads run meanwhile. That is why archives are walked here: for a wheel of
200 members `zipfile` takes six times as long as this, because it makes an object of each; a tar of
300 small members costs `tarfile` about twice as much, unpacking included, and it lets hostile
headers take memory without a bound.

Out of scope: what a wheel or an sdist is (see `core_metadata`).
"""
