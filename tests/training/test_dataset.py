"""Objects that nothing can be learned from are named, and left out or refused."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from balls import ball_viewsets
from small import NETWORK

from sparsegen.cameras import Cameras
from sparsegen.data.packed import Viewsets, save_packed
from sparsegen.data.sampling import Sampler, SamplingConfig
from sparsegen.errors import InputError
from sparsegen.training.config import compose_config
from sparsegen.training.dataset import load_training_set, usable_objects
from sparsegen.training.run import train


def damaged(fault: str) -> Viewsets:
    """Five balls, number 3 with a planted fault."""
    viewsets = ball_viewsets(torch.rand(5, 3))
    own = Cameras(viewsets.cameras.viewmats.clone(), viewsets.cameras.Ks.clone(), 32, 32)
    viewsets = replace(viewsets, cameras=own)
    if fault == "nan":
        viewsets.cameras.viewmats[3, 2, 0, 3] = torch.nan
    elif fault == "infinite":
        viewsets.cameras.Ks[3, 0, 0, 2] = torch.inf
    elif fault == "skewed":
        viewsets.cameras.viewmats[3, 1, :3, :3] *= 1.1
    elif fault == "mirrored":
        viewsets.cameras.Ks[3, 4, 0, 0] *= -1
    elif fault == "empty":
        viewsets.images[3] = 0
    return viewsets


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan", "object ball3 (number 3) has poses that are not numbers"),
        ("infinite", "object ball3 (number 3) has intrinsics that are not numbers"),
        ("skewed", "object ball3 (number 3) has poses that are no rotations"),
        ("mirrored", "object ball3 (number 3) has focal lengths that are not positive"),
        ("empty", "object ball3 (number 3) is empty: no view has an opaque pixel"),
    ],
)
def test_a_broken_object_is_named_and_left_out(fault, message, caplog):
    viewsets = damaged(fault)
    with caplog.at_level(logging.WARNING):
        objects = usable_objects(viewsets, strict=False)
    assert message in caplog.text
    assert objects.tolist() == [0, 1, 2, 4]
    with pytest.raises(InputError) as caught:
        usable_objects(viewsets, strict=True)
    assert message in str(caught.value)


def test_good_objects_all_stay_though_seen_in_one_corner_only(caplog):
    viewsets = ball_viewsets(torch.rand(2, 3))
    alphas = viewsets.images[1, ..., 3]
    alphas[:] = 0
    alphas[5, 3, 3] = 255  # one pixel of one view
    assert usable_objects(viewsets, strict=True).tolist() == [0, 1]
    assert caplog.text == ""


def test_a_set_without_a_good_object_is_refused():
    viewsets = ball_viewsets(torch.rand(2, 3))
    viewsets.images[:] = 0
    with pytest.raises(InputError, match="no object has cameras and pictures"):
        usable_objects(viewsets, strict=False)


def test_a_loss_that_looks_at_alphas_alone_needs_some(tmp_path):
    save_packed(replace(ball_viewsets(torch.rand(2, 3)), has_alpha=False), tmp_path / "opaque.pack")
    terms = ["loss.image=0", "loss.gradient=0", "loss.ssim=0", "loss.alpha=0.5"]
    settings = [f"data.train={tmp_path / 'opaque.pack'}", f"runs={tmp_path}", *NETWORK, *terms]
    with pytest.raises(InputError, match=r"opaque\.pack: has no alphas, which loss\.alpha=0\.5 alone"):
        train(compose_config([*settings, "max_steps=1", "anchors=model", "device=cpu"]))


def test_broken_objects_are_never_drawn():
    objects = np.array([0, 1, 4])
    sampler = Sampler(damaged("nan"), SamplingConfig(), 2, objects=objects)
    drawn = [sampler.batch(step, 2 * step).object_ids for step in range(3)]
    assert sorted(np.concatenate(drawn).tolist()) == [0, 0, 1, 1, 4, 4]  # each once before any again
    assert sampler.batch(0, 0).targets.images.isfinite().all()


def test_a_broken_file_of_a_folder_names_its_object(tmp_path, caplog):
    folder = write_srn(tmp_path / "set", names=("a", "b", "c"))
    (folder / "b" / "pose" / "000001.txt").write_text("not a pose")
    for other in (".cache", "a/export"):  # which nobody takes for the layout of the set
        (folder / other).mkdir()
        (folder / other / "transforms.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert load_training_set(str(folder), strict=False).names == ["a", "c"]
    assert "b/pose/000001.txt" in caplog.text
    with pytest.raises(InputError, match=r"b/pose/000001\.txt"):
        load_training_set(str(folder), strict=True)
    for name in ("a", "c"):
        shutil.rmtree(folder / name)
    with pytest.raises(InputError, match="holds no objects"):
        load_training_set(str(folder), strict=False)


def write_srn(folder, names, views=2, size=8):
    from PIL import Image

    for name in names:
        for part in ("rgb", "pose"):
            (folder / name / part).mkdir(parents=True)
        (folder / name / "intrinsics.txt").write_text(f"8 4 4 0\n0 0 0\n1\n{size} {size}\n")
        for view in range(views):
            Image.new("RGB", (size, size), "red").save(folder / name / "rgb" / f"{view:06d}.png")
            pose = torch.eye(4)
            pose[2, 3] = -1.3
            text = " ".join(str(x) for x in pose.flatten().tolist())
            (folder / name / "pose" / f"{view:06d}.txt").write_text(text)
    return folder
