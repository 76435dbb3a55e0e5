"""The training set, without the objects that nothing can be learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from sparsegen.data.layouts import srn
from sparsegen.data.loading import layout_of, load_viewsets
from sparsegen.data.packed import Viewset, Viewsets, collect
from sparsegen.errors import InputError
from sparsegen.training.logs import logger

# Rotations further than this from orthonormal show that a pose was read wrongly.
_ORTHONORMAL = 1e-2
# Rows of a picture that are looked at first: every eighth finds any object that can be seen.
_STRIDE = 8


def load_training_set(path: str, strict: bool) -> Viewsets:
    """Any dataset by its path; an object of an SRN folder with a broken file is named and left out.

    With `strict`, and in the other layouts, it stops the run with an `InputError`.
    """
    folder = Path(path)
    of_several = folder.is_dir() and layout_of(folder) == "srn" and not (folder / "intrinsics.txt").exists()
    if strict or not of_several:
        return load_viewsets(path)
    found: list[Viewset] = []
    for name in srn.srn_names(folder):
        try:
            found.append(srn.read_srn_object(folder / name))
        except InputError as error:
            _skip(str(error))
    return collect(found, path)


def usable_objects(viewsets: Viewsets, strict: bool) -> Int[np.ndarray, "n"]:
    """The objects whose cameras are cameras and whose views show anything; the others are named.

    With `strict` the first such object is an `InputError`; so is a set without any good object.
    """
    faults = {i: fault for i in range(len(viewsets)) if (fault := _fault(viewsets, i))}
    for index, fault in faults.items():
        message = f"object {viewsets.names[index]} (number {index}) {fault}"
        if strict:
            raise InputError(f"training set: {message}; repair or remove it, or use data.strict=false")
        _skip(message)
    if len(faults) == len(viewsets):
        raise InputError("training set: no object has cameras and pictures that can be learned from")
    return np.array([i for i in range(len(viewsets)) if i not in faults])


def _fault(viewsets: Viewsets, index: int) -> str | None:
    """What is wrong with an object, if anything is."""
    cameras = viewsets.cameras[index]
    for name, matrices in (("poses", cameras.viewmats), ("intrinsics", cameras.Ks)):
        if not matrices.isfinite().all():
            return f"has {name} that are not numbers"
    rotations = cameras.viewmats[..., :3, :3]
    if (rotations @ rotations.mT - torch.eye(3)).abs().max() > _ORTHONORMAL:
        return "has poses that are no rotations"
    if cameras.Ks[..., [0, 1], [0, 1]].min() <= 0:
        return "has focal lengths that are not positive"
    if viewsets.has_alpha and not _shows_anything(viewsets.images[index, ..., 3]):
        return "is empty: no view has an opaque pixel"
    return None


def _shows_anything(alphas: np.ndarray) -> bool:
    """Whether any alpha is not 0; most objects show in a few rows of their first view."""
    return bool(alphas[0, ::_STRIDE].any() or alphas.any())


def _skip(fault: str) -> None:
    logger.warning("training set: %s; left out (data.strict=true stops instead)", fault)
