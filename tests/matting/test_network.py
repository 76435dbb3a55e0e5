"""Objects found by a foreground network: where it looks, and when it is not sure."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from sparsegen.cli.main import main
from sparsegen.errors import InputError
from sparsegen.formats.images import load_image, save_image
from sparsegen.matting import network, remove_background
from sparsegen.matting.grabcut import refined
from sparsegen.models.foreground import ForegroundConfig, ForegroundNet

EXAMPLES = Path(__file__).parents[2] / "examples"


class RedNet(ForegroundNet):
    """Knows red from everything else, as sure of it as it is told to be."""

    def __init__(self, strength=40.0):
        super().__init__(ForegroundConfig(size=64))
        self.strength = strength

    def forward(self, pictures):
        return self.strength * (pictures[:, 0] - pictures[:, 1:].amax(1) - 0.3)


def overlap(coverage, truth):
    found, true = coverage > 0.5, truth > 0.5
    return float((found & true).sum() / (found | true).sum())


@pytest.fixture
def over_a_photograph():
    """The car of the examples before something that is no plain background, and its coverage."""
    rgba = load_image(EXAMPLES / "car.png")
    torch.manual_seed(0)
    height, width = rgba.shape[1:]
    rgba = F.pad(rgba, (width // 4, width // 4, height // 4, height // 4))
    wall = 0.5 + 0.1 * F.interpolate(torch.randn(1, 3, 40, 40), rgba.shape[1:], mode="bilinear")[0]
    wall[:, 5 * height // 6 :] *= 0.6
    alpha = rgba[3:]
    photo = alpha * rgba[:3] + (1 - alpha) * wall.clamp(0, 1)
    return torch.cat([photo, torch.ones_like(alpha)]), alpha[0]


@pytest.mark.parametrize("turned", [False, True])
def test_coverage_lies_where_the_object_is(cluttered, true_alpha, turned):
    """In pictures wider than high and higher than wide."""
    rgb, truth = (x.mT if turned else x for x in (cluttered[:3], true_alpha))
    coverage = network.find_object(RedNet(), rgb)
    assert overlap(coverage, truth) > 0.97


def test_looking_closer_is_sharper(cluttered, true_alpha):
    """A small object in a large picture, found in 64 pixels."""
    rgb = F.pad(cluttered[:3], (400, 100, 250, 20), value=0.4)
    truth = F.pad(true_alpha, (400, 100, 250, 20))
    assert overlap(network.find_object(RedNet(), rgb), truth) > 0.95
    once = network._look(RedNet(), rgb, rgb.shape[1] / 2, rgb.shape[2] / 2, rgb.shape[2])
    assert overlap(once, truth) < 0.93


def test_an_object_cut_by_the_border_is_found_to_the_border(cluttered, true_alpha):
    rgb, truth = cluttered[:3, :, 60:], true_alpha[:, 60:]
    assert truth[:, 0].any()
    assert overlap(network.find_object(RedNet(), rgb), truth) > 0.95


def test_it_says_when_it_is_not_sure(cluttered):
    assert network.find_object(RedNet(), torch.full((3, 50, 70), 0.5)) is None
    assert network.find_object(RedNet(strength=2.0), cluttered[:3]) is None


def test_the_shipped_network_cuts_a_car_out(over_a_photograph, no_onnx):
    photo, truth = over_a_photograph
    cut = remove_background(photo)
    assert cut.method == "the model's foreground network, its edges by GrabCut"
    assert overlap(cut.rgba[3], truth) > 0.93
    torch.testing.assert_close(remove_background(photo, "network").rgba, cut.rgba)


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_border_that_is_nearly_plain_is_not_believed(true_alpha, no_onnx, monkeypatch, noise):
    """A gray wall with a dark rail along it is no object. Before a backdrop it is for the border to say."""
    monkeypatch.setattr(network, "load_net", lambda folder: RedNet())
    torch.manual_seed(0)
    wall = 0.5 + noise * torch.randn(3, *true_alpha.shape)
    wall[:, 96:112] -= 0.3
    photo = true_alpha * torch.tensor([0.9, 0.1, 0.1])[:, None, None] + (1 - true_alpha) * wall
    cut = remove_background(torch.cat([photo.clamp(0, 1), torch.ones(1, *true_alpha.shape)]))
    assert cut.method.startswith("the model's" if noise else "its plain")
    assert (overlap(cut.rgba[3], true_alpha) > 0.95) == bool(noise)


def test_a_model_without_one_says_so(tmp_path, over_a_photograph, no_onnx):
    with pytest.raises(InputError, match="has no foreground network"):
        remove_background(over_a_photograph[0], "network", model=tmp_path)
    path = tmp_path / "photo.png"
    save_image(path, torch.rand(3, 80, 90))
    with pytest.raises(InputError, match=r"photo\.png: is opaque, and the model's foreground network"):
        remove_background(torch.cat([load_image(path)[:3], torch.ones(1, 80, 90)]), "network", str(path))


def test_a_photograph_becomes_an_object(over_a_photograph, tmp_path, no_onnx, capsys):
    save_image(tmp_path / "photo.png", over_a_photograph[0][:3])
    out = tmp_path / "out"
    assert main(["generate", str(tmp_path / "photo.png"), "-o", str(out), "--no-video"]) == 0
    assert "cut out by the model's foreground network" in capsys.readouterr().out


def test_grabcut_gives_a_rough_cut_out_the_edges_of_the_picture(cluttered, true_alpha):
    """The network saw it twice as coarsely, and a little to the right."""
    rough = F.interpolate(F.avg_pool2d(true_alpha[None, None], 9, 4, 4), true_alpha.shape, mode="bilinear")
    rough = rough[0, 0].roll(4, 1)
    found = refined(cluttered[:3], rough)
    assert overlap(rough, true_alpha) < 0.88
    assert overlap(found, true_alpha) > 0.97
    everything = torch.ones_like(true_alpha)
    assert torch.equal(refined(cluttered[:3], everything), everything)
