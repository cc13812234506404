"""Archives that are whole are read as the standard library reads them."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.simple.core_metadata import BadArchive

from .samples import check_members, make_tar, make_zip, read_sdist, read_wheel

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
TREES = st.dictionaries(
    st.one_of(
        st.tuples(NAMES).map("/".join),
        st.tuples(NAMES, st.just("PKG-INFO")).map("/".join),
        st.tuples(NAMES.map("{}.dist-info".format), st.just("METADATA")).map("/".join),
        st.tuples(NAMES, NAMES, NAMES).map("/".join),
    ),
    st.binary(max_size=2000),
    max_size=8,
)


@given(
    TREES,
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    st.binary(max_size=30).filter(lambda comment: b"PK" not in comment),
)
def test_every_wheel_is_read_as_zipfile_reads_it(tree: dict[str, bytes], method: int, comment: bytes) -> None:
    content = make_zip(tree, method=method, comment=comment)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = [
            archive.read(name)
            for name in archive.namelist()
            if name.endswith(".dist-info/METADATA") and name.count("/") == 1
        ]
    if tree:
        check_members(content)
    if len(found) == 1:
        assert read_wheel(content) == found[0]
    else:
        with pytest.raises(BadArchive, match=r"holds no|holds more"):
            read_wheel(content)


@given(TREES, st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_every_tar_is_read_as_tarfile_reads_it(tree: dict[str, bytes], form: int) -> None:
    try:
        content = make_tar(tree, format=form)
    except ValueError:  # a name too long for this form
        return
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = [name.split("/") for name in archive.getnames()]
        found = [parts for parts in names if len(parts) == 2 and parts[1] == "PKG-INFO"]
        found = [parts for parts in found if parts[0] not in (".", "..")]
        expected = archive.extractfile("/".join(found[-1])).read() if found else None  # type: ignore[union-attr]
    if expected is None:
        with pytest.raises(BadArchive, match="holds no PKG-INFO" if tree else "in part"):
            read_sdist(content, ".tar")
    else:
        assert read_sdist(content, ".tar") == expected
