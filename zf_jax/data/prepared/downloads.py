"""Download public data sets, with addresses and checksums from TFDS's catalogue."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import urllib.error
import urllib.request
from typing import NamedTuple

from zf_jax.data.dataset import DataError, Folder
from zf_jax.data.prepared import archives, folders
from zf_jax.extras import needs


class Remote(NamedTuple):
    """A file to download: the address, the size in bytes and the sha256."""

    url: str
    size: int
    sha256: str

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[-1]


_MNIST = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/binarized_mnist_"
_LIBRISPEECH = "http://www.openslr.org/resources/12/"
REMOTES: dict[str, tuple[Remote, ...]] = {
    "mnist": (
        Remote(_MNIST + "train.amat", 78400000, "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
        Remote(_MNIST + "valid.amat", 15680000, "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
        Remote(_MNIST + "test.amat", 15680000, "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"),
    ),
    "imdb": (
        Remote(
            "http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
            84125825,
            "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
        ),
    ),
    "ljspeech": (
        Remote(
            "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
            2748572632,
            "be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
        ),
    ),
    "librispeech": (
        Remote(
            _LIBRISPEECH + "train-clean-100.tar.gz",
            6387309499,
            "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
        ),
        Remote(
            _LIBRISPEECH + "dev-clean.tar.gz",
            337926286,
            "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
        ),
        Remote(
            _LIBRISPEECH + "test-clean.tar.gz",
            346663984,
            "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
        ),
    ),
}
_UNPACKED = ("ljspeech", "librispeech")  # files of the other sets are read as downloaded
_LICENSED = {
    "timit": "TIMIT cannot be downloaded: order LDC93S1 from the LDC",
    "blizzard": "the Blizzard 2013 recordings cannot be downloaded: ask the challenge's organisers for a licence",
}


def fetch(name: str, data_dir: str) -> str:
    """Download a public set into ``data_dir``/downloads/``name`` and return that folder.

    Files downloaded before are kept.  A lock keeps other processes from downloading the same set at the same time.

    Raises:
      DataError: the set is not public, the address does not answer, a file has another size or checksum, or
        ``data_dir`` cannot be written.
    """
    if name not in REMOTES:
        what = _LICENSED.get(name, f"{name} has no public address")
        raise DataError("", what, Folder(name, parameter="manual_dir"))
    home = os.path.join(os.path.abspath(os.path.expanduser(data_dir)), "downloads")
    folder = os.path.join(home, name)
    with folders.locked(home, name):  # another process waits, and then finds the files
        os.makedirs(folder, exist_ok=True)
        for remote in REMOTES[name]:
            marker, path = os.path.join(folder, f".{remote.file}.unpacked"), os.path.join(folder, remote.file)
            if not os.path.exists(marker):
                if not os.path.exists(path):
                    _fetch(name, remote, path)
                if name not in _UNPACKED:
                    continue
                _unpack(path, folder)
                with open(marker, "w"):
                    pass
            # After the marker: a process that is ended between the two need not download the archive again.
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
    return folder


def _fetch(name: str, remote: Remote, path: str) -> None:
    """Download a file under a temporary name; rename the file if the size and checksum are right."""
    with needs("data"):
        from tqdm import tqdm

    part, digest, size = f"{path}.part", hashlib.sha256(), 0
    try:
        with (
            urllib.request.urlopen(remote.url, timeout=30) as answer,
            open(part, "wb") as file,
            tqdm(desc=remote.file, total=remote.size, unit="B", unit_scale=True, disable=None) as bar,
        ):
            while chunk := answer.read(1 << 20):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                bar.update(len(chunk))
    except (urllib.error.URLError, OSError) as error:
        what = f"cannot be fetched ({getattr(error, 'reason', error)})"
        raise DataError(remote.url, what, Folder(name, "after downloading the files yourself", "manual_dir")) from None
    if size != remote.size or digest.hexdigest() != remote.sha256:
        os.remove(part)
        registered = f"(sha256 {remote.sha256[:12]}…, {remote.size} bytes)"
        what = f"gave {size} bytes that are not the registered file {registered}"
        raise DataError(remote.url, what, "try again", Folder(name, parameter="manual_dir"))
    os.replace(part, path)


def _unpack(archive: str, folder: str) -> None:
    temporary = f"{archive}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)
    archives.unpack(archive, temporary)
    for root, _, files in os.walk(temporary):
        target = os.path.join(folder, os.path.relpath(root, temporary))
        os.makedirs(target, exist_ok=True)
        for file in files:
            os.replace(os.path.join(root, file), os.path.join(target, file))
    shutil.rmtree(temporary)
