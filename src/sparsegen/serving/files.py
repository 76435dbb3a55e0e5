"""Uploaded Gaussian files to objects, and objects to files for download."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sparsegen.errors import InputError
from sparsegen.formats.gaussian_files import load_gaussians, save_gaussians
from sparsegen.gaussians import Gaussians
from sparsegen.serving.limits import Limits
from sparsegen.viewer import viewer_html

# What can be downloaded: the formats of Gaussian files, and the page.
DOWNLOADS = ("ply", "compressed.ply", "splat", "spz", "glb", "html")

# Beyond it float32 has no room for an object's details, nor the page for its camera.
_FARTHEST = 1e6


def open_file(data: bytes, limits: Limits, splat: bool = False) -> Gaussians:
    """The object in an uploaded Gaussian file, told by its content, or said to be a `.splat` file.

    Raises `InputError`.
    """
    with at_a_path(data, "the file", ".splat" if splat else "") as path:
        gaussians = load_gaussians(path, most=limits.gaussians)
    if gaussians.means.abs().max() > _FARTHEST:
        raise InputError(f"the file has Gaussians more than {_FARTHEST:,.0f} units away; scale it down")
    return gaussians


def encode(gaussians: Gaussians, kind: str) -> bytes:
    """One object as a file of one of `DOWNLOADS`. Raises `InputError` where nothing is left of it."""
    if not gaussians.count:
        raise InputError("nothing is left of the object; undo an edit")
    if kind == "html":
        return viewer_html(gaussians, "object").encode()
    with at_a_path(b"", f"object.{kind}", f".{kind}") as path:
        save_gaussians(path, gaussians)
        return path.read_bytes()


@contextmanager
def at_a_path(data: bytes, name: str, suffix: str = "") -> Iterator[Path]:
    """A file with this content for a while; errors call it by a name that its owner knows.

    Without a suffix, its content alone tells the format.
    """
    with TemporaryDirectory(prefix="sparsegen-") as folder:
        path = Path(folder) / f"file{suffix}"
        path.write_bytes(data)
        try:
            yield path
        except InputError as error:
            raise type(error)(str(error).replace(str(path), name)) from None
