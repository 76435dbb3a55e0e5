"""`.splat` files: 32 bytes a Gaussian and nothing else.

float32 means and scales, 8 bits for each of red, green, blue, opacity, and for each component of the
rotation wxyz as 128 + 128 q. There is no header: the number of Gaussians is the file's size over 32.
"""

from __future__ import annotations

import numpy as np
import torch

from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians

_RECORD = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])


def encode(gaussians: Gaussians) -> bytes:
    """The bytes of a `.splat` file for one object, its axes as they are."""
    records = np.empty(gaussians.count, _RECORD)
    records["mean"] = gaussians.means.numpy()
    records["scale"] = gaussians.scales.numpy()
    rgba = torch.cat([gaussians.colors, gaussians.opacities[:, None]], dim=-1)
    records["rgba"] = (255 * rgba).round().clamp(0, 255).numpy()
    # Of q and -q, the same rotation, take the one whose largest component is negative: 128 + 128 q
    # reaches -1 exactly, but stops short of +1.
    quats = gaussians.quats
    largest = quats.gather(-1, quats.abs().argmax(dim=-1, keepdim=True))
    quats = torch.where(largest > 0, -quats, quats)
    records["quat"] = (128 + 128 * quats).round().clamp(0, 255).numpy()
    return records.tobytes()


def decode(data: bytes, name: str) -> Gaussians:
    """Gaussians of the bytes of a `.splat` file called `name`, their axes as they are.

    Raises `InputError` if the file is cut short or has negative scales.
    """
    if len(data) % _RECORD.itemsize:
        raise InputError(
            f"{name}: cut short, or not a .splat file: expected a multiple of {_RECORD.itemsize} bytes, "
            f"found {len(data):,}; fetch or write it again"
        )
    records = np.frombuffer(data, _RECORD)
    if (records["scale"] < 0).any():
        raise InputError(f"{name}: not a .splat file, or damaged: it has negative scales; write it again")
    rgba = torch.from_numpy(records["rgba"] / np.float32(255))
    return Gaussians(
        means=torch.from_numpy(records["mean"].astype(np.float32)),
        quats=torch.from_numpy((records["quat"].astype(np.float32) - 128) / 128),
        scales=torch.from_numpy(records["scale"].astype(np.float32)),
        opacities=rgba[:, 3],
        colors=rgba[:, :3],
    )
