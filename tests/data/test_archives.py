"""Archives: read whole or refused; nothing is written outside their folder."""

import io
import random
import tarfile

import pytest

from zf_jax.data import DataError
from zf_jax.data.prepared import archives

MODES = ["w:gz", "w:bz2", "w:xz"]


def packed(mode, number=60):
    rng, buffer = random.Random(0), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for i in range(number):
            content = f"review {i} {rng.random()}".encode() * 5
            member = tarfile.TarInfo(f"a/{i}.txt")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def names(path, limit=1 << 20):
    return [name for name, content in archives.contents(str(path), lambda name: True, limit) if content is not None]


@pytest.mark.parametrize("mode", [*MODES, "w"])
def test_every_member_is_read(tmp_path, mode):
    (tmp_path / "x.tar").write_bytes(packed(mode))
    assert names(tmp_path / "x.tar") == [f"a/{i}.txt" for i in range(60)]


@pytest.mark.parametrize("mode", MODES)
def test_a_flipped_bit_is_an_error_and_never_fewer_members(tmp_path, mode):
    whole, rng, refused = packed(mode), random.Random(1), 0
    for _ in range(30):
        damaged = bytearray(whole)
        place = rng.randrange(len(whole) * 8)
        damaged[place // 8] ^= 1 << place % 8
        (tmp_path / "x.tar").write_bytes(damaged)
        try:
            found = names(tmp_path / "x.tar")
        except DataError:
            refused += 1
        else:
            assert len(found) == 60  # a bit that says nothing: gzip's clock, for one
    assert refused >= 25


@pytest.mark.parametrize("mode", [*MODES, "w"])
def test_an_archive_that_ends_early_or_goes_on_is_an_error(tmp_path, mode):
    whole = packed(mode)
    lost = 12_000 if mode == "w" else 9  # uncompressed tar is filled up with zeros
    for damaged in (whole[:-lost], whole[: len(whole) // 2], whole + packed(mode)):
        (tmp_path / "x.tar").write_bytes(damaged)
        with pytest.raises(DataError, match="is damaged"):
            names(tmp_path / "x.tar")


def test_a_broken_header_in_the_middle_is_not_the_end(tmp_path):
    damaged = bytearray(packed("w"))
    damaged[1024 * 10 + 3] ^= 1  # the name of the eleventh member: two blocks each
    (tmp_path / "x.tar").write_bytes(damaged)
    with pytest.raises(DataError, match="header is damaged"):
        names(tmp_path / "x.tar")


def test_a_member_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "x.tar").write_bytes(packed("w:gz"))
    assert names(tmp_path / "x.tar", limit=50) == []


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/outside_of_the_folder.txt", "link/outside.txt"])
def test_an_archive_cannot_write_outside_its_folder(tmp_path, name):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        if name.startswith("link"):
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, ".."
            archive.addfile(link)
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    (tmp_path / "inside").mkdir()
    with pytest.raises(DataError, match="must not be unpacked"):
        archives.unpack(str(tmp_path / "x.tar"), str(tmp_path / "inside"))
    assert not list(tmp_path.rglob("outside*"))
