"""Outputs that appear under their final name only when they are whole."""

from __future__ import annotations

import atexit
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from sparsegen.errors import InputError

MAX_GAUSSIANS = 10_000_000  # in one file: more than any object needs, less than memory holds

_CURES = {
    errno.ENOSPC: "free some space or write to another disk",
    errno.EDQUOT: "free some space or write to another disk",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another path",
    errno.EEXIST: "a part of the path is a file, not a folder: choose another path",
    errno.EISDIR: "that is a folder: give the name of a file",
    errno.ENOTEMPTY: "remove it or choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def atomic_path(final: str | Path) -> Iterator[Path]:
    """A temporary path beside `final`, with its suffix, that is moved into place when the block succeeds.

    Missing parent folders are made. If the block raises, the temporary file is removed and `final` stays
    as it was. An `OSError` (full disk, unwritable folder) becomes an `InputError`; libraries that wrap
    such errors in types of their own are best asked for bytes, which are then written here.
    """
    final = Path(final)
    temporary = _temporary_sibling(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, final)
    except OSError as error:
        raise _cannot_write(final, error) from error
    finally:
        _remove(temporary)


@contextmanager
def atomic_folder(final: str | Path) -> Iterator[Path]:
    """The same for a whole folder: the temporary folder exists, and `final` must not, or be empty."""
    final = Path(final)
    temporary = _temporary_sibling(final)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.replace(temporary, final)
    except OSError as error:
        raise _cannot_write(final, error) from error
    finally:
        _remove(temporary)


def write_bytes(final: str | Path, data: bytes) -> None:
    """Write a whole file at once, or nothing."""
    with atomic_path(final) as temporary:
        temporary.write_bytes(data)


def make_folder(path: str | Path) -> Path:
    """Make an output folder before the work: nobody waits for what cannot be written. Else `InputError`.

    What is made here goes again when the process ends, if nothing was written into it.
    """
    path = Path(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):  # last registered, first called: the innermost goes first
        atexit.register(_remove_if_empty, folder.absolute())
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass  # an old folder may be one that nobody may write to
    return path


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def writing(final: str | Path) -> Iterator[None]:
    """An `OSError` (full disk, unwritable folder) in the block becomes an `InputError` that names `final`."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(Path(final), error) from error


def check_readable(path: str | Path) -> Path:
    """`path` if it is a file with something in it that can be read.

    Raises `InputError` if it is missing, a folder, empty, or not readable.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise InputError(
            f"{path}: this is a folder, expected a file; give the name of a file in it"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise InputError(
            f"{path}: cannot be read ({_reason(error)}); check the path and its permissions"
        ) from None
    if empty:
        raise InputError(f"{path}: the file is empty (0 bytes); fetch or write it again")
    return path


def file_in_package(package: str, file: str) -> Path | None:
    """A file of an installed package, which is not imported; None where there is none."""
    spec = find_spec(package)
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((path for folder in folders if (path := Path(folder) / file).is_file()), None)


def _temporary_sibling(final: Path) -> Path:
    if not final.name:
        raise InputError(f"{str(final)!r} does not name an output; give a file or folder name")
    # The name is cut so that it stays under the usual 255 bytes; the suffix tells writers the format.
    return final.with_name(f".{final.stem[:40]}.{secrets.token_hex(4)}.part{final.suffix}")


def _remove(temporary: Path) -> None:
    # Where the folder itself cannot be reached nothing was written, and nothing is left to remove.
    with suppress(OSError):
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _cannot_write(final: Path, error: OSError) -> InputError:
    cure = _CURES.get(error.errno or 0, "choose another place for the output")
    return InputError(f"{final}: cannot be written ({_reason(error)}); {cure}")


def _reason(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(reason.split())
