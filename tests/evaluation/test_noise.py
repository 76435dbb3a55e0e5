"""The noise study on samples whose spread is known."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import pytest
import torch
from PIL import Image

from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol
from sparsegen.evaluation import noise
from sparsegen.evaluation.predictors import Generated, Prediction
from sparsegen.evaluation.tasks import Task, views_of


@dataclass(frozen=True)
class Noisy:
    """Draws the truth of object 2 with noise of its own seed: of `sigma` times steps - 1, on unseen views."""

    viewsets: Viewsets
    sigma: float
    steps: int = 1

    def __call__(self, task: Task) -> Prediction:
        truth = views_of(self.viewsets, [2], (0, 1, 2, 4, 3))
        assert truth.alphas is not None
        generator = torch.Generator().manual_seed(task.seeds[0])
        rgb = 0.25 + 0.5 * truth.images
        rgb[:, :4] += self.sigma * (self.steps - 1) * torch.randn(rgb[:, :4].shape, generator=generator)
        return Prediction(rgb, truth.alphas)


def _study(viewsets: Viewsets, protocol: Protocol, sigma: float, samples: int) -> list[noise.NoiseRow]:
    predictor = cast(Generated, Noisy(viewsets, sigma))
    rows, pictures = noise.study(
        predictor, viewsets, protocol, [2], seed=5, samples=samples, step_counts=(1, 2, 3)
    )
    assert len(pictures) == 3
    with Image.open(io.BytesIO(pictures[0].png)) as picture:
        assert picture.size == (24 * (min(samples, noise.SHOWN) + 1), 24)
    return rows


def test_spread_is_the_noise_that_was_planted(viewsets: Viewsets, protocol: Protocol) -> None:
    rows = _study(viewsets, protocol, sigma=0.02, samples=16)
    assert [row.steps for row in rows] == [1, 2, 3]
    for row, sigma in zip(rows, (0, 0.02, 0.04), strict=True):
        assert row.spread_unseen == pytest.approx(255 * sigma, rel=0.03)
        assert row.spread_seen == 0
    still, _, moving = rows
    assert still.best_psnr == pytest.approx(still.psnr, abs=1e-5)
    assert still.mean_picture_psnr == pytest.approx(still.psnr, abs=1e-5)
    assert moving.best_psnr > moving.psnr
    # Averaged away but for a sixteenth, the noise costs a sixteenth as much.
    error = 10 ** (-still.psnr / 10)
    assert 10 ** (-moving.psnr / 10) - error == pytest.approx(0.04**2, rel=0.1)
    assert 10 ** (-moving.mean_picture_psnr / 10) - error == pytest.approx(0.04**2 / 16, rel=0.3)
    assert moving.edges > still.edges


def test_the_verdict_is_what_the_rows_say(viewsets: Viewsets, protocol: Protocol) -> None:
    rows = _study(viewsets, protocol, sigma=0.02, samples=4)
    assert noise.verdict(rows).startswith("With 2, 3 steps the samples differ")
    assert noise.verdict(rows[1:]).startswith("Yes")
    assert "deterministic" in noise.verdict(rows[:1])
    almost = [replace(row, spread_unseen=0.99) for row in rows]
    assert "0.99 gray levels apart at most" in noise.verdict(almost)


def test_noise_of_another_object_is_other_noise(
    more_viewsets: Callable[..., Viewsets], protocol: Protocol
) -> None:
    viewsets = more_viewsets(4)
    predictor = cast(Generated, Noisy(viewsets, 0.02, steps=2))
    first = noise.draw_samples(predictor, viewsets, protocol, 0, seed=0, samples=3)
    again = noise.draw_samples(predictor, viewsets, protocol, 0, seed=0, samples=3)
    other = noise.draw_samples(predictor, viewsets, protocol, 1, seed=0, samples=3)
    assert (first == again).all()
    assert (first[0] != first[1]).any()
    assert (first[0] != other[0]).any()
