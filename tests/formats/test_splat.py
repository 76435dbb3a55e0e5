"""`.splat` files against their layout, written a second time with `struct`."""

import struct

import numpy as np
import pytest
import torch

from gaussian_samples import assert_close, recorded
from sparsegen.errors import InputError
from sparsegen.formats import splat


def by_hand() -> bytes:
    gaussians = recorded()
    records = []
    for mean, scale, color, opacity, quat in zip(
        gaussians.means.tolist(),
        gaussians.scales.tolist(),
        gaussians.colors.tolist(),
        gaussians.opacities.tolist(),
        gaussians.quats.tolist(),
        strict=True,
    ):
        rgba = [round(255 * x) for x in (*color, opacity)]
        rotation = [min(max(round(128 + 128 * q), 0), 255) for q in quat]
        records.append(struct.pack("<6f8B", *mean, *scale, *rgba, *rotation))
    return b"".join(records)


def test_reads_the_layout():
    assert_close(splat.decode(by_hand(), "a.splat"), recorded(), angle=2e-2, opacities=2e-3, colors=2e-3)


def test_writes_the_layout():
    ours = np.frombuffer(splat.encode(recorded()), np.uint8).reshape(-1, 32)
    theirs = np.frombuffer(by_hand(), np.uint8).reshape(-1, 32)
    np.testing.assert_array_equal(ours[:, :28], theirs[:, :28])
    # The same rotations, maybe as -q, one step apart at most where 128 + 128 q ends at 255.
    ours, theirs = (rows[:, 28:].astype(float) - 128 for rows in (ours, theirs))
    sign = np.sign((ours * theirs).sum(axis=1, keepdims=True))
    assert np.abs(ours - sign * theirs).max() <= 1


@pytest.mark.parametrize("angle", [0.0, 3.0])
def test_unturned_rotations_are_kept_exactly(angle):
    gaussians = recorded().select(torch.arange(1))
    gaussians.quats[0] = torch.tensor([np.cos(angle), np.sin(angle), 0, 0])
    gaussians.quats[0] = gaussians.quats[0].round()
    decoded = splat.decode(splat.encode(gaussians), "a.splat")
    assert decoded.quats[0].abs().tolist() == gaussians.quats[0].abs().tolist()


def test_bad_files_are_refused():
    with pytest.raises(InputError, match=r"a\.splat: cut short.*multiple of 32 bytes, found 4,095"):
        splat.decode(by_hand()[:-1], "a.splat")
    negative = bytearray(by_hand())
    struct.pack_into("<f", negative, 12, -0.1)
    with pytest.raises(InputError, match="negative scales"):
        splat.decode(bytes(negative), "a.splat")
