"""An object as sharp as the picture that it was made from."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from gaussian_samples import recorded
from held_out_car import pictures_of_a_car
from sparsegen.cameras import orbit
from sparsegen.detail import PARTS, add_detail, split
from sparsegen.generation import Pipeline
from sparsegen.metrics import gradient_energy_ratio, psnr
from sparsegen.photos import SIZES, frame, full_size
from sparsegen.ranking import agreement
from sparsegen.refinement import HARMLESS
from sparsegen.splatting import render
from sparsegen.splatting.reference import rotation_matrices
from sparsegen.views import Views

SIZE, STEPS = 256, 25
# The input, the same from the other side, and one between.
AZIMUTHS = (-40.0, 40.0, -80.0)


@pytest.fixture(scope="module")
def car():
    return pictures_of_a_car(SIZE, AZIMUTHS)


@pytest.fixture(scope="module")
def guess(car):
    images = avg_pool2d(car.images[0, :1], SIZE // 128)[None]
    return Pipeline.from_pretrained(device="cpu")(Views(images, car.cameras[:, :1].resized(128, 128)))[0]


def covariances(gaussians):
    axes = rotation_matrices(gaussians.quats) * gaussians.scales[:, None]
    return axes @ axes.mT


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_together_are_the_whole(parts):
    """Mean and covariance of the mixture, weighed by what each part covers, are the Gaussian's."""
    whole = recorded()
    small = split(whole, parts)
    assert small.count == parts**2 * whole.count
    assert torch.equal(small.query_ids, whole.query_ids.repeat_interleave(parts**2))
    weights = small.opacities.view(-1, parts**2)
    unclamped = weights.amax(1) < 0.99
    weights = (weights / weights.sum(1, keepdim=True))[..., None]
    means = small.means.view(-1, parts**2, 3)
    center = (weights * means).sum(1)
    torch.testing.assert_close(center[unclamped], whole.means[unclamped], rtol=0, atol=1e-5)
    apart = means - center[:, None]
    within = covariances(small).view(-1, parts**2, 3, 3)
    total = (weights[..., None] * (within + apart[..., None] * apart[..., None, :])).sum(1)
    torch.testing.assert_close(total[unclamped], covariances(whole)[unclamped], rtol=1e-3, atol=1e-6)
    assert (small.scales.amax(1) < whole.scales.amax(1).repeat_interleave(parts**2)).all()


def test_a_split_object_looks_as_before(guess):
    cameras = orbit(4, size=128)
    before, after = (render(g, cameras, depth=False).rgb for g in (guess, split(guess)))
    assert psnr(after, before).min() > 30


def test_detail_sharpens_what_is_seen_and_harms_nothing(car, guess):
    seen, novel = car.select([0]), car.select([1, 2])
    detailed, report = add_detail(guess, seen, symmetric=True, steps=STEPS)
    assert detailed.count == PARTS**2 * guess.count
    assert report.seen[1] > agreement(guess, seen)[0] + 3
    for before, after in zip(agreement(guess, novel), agreement(detailed, novel), strict=True):
        assert after > before - HARMLESS
    sharp, soft = (
        gradient_energy_ratio(render(g, novel.cameras[0], depth=False).rgb, novel.images[0]).mean()
        for g in (detailed, guess)
    )
    assert sharp > soft + 0.02


def test_the_far_side_of_a_symmetric_object_takes_its_detail_from_the_mirror(car, guess):
    seen, mirrored = car.select([0]), car.select([1])
    plain, symmetric = (add_detail(guess, seen, symmetric=s, steps=STEPS)[0] for s in (False, True))
    assert agreement(symmetric, mirrored)[0] > agreement(plain, mirrored)[0] + 0.3
    # What the picture shows is the picture's own.
    assert agreement(symmetric, seen)[0] > agreement(plain, seen)[0] - 0.5


@pytest.mark.parametrize("side", [40, 300, 3000])
def test_pictures_are_taken_as_large_as_their_object_is(side):
    cutout = torch.zeros(4, side + 20, side + 50)
    cutout[:, 10:-10, 30:-20] = 1
    views = frame(cutout, 128)
    size = full_size([cutout], views)
    assert size % 16 == 0
    assert SIZES[0] <= size <= SIZES[1]
    large = frame(cutout, size)
    assert large.alphas is not None
    shown = float(large.alphas[0, 0].amax(0).sum())
    if size not in SIZES:
        assert side <= shown <= 1.1 * side
    else:
        assert shown > side if side < 300 else shown < side
    assert full_size([cutout, cutout[:, :50]], views.select([0, 0])) == size
