"""Inputs of any kind become one list of members; hostile ones are refused in words."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import stat
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from fw_gear_hndeface.dicom.archive import ArchiveWriter, open_inputs
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.dicom.study import read_contents
from fw_gear_hndeface.errors import InputError
from tests.dicom.build import LIMITS, tar_of, zip_of

FILES = {"a/1.dcm": b"one" * 1000, "a/2.dcm": b"", "b.txt": bytes(range(256)) * 300}


def contents(path: Path | list[Path], work: Path, limits: Limits = LIMITS) -> dict[str, bytes]:
    paths = path if isinstance(path, list) else [path]
    with open_inputs(paths, limits, work) as archive:
        return {member.name: member.read() for member in archive.members}


def refuse(path: Path, work: Path, match: str, limits: Limits = LIMITS) -> None:
    with pytest.raises(InputError, match=match) as caught:
        contents(path, work, limits)
    assert caught.value.exit_code == 3
    assert str(work) not in str(caught.value)
    assert not list(work.glob("unpacked-*")), "temporary files stay behind"


def test_a_zip_gives_its_files_in_its_order(tmp_path: Path) -> None:
    out = contents(zip_of(tmp_path / "x.zip", FILES), tmp_path)
    assert out == FILES
    assert list(out) == list(FILES)


@pytest.mark.parametrize(("name", "mode"), [("x.tar", "w"), ("x.tar.gz", "w:gz"), ("x.tar.bz2", "w:bz2"), ("x.tar.xz", "w:xz")])
def test_a_tar_of_any_compression_gives_its_files(tmp_path: Path, name: str, mode: str) -> None:
    assert contents(tar_of(tmp_path / name, FILES, mode), tmp_path) == FILES
    assert not list(tmp_path.glob("unpacked-*"))


def test_a_folder_gives_its_files_by_name_and_follows_no_link(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "a" / "link").symlink_to(root / "b.txt")
    (root / "loop").symlink_to(root)
    with open_inputs([root], LIMITS, tmp_path) as archive:
        assert [member.name for member in archive.members] == ["b.txt", "a/1.dcm", "a/2.dcm"]
        assert [finding.code for finding in archive.findings] == ["links_ignored"]
        assert archive.findings[0].message.startswith("2 ")


def test_archives_inside_archives_open_and_their_names_become_folders(tmp_path: Path) -> None:
    inner = zip_of(tmp_path / "inner.zip", FILES).read_bytes()
    middle = tar_of(tmp_path / "middle.tgz", {"deep/inner.zip": inner}, "w:gz").read_bytes()
    outer = zip_of(tmp_path / "outer.zip", {"m.tgz": middle, "plain": b"p"})
    assert contents(outer, tmp_path) == {**{f"m.tgz/deep/inner.zip/{n}": d for n, d in FILES.items()}, "plain": b"p"}


def test_a_compressed_single_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "1.dcm.gz").write_bytes(gzip.compress(b"x" * 5000))
    (tmp_path / "2.dcm.bz2").write_bytes(bz2.compress(b"y" * 5000))
    assert contents([tmp_path / "1.dcm.gz", tmp_path / "2.dcm.bz2"], tmp_path) == {"1.dcm": b"x" * 5000, "2.dcm": b"y" * 5000}


def test_several_inputs_keep_apart_what_is_named_alike(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, two = zip_of(tmp_path / "x.zip", {"1": b"a"}), zip_of(tmp_path / "other" / "x.zip", {"1": b"b"})
    assert contents([one, two], tmp_path) == {"x.zip/1": b"a", "2-x.zip/1": b"b"}


def test_the_head_of_a_member_is_its_first_bytes(tmp_path: Path) -> None:
    data = bytes(n % 251 for n in range(200_000))
    with open_inputs([zip_of(tmp_path / "x.zip", {"f": data})], LIMITS, tmp_path) as archive:
        (member,) = archive.members
        assert [member.head(n) for n in (0, 1, 4096, 150_000, 900_000)] == [data[:n] for n in (0, 1, 4096, 150_000, 900_000)]


def test_a_stored_member_and_one_with_a_long_run_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("stored", b"abc" * 9999, zipfile.ZIP_STORED)
        out.writestr("run", b"\0" * 7_000_000, zipfile.ZIP_DEFLATED)
    assert contents(path, tmp_path) == {"stored": b"abc" * 9999, "run": b"\0" * 7_000_000}


def test_dicom_wins_over_other_marks(tmp_path: Path) -> None:
    odd = b"PK\x03\x04".ljust(128, b"\0") + b"DICM" + b"rest"
    assert contents(zip_of(tmp_path / "x.zip", {"f": odd}), tmp_path) == {"f": odd}


def test_windows_separators_become_folders(tmp_path: Path) -> None:
    assert contents(zip_of(tmp_path / "x.zip", {"a\\b\\1": b"x"}), tmp_path) == {"a/b/1": b"x"}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/passwd", "..\\evil", "C:\\evil", "a\x07b"])
def test_names_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    refuse(zip_of(tmp_path / "x.zip", {"ok": b"1", name: b"2"}), tmp_path, "leaves the archive")
    refuse(tar_of(tmp_path / "x.tar", {"ok": b"1", name: b"2"}), tmp_path, "leaves the archive")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as out:
        info = tarfile.TarInfo("bad")
        info.type, info.linkname = kind, "/etc/passwd"
        out.addfile(info)
    refuse(path, tmp_path, "link or device")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as out:
        info = zipfile.ZipInfo("bad")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        out.writestr(info, "/etc/passwd")
    refuse(path, tmp_path, "link or device")


def _flag_encrypted(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    refuse(_flag_encrypted(zip_of(tmp_path / "x.zip", {"f": b"1"})), tmp_path, "encrypted")


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("f", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            out.writestr("f", b"2")
    refuse(path, tmp_path, "share a name")


@pytest.mark.parametrize("keep", [10, 200, -40])
def test_a_zip_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    path = zip_of(tmp_path / "x.zip", FILES)
    path.write_bytes(path.read_bytes()[:keep])
    refuse(path, tmp_path, "damaged or cut short")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_cut_short_is_refused(tmp_path: Path, mode: str) -> None:
    path = tar_of(tmp_path / "x.tar", {"f": bytes(n * n % 251 for n in range(100_000))}, mode)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3 if mode != "w" else 60_000])
    refuse(path, tmp_path, "cut short")


def test_a_member_whose_bytes_were_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("f", b"abcdefgh" * 100)
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgX", 1))
    refuse(path, tmp_path, "checksum")
    packed = zip_of(tmp_path / "y.zip", {"f": bytes(n * n % 251 for n in range(9000))})
    data = bytearray(packed.read_bytes())
    data[60:90] = b"\xff" * 30
    packed.write_bytes(data)
    refuse(packed, tmp_path, "damaged compressed data|checksum")


def test_a_member_that_holds_more_than_it_declares_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "x.zip", {"f": b"\0" * 50_000})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    refuse(path, tmp_path, "not what the archive declares")


def test_a_table_that_points_nowhere_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "x.zip", {"f": b"1" * 400, "g": b"2" * 400})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 42 : entry + 46] = (9).to_bytes(4, "little")
    path.write_bytes(data)
    refuse(path, tmp_path, "points to no file")
    whole = zip_of(path, {"f": b"1" * 400, "g": b"2" * 400}).read_bytes()
    path.write_bytes(whole[:30] + whole[37:])
    refuse(path, tmp_path, "points to no file")


def test_a_member_declared_longer_than_it_is_does_not_hang(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "x.zip", {"f": b"\0" * 128 + b"DICM" + b"\2\0\0\0UL" + b"\0" * 400})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (90_000_000).to_bytes(4, "little")
    path.write_bytes(data)
    limits = replace(LIMITS, ratio=10**9)
    with open_inputs([path], limits, tmp_path) as archive, pytest.raises(InputError):
        read_contents(archive)


def test_unknown_archives_are_named(tmp_path: Path) -> None:
    for magic, name in ((b"7z\xbc\xaf\x27\x1c", "7-Zip"), (b"Rar!\x1a\x07", "RAR"), (b"\x28\xb5\x2f\xfd", "Zstandard")):
        refuse(zip_of(tmp_path / "x.zip", {"f": magic + b"\0" * 300}), tmp_path, name)


def test_a_zip_with_another_method_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as out:
        out.writestr("f", b"1" * 100)
    refuse(path, tmp_path, "stored or deflated")


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    refuse(zip_of(tmp_path / "x.zip", {}), tmp_path, "holds no file")
    refuse(tmp_path / "absent.zip", tmp_path, "no such file")
    with pytest.raises(InputError, match="No input"), open_inputs([], LIMITS, tmp_path):
        pass


class TestLimits:
    """Every bound an administrator sets is a bound, for zip and tar, at the top and inside."""

    def test_number_of_members(self, tmp_path: Path) -> None:
        few = replace(LIMITS, members=2)
        refuse(zip_of(tmp_path / "x.zip", FILES), tmp_path, "max_members", few)
        refuse(tar_of(tmp_path / "x.tar", FILES), tmp_path, "max_members", few)

    def test_size_of_a_member(self, tmp_path: Path) -> None:
        small = replace(LIMITS, member_bytes=10_000)
        refuse(zip_of(tmp_path / "x.zip", FILES), tmp_path, "max_member_mb", small)
        refuse(tar_of(tmp_path / "x.tar.gz", FILES, "w:gz"), tmp_path, "max_member_mb", small)

    def test_total_size_counts_what_lies_inside(self, tmp_path: Path) -> None:
        inner = zip_of(tmp_path / "i.zip", {"f": b"1" * 60_000}).read_bytes()
        path = zip_of(tmp_path / "x.zip", {f"{n}.zip": inner for n in range(4)})
        refuse(path, tmp_path, "max_total_mb", replace(LIMITS, total_bytes=200_000))
        assert len(contents(path, tmp_path, replace(LIMITS, total_bytes=250_000))) == 4

    def test_ratio_of_a_zip(self, tmp_path: Path) -> None:
        refuse(zip_of(tmp_path / "x.zip", {"f": b"\0" * 30_000_000}), tmp_path, "zip bomb")

    @pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
    def test_ratio_of_a_compressed_tar_is_checked_before_it_fills_the_disk(self, tmp_path: Path, mode: str) -> None:
        refuse(tar_of(tmp_path / "x.tar", {"f": b"\0" * 30_000_000}, mode), tmp_path, "zip bomb")

    def test_nesting(self, tmp_path: Path) -> None:
        data = zip_of(tmp_path / "0.zip", {"f": b"1"}).read_bytes()
        for level in range(3):
            data = zip_of(tmp_path / f"{level}.zip", {"in.zip": data}).read_bytes()
        path = tmp_path / "2.zip"
        assert list(contents(path, tmp_path)) == ["in.zip/in.zip/in.zip/f"]
        refuse(path, tmp_path, "max_nesting", replace(LIMITS, nesting=2))
        refuse(path, tmp_path, "max_nesting", replace(LIMITS, nesting=0))

    def test_a_gzip_inside_itself_ends(self, tmp_path: Path) -> None:
        data = b"x"
        for _ in range(8):
            data = gzip.compress(data)
        (tmp_path / "x.gz").write_bytes(data)
        refuse(tmp_path / "x.gz", tmp_path, "max_nesting")


class TestWriter:
    """The zip that goes out."""

    def test_same_members_same_bytes(self, tmp_path: Path) -> None:
        for name in ("a.zip", "b.zip"):
            with ArchiveWriter(tmp_path / name) as writer:
                for member, data in FILES.items():
                    writer.write(member, data)
        assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
        with zipfile.ZipFile(tmp_path / "a.zip") as out:
            assert {info.filename: out.read(info) for info in out.infolist()} == FILES
            assert {info.date_time for info in out.infolist()} == {(1980, 1, 1, 0, 0, 0)}

    def test_it_is_deflated(self, tmp_path: Path) -> None:
        with ArchiveWriter(tmp_path / "a.zip") as writer:
            writer.write("f", b"\0" * 1_000_000)
        assert (tmp_path / "a.zip").stat().st_size < 20_000

    def test_a_failure_leaves_nothing_behind(self, tmp_path: Path) -> None:
        def fail() -> None:
            with ArchiveWriter(tmp_path / "a.zip") as writer:
                writer.write("f", b"1")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert list(tmp_path.iterdir()) == []

    def test_the_final_name_appears_only_when_whole(self, tmp_path: Path) -> None:
        with ArchiveWriter(tmp_path / "a.zip") as writer:
            writer.write("f", b"1")
            assert not (tmp_path / "a.zip").exists()
        assert zipfile.is_zipfile(io.BytesIO((tmp_path / "a.zip").read_bytes()))

    def test_a_name_given_twice_is_our_mistake(self, tmp_path: Path) -> None:
        with ArchiveWriter(tmp_path / "a.zip") as writer:
            writer.write("f", b"1")
            with pytest.raises(ValueError, match="written before"):
                writer.write("f", b"2")


@pytest.mark.parametrize("moment", ["write", "close", "sync"])
def test_a_disk_that_fills_leaves_no_part_of_an_archive_and_tells_the_first_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, moment)

    def close() -> None:
        raise OSError(errno.ENOSPC, "second" if moment == "write" else moment)

    writer = ArchiveWriter(tmp_path / "out.zip")
    if moment == "sync":
        monkeypatch.setattr("fw_gear_hndeface.dicom.archive.sync_file", full)
    else:
        monkeypatch.setattr(writer._zip, "close", close)
    if moment == "write":
        monkeypatch.setattr(writer, "write", full)
    with pytest.raises(OSError, match=moment), writer:
        writer.write("a", b"1")
    assert list(tmp_path.iterdir()) == []
