"""Rectified flow over pictures (paper, section 3.3). Pure functions.

Time t runs from 0 (clean) to 1 (pure noise). The paper mixes pictures on [-1, 1] with standard normal
noise, x_t = (1 - t) x_0 + t eps; here pictures lie in [0, 1], where the same rule has noise of mean 1/2
and spread 1/2. Noised pictures may leave [0, 1].
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# The last time that the reference's sampler visits before 0, on its grid of 1000 steps.
_LAST_TIME = 0.001


def noise_images(
    images: Float[Tensor, "b v 3 h w"], times: Float[Tensor, "b v"], noise: Float[Tensor, "b v 3 h w"]
) -> Float[Tensor, "b v 3 h w"]:
    """Pictures at `times` on the way from `images` to standard normal `noise`."""
    t = times[..., None, None, None]
    return (1 - t) * images + t * (0.5 + 0.5 * noise)


def time_grid(steps: int) -> Float[Tensor, "visits"]:
    """The times that a sampler of `steps` steps visits: from 1 evenly to 1/1000, then 0."""
    if steps < 1:
        raise ValueError(f"a sampler needs at least one step, got {steps}")
    return torch.cat([torch.linspace(1.0, _LAST_TIME, steps), torch.zeros(1)])


def euler_step(
    images: Float[Tensor, "*batch"], clean: Float[Tensor, "*batch"], time: float, next_time: float
) -> Float[Tensor, "*batch"]:
    """Move noised pictures from `time` to `next_time` along the velocity to the predicted `clean` ones.

    The velocity is (x_t - x_0) / t, so that a step to time 0 lands on the prediction.
    """
    velocity = (images - clean) / time
    return images + (next_time - time) * velocity
