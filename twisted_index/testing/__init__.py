"""
A kit for testing with package indexes: distribution files made in memory, and a source to put them in.

It is public: programs that embed an index, or install from one, may use it in their own tests.

    wheel = make_wheel("demo", "1.0", requires=["other>=2"])
    wheel.write_to(folder)  # folder / "demo-1.0-py3-none-any.whl", and pip installs it

The same arguments give the same bytes, so that digests may be compared between runs.

    source = MemorySource(wheel)
    source.add(make_sdist("demo", "1.1"), yanked="broken")

Not for: building real distributions. There is no project here, only what installers look at.
"""

from twisted_index.testing.made import Contents, MadeFile, make_sdist, make_wheel
from twisted_index.testing.memory import ADDED, MemorySource, Question

__all__ = ["ADDED", "Contents", "MadeFile", "MemorySource", "Question", "make_sdist", "make_wheel"]
