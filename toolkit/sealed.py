"""HDF5 files that are there whole or not at all, and that do not hide that they were damaged.

A file is written under a temporary name, flushed to the disk and moved over the old one. In its
first bytes, which HDF5 leaves to the user, is a digest of all others: a file that was cut off, or
of which one bit is another, is known before HDF5 looks at it. To other programs it is HDF5.
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py

from toolkit.errors import InputError

__all__ = ["opened", "replace", "sealed"]

BLOCK = 512  # the smallest user block of HDF5
MAGIC = b"implant-toolkit sealed\n"
CHUNK = 1 << 22


class Sink(io.FileIO):
    """A file that notes the first error of writing and goes on without writing.

    HDF5 must not see such an error, a full disk's for example: its files cannot be closed then, and
    it ends the process by a segmentation fault.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all of it, or nothing after an error."""
        left = memoryview(data).cast("B")
        size = len(left)
        while len(left) and self.failure is None:
            try:
                left = left[super().write(left) :]
            except OSError as failure:
                self.failure = failure
        return size

    def truncate(self, size: int | None = None, /) -> int:
        """Set the size, unless there was an error."""
        try:
            return super().truncate(size)
        except OSError as failure:
            self.failure = self.failure or failure
            return size or 0

    def readinto(self, buffer: Any, /) -> int:
        """Read; what was not written is zero."""
        found = super().readinto(buffer) or 0
        if self.failure is not None:
            memoryview(buffer).cast("B")[found:] = bytes(len(buffer) - found)
            return len(buffer)
        return found


@contextmanager
def sealed(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to be filled, which then takes the place of an older one of that name.

    Raises:
        OSError: it cannot be written; the older one is then left as it was.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with Sink(handle, "w+") as sink:
            try:
                with h5py.File(sink, "w", userblock_size=BLOCK, libver="latest") as file:
                    yield file
            finally:
                if sink.failure is not None:
                    raise sink.failure
            seal = MAGIC + _digest(sink).encode()
            os.pwrite(handle, seal, 0)
            os.fchmod(handle, 0o644)
            os.fsync(handle)
        replace(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A file that `sealed` wrote, for reading.

    Raises:
        InputError: there is none, it is damaged, or it is not one of ours.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(BLOCK)
            whole = head.startswith(MAGIC) and _digest(stream).encode() == _seal(head)
    except OSError as failure:
        raise InputError(f"{path} cannot be read: {failure}") from failure
    if not head.startswith(MAGIC):
        raise InputError(f"{path} is damaged from its beginning, or not one that a run wrote.")
    if not whole:
        raise InputError(f"{path} is damaged: it is not the file that was written.")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, ValueError, RuntimeError) as failure:
        if isinstance(failure, InputError):
            raise
        raise InputError(f"{path} is not a whole file of a run ({failure}).") from failure


def replace(new: Path, old: Path) -> None:
    """Move a file that was flushed over another, for good: the folder is flushed too."""
    os.replace(new, old)
    folder = os.open(old.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems do not flush folders
            os.fsync(folder)
    finally:
        os.close(folder)


def _digest(stream: io.RawIOBase | io.BufferedIOBase) -> str:
    """A digest of what follows the user block."""
    stream.seek(BLOCK)
    digest = hashlib.blake2b(digest_size=32)
    while part := stream.read(CHUNK):
        digest.update(part)
    return digest.hexdigest()


def _seal(head: bytes) -> bytes:
    """The digest in a user block."""
    return head[len(MAGIC) : len(MAGIC) + 64]
