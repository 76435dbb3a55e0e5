"""Any dataset by its path."""

from __future__ import annotations

from pathlib import Path

from sparsegen.data.packed import Viewsets, load_packed


def load_viewsets(path: str | Path) -> Viewsets:
    """A packed file (mapped), or a folder in the SRN layout (read).

    Raises `InputError` if there is neither, or if files in it are broken.
    """
    from sparsegen.data.layouts.srn import load_srn

    return load_srn(path) if Path(path).is_dir() else load_packed(path)
