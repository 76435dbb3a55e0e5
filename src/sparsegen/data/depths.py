"""True depth of a dataset's views, in a file of its own beside the pictures.

A safetensors file: `depths` (N, V, H, W) of 16 bits, in ten-thousandths of the world's unit, 0 where there
is no surface; the objects' names are in its metadata.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt16
from numpy import ndarray

from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.formats.files import atomic_path, check_readable

if TYPE_CHECKING:
    from sparsegen.data.rendering import Subject

FORMAT = "sparsegen.depths"
STEPS = 10_000  # of a unit of the world: all that cameras at 1.3 see lies under 6.5 units


def render_dataset(viewsets: Viewsets, subjects: Sequence[Subject]) -> UInt16[ndarray, "n v h w"]:
    """Depths of every view of a dataset, from the subjects that its objects were rendered from.

    Raises `InputError` if an object has no subject of its name.
    """
    from tqdm import tqdm

    from sparsegen.data.render import normalize, render_depths

    known = {subject.name: subject for subject in subjects}
    if missing := [name for name in viewsets.names if name not in known]:
        raise InputError(
            f"no mesh of the object {missing[0]!r} is known ({len(missing)} of {len(viewsets)}); give the "
            "meshes that the dataset was rendered from"
        )
    depths = np.zeros(viewsets.images.shape[:-1], np.uint16)
    for i, name in enumerate(tqdm(viewsets.names, unit="object")):
        depths[i] = np.round(render_depths(normalize(known[name].scene()), viewsets.cameras[i]) * STEPS)
    return depths


def save_depths(depths: UInt16[ndarray, "n v h w"], names: Sequence[str], path: str | Path) -> None:
    """Write the depths of the objects `names`."""
    from safetensors.numpy import save_file

    metadata = {"format": FORMAT, "names": json.dumps(list(names))}
    with atomic_path(path) as temporary:
        save_file({"depths": np.ascontiguousarray(depths)}, temporary, metadata)


def load_depths(path: str | Path, viewsets: Viewsets) -> Float[ndarray, "n v h w"]:
    """Depths of the objects of `viewsets`, world units, 0 where there is no surface.

    Raises `InputError` if the file is no file of depths, or is of other objects or views.
    """
    from safetensors import SafetensorError, safe_open

    path = check_readable(path)
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise InputError(f"{path}: not a file of depths; make one with `sparsegen data depth`")
            names, depths = json.loads(metadata["names"]), file.get_tensor("depths")
    except (SafetensorError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a file of depths, or cut short; make it again") from None
    places = {name: i for i, name in enumerate(names)}
    if missing := [name for name in viewsets.names if name not in places]:
        raise InputError(f"{path}: holds no depth of {missing[0]!r}; make it from this dataset")
    if depths.shape[1:] != viewsets.images.shape[1:-1]:
        found, wanted = (
            "{} views of {} x {}".format(*shape[1:]) for shape in (depths.shape, viewsets.images.shape)
        )
        raise InputError(f"{path}: holds {found} pixels, the dataset {wanted}; make it from this dataset")
    return depths[[places[name] for name in viewsets.names]].astype(np.float32) / STEPS
