"""Baselines on galleries with known answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsegen import cameras
from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol
from sparsegen.errors import InputError
from sparsegen.evaluation.baselines import MeanPicture, NearestObject
from sparsegen.evaluation.contestants import Contestant, Settings, fingerprint
from sparsegen.evaluation.scores import evaluate
from sparsegen.evaluation.tasks import make_task

DRAWN = [0, 1, 2, 4, 3]  # the input view comes last


def _over_white(images: np.ndarray) -> np.ndarray:
    """(..., H, W, 4) bytes to (..., 3, H, W) in [0, 1]."""
    scaled = images.astype(np.float64) / 255
    return np.moveaxis(scaled[..., :3] * scaled[..., 3:] + 1 - scaled[..., 3:], -1, -3)


def test_the_mean_picture_is_the_mean(
    viewsets: Viewsets, more_viewsets: Callable[..., Viewsets], protocol: Protocol
) -> None:
    gallery = more_viewsets(19, seed=7)  # more than are held in memory at a time
    prediction = MeanPicture(gallery, protocol)(make_task(viewsets, protocol, [4, 2], [4, 2], seed=0))
    mean = torch.from_numpy(_over_white(gallery.images).mean(axis=0)[DRAWN]).float()
    alpha = torch.from_numpy(gallery.images[:, DRAWN][..., 3].mean(axis=0) / 255).float()
    for row in range(2):
        torch.testing.assert_close(prediction.rgb[row], mean, atol=1e-5, rtol=0)
        torch.testing.assert_close(prediction.alpha[row], alpha, atol=1e-5, rtol=0)


def test_the_nearest_object_is_found_by_its_input_picture(
    viewsets: Viewsets, more_viewsets: Callable[..., Viewsets], protocol: Protocol
) -> None:
    gallery = more_viewsets(9, seed=7)
    images = gallery.images.copy()
    noise = np.random.default_rng(1).integers(-5, 6, viewsets.images[:, 3].shape)
    twins = [8, 0, 5, 2, 7, 3]  # gallery object that looks like test object n from the input view
    images[twins, 3] = np.clip(viewsets.images[:, 3].astype(int) + noise, 0, 255).astype(np.uint8)
    gallery = replace(gallery, images=images)
    nearest = NearestObject(gallery, protocol)
    task = make_task(viewsets, protocol, list(range(6)), list(range(6)), seed=0)
    assert nearest.nearest(task.inputs).tolist() == twins
    expected = torch.from_numpy(_over_white(images[twins][:, DRAWN])).float()
    torch.testing.assert_close(nearest(task).rgb, expected, atol=1e-5, rtol=0)


def test_a_gallery_with_the_test_objects_themselves_scores_perfectly(
    viewsets: Viewsets, protocol: Protocol
) -> None:
    scores = evaluate(NearestObject(viewsets, protocol), viewsets, protocol, name="nearest")
    assert scores.summary()["alpha_iou"][0] == 1
    assert scores.summary()["psnr"][0] > 100
    mean = evaluate(MeanPicture(viewsets, protocol), viewsets, protocol, name="mean")
    assert mean.summary()["input_gap"] == (0, 0)


@pytest.mark.parametrize("change", ["picture", "new file"])
def test_scores_with_a_gallery_folder_are_forgotten_when_its_files_change(
    viewsets: Viewsets, protocol: Protocol, tmp_path: Path, change: str
) -> None:
    picture = tmp_path / "gallery" / "a" / "rgb" / "000000.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"first")
    contestant = Contestant("mean", MeanPicture(viewsets, protocol))
    settings = Settings(data=tmp_path, output=tmp_path, gallery=tmp_path / "gallery")
    before, again = (fingerprint(contestant, settings, protocol, ["psnr"]) for _ in range(2))
    assert before == again
    path = picture if change == "picture" else picture.with_name("000001.png")
    path.write_bytes(b"another")
    assert fingerprint(contestant, settings, protocol, ["psnr"]) != before


@pytest.mark.parametrize("other", ["poses", "focal length", "height"])
def test_a_gallery_from_other_cameras_is_refused(viewsets: Viewsets, protocol: Protocol, other: str) -> None:
    theirs = viewsets.cameras
    if other == "poses":
        theirs = cameras.orbit(5, size=24).reshape(1, 5).expand(6, 5)
    elif other == "focal length":
        theirs = cameras.spiral(5, size=24, focal=30.0).reshape(1, 5).expand(6, 5)
    else:
        theirs = replace(theirs, height=20)
    gallery = replace(viewsets, images=viewsets.images[:, :, : theirs.height], cameras=theirs)
    task = make_task(viewsets, protocol, [0], [0], seed=0)
    for baseline in (MeanPicture, NearestObject):
        with pytest.raises(InputError, match="the gallery must have the test set's own cameras"):
            baseline(gallery, protocol)(task)
