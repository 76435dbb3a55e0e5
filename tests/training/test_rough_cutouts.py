"""Rough cut-outs: objects with parts of what stands around them, and without parts of themselves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from discs import striped_discs
from torch import nn

from sparsegen.data.packed import save_packed
from sparsegen.data.sampling import Sampler, SamplingConfig
from sparsegen.errors import InputError
from sparsegen.metrics import alpha_iou
from sparsegen.models.foreground import ForegroundConfig, ForegroundNet
from sparsegen.training.camera_head import CameraHeadTraining, camera_batch
from sparsegen.training.rough_cutouts import RoughInputs, rough_cut_outs
from sparsegen.training.run import train
from sparsegen.training.scenes import Scenery


class Fixed(ForegroundNet):
    """As sure of the same coverage in every picture, whatever it shows."""

    def __init__(self, coverage, sureness):
        nn.Module.__init__(self)
        self.config = ForegroundConfig(size=len(coverage))
        self.logits = sureness * (2 * coverage - 1)

    def forward(self, pictures):
        return self.logits.expand(len(pictures), -1, -1)


def discs(count=24):
    """White discs in the middle of a picture, and their coverage."""
    viewsets = striped_discs(64)
    views = viewsets.views(np.zeros(count, int), np.zeros((count, 1), int))
    assert views.alphas is not None
    return viewsets, torch.ones(count, 3, 64, 64), views.alphas[:, 0]


def made(sureness, shift=0, rate=1.0):
    viewsets, images, alphas = discs()
    net = Fixed(rate * alphas[0].roll(shift, dims=1), sureness)
    scenery = Scenery(viewsets, [torch.zeros(3, 90, 90)])
    random = np.random.default_rng(0), torch.Generator().manual_seed(0)
    return images, alphas, *rough_cut_outs(net, images, alphas, scenery, *random)


def test_where_the_network_is_sure_its_cut_out_is_exact():
    _, alphas, cut, found = made(sureness=100.0)
    assert (alpha_iou(found, alphas) > 0.97).all()
    outside = found == 0
    assert outside.float().mean() > 0.3
    assert (cut.amin(1)[outside] == 1).all()  # white, and nothing of the background


def test_where_it_is_not_sure_parts_are_lost_and_added():
    """Over what is added lies the background, dark in two of three pictures."""
    _, alphas, cut, found = made(sureness=2.0)
    overlaps = alpha_iou(found, alphas)
    assert 0.5 <= overlaps.min() < 0.8
    assert overlaps.max() > 0.95
    lost, added = (1 - found) * alphas, found * (1 - alphas)
    assert (lost.sum((1, 2)) > 50).sum() > 3
    assert (added.sum((1, 2)) > 50).sum() > 3
    strange = added > 0.9
    assert (cut.mean(1)[strange] < 0.3).float().mean() > 0.3
    assert (cut.mean(1)[alphas * found > 0.99] > 0.6).float().mean() > 0.8
    corners = torch.ones(64, 64)
    corners[5:-5] = corners[:, 5:-5] = 0  # farther away than anything is added from
    assert (found * corners).sum() == 0


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_what_shows_too_little_of_the_object_is_left_out(rate):
    """The network finds nothing, or something beside the object."""
    images, alphas, cut, found = made(sureness=100.0, shift=32, rate=rate)
    assert torch.equal(found, alphas)
    assert torch.equal(cut, images)


def test_a_share_of_the_camera_heads_pictures_is_rough_and_framed_as_it_was_cut():
    """Half of a disc is lost: it stands elsewhere and is smaller than the disc, and so its frame says."""
    viewsets, _, alphas = discs()
    half = alphas[0].clone()
    half[:, :24] = 0
    recipe = CameraHeadTraining(batch_size=32, mirrored=False, rough=0.5, tilted=0)
    batches = [camera_batch(Scenery(viewsets), recipe, 0, 64, net) for net in (None, Fixed(half, 100.0))]
    whole, cut = (batch.frames for batch in batches)
    changed = (whole - cut).abs().amax(1) > 0.05
    assert changed[16:].sum() == 0
    assert changed[:16].float().mean() > 0.8
    right = (cut - whole)[:16, 1][changed[:16]]
    assert (right > 0.05).all()
    assert all(torch.equal(a, b) for a, b in zip(batches[0][1:3], batches[1][1:3], strict=True))


def half_rough(probability, seed=0, clean=(0, 0, 1.0)):
    """A batch of eight objects before and after the network sees some of them cut in half."""
    viewsets, _, alphas = discs()
    half = alphas[0].clone()
    half[:, :32] = 0
    sampling = SamplingConfig(views=3, clean_probabilities=list(clean), noised_probabilities=[0, 1.0])
    batch = Sampler(viewsets, sampling, batch_size=8).batch(0, 0)
    rough = RoughInputs(Scenery(viewsets), Fixed(half, 100.0), probability, seed)
    return batch, rough(batch, 0)


def test_clean_inputs_of_some_objects_are_rough_and_nothing_else():
    batch, rough = half_rough(0.5)
    assert rough.targets is batch.targets
    assert torch.equal(rough.inputs.images[:, 2:], batch.inputs.images[:, 2:])  # the noised ones
    changed = (rough.inputs.images != batch.inputs.images)[:, :2].any(2)  # (b, v, h, w)
    cut = changed.any(1).any(1).any(1)
    assert 2 <= cut.sum() <= 6
    left, right = rough.inputs.images[cut][:, :2, :, :, :28], rough.inputs.images[cut][:, :2, :, :, 36:]
    assert (left == 1).all()  # that half is lost
    assert (right - batch.inputs.images[cut][:, :2, :, :, 36:]).abs().mean() < 0.01  # this one is as it was


def test_rough_inputs_follow_from_seed_and_step():
    (_, first), (_, again), (_, other) = half_rough(0.5), half_rough(0.5), half_rough(0.5, seed=1)
    assert torch.equal(first.inputs.images, again.inputs.images)
    assert not torch.equal(first.inputs.images, other.inputs.images)


def test_batches_without_clean_views_stay_as_they_are():
    batch, rough = half_rough(1.0, clean=(1.0,))
    assert rough is batch


def test_a_run_sees_rough_inputs(tiny_config, two_balls, tmp_path, monkeypatch):
    save_packed(two_balls, tmp_path / "balls.pack")
    data = replace(tiny_config.data, train=str(tmp_path / "balls.pack"))
    seen = []
    monkeypatch.setattr(RoughInputs, "__call__", lambda self, batch, step: seen.append(step) or batch)
    for probability, steps in ((0.0, []), (0.5, [0, 1])):
        sampling = replace(tiny_config.sampling, rough_probability=probability)
        train(replace(tiny_config, name=f"{probability}", data=data, sampling=sampling, max_steps=2))
        assert seen == steps


def test_rough_inputs_need_alphas(tiny_config, two_balls, tmp_path):
    save_packed(replace(two_balls, has_alpha=False), tmp_path / "opaque.pack")
    data = replace(tiny_config.data, train=str(tmp_path / "opaque.pack"))
    sampling = replace(tiny_config.sampling, rough_probability=0.5)
    with pytest.raises(InputError, match=r"opaque\.pack: its pictures have no alpha"):
        train(replace(tiny_config, data=data, sampling=sampling, anchors="model"))
