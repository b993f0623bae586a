"""Read single arrays from npz files of unknown origin.

Pickled objects are refused.  The size in an array's header is compared with the archive's entry and with the machine's
memory before memory is allocated.
"""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from zf_jax.data.dataset import DataError
from zf_jax.data.prepared.folders import check_regular, unreadable
from zf_jax.memory import physical_memory

_PICKLED = "save plain numeric arrays; a pickle is never opened, because a pickle can run any program"


class Npz(Mapping[str, np.ndarray]):
    """Read the arrays of an open npz file by name.

    Raises:
      DataError: an array is damaged, holds Python objects, or is larger than a quarter of the machine's memory.
    """

    def __init__(self, path: str, archive: zipfile.ZipFile):
        self._path, self._archive = path, archive
        self._names = {n.removesuffix(".npy"): n for n in archive.namelist() if n.endswith(".npy")}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, key: str) -> np.ndarray:
        info = self._archive.getinfo(self._names[key])
        with self._archive.open(info) as file:
            shape, fortran, dtype = _header(file)
            where = f"{self._path}, {key}"
            if dtype.hasobject:
                raise DataError(self._path, f"holds Python objects under {key}", _PICKLED)
            count = int(np.prod(shape, dtype=object))
            size = count * dtype.itemsize
            if size != info.file_size - file.tell():
                what = f"says {size} bytes where there are {info.file_size - file.tell()}"
                raise DataError(where, what, "save the file again")
            if size > physical_memory() / 4:
                raise DataError(
                    where, f"takes {size} bytes, more than a quarter of the memory", "divide the array into parts"
                )
            array = np.frombuffer(file.read(), dtype)  # reading to the end checks the checksum
            return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


@contextlib.contextmanager
def open_npz(path: str) -> Iterator[Npz]:
    """Open an npz file for reading; ``DataError``, here or on reading an array, if the file is damaged."""
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield Npz(path, archive)
    except DataError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        what = f"is not a whole npz file ({str(error)[:80]})"
        raise DataError(path, what, "copy the file again from its source, or save the file again") from None
    except OSError as error:
        raise unreadable(path, error) from None


def _header(file) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)
