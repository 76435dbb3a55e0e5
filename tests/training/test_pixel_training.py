"""The pixel-aligned network under the same trainer: it learns, and its run ends in weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sparsegen.data.packed import save_packed
from sparsegen.errors import InputError
from sparsegen.generation import Pipeline
from sparsegen.metrics import psnr
from sparsegen.splatting import render
from sparsegen.training.config import compose_config, load_config
from sparsegen.training.run import train

SMALL = ["model=pixel_aligned_tiny", "image_size=32", "model.width=8", "levels=3", "device=cpu", "lr=1e-2",
         "warmup_steps=5", "batch_size=2", "log_every=1", "ema_decay=0.9"]  # fmt: skip


def test_a_run_learns_the_input_view_and_others_and_ends_in_weights(tmp_path, two_balls):
    save_packed(two_balls, tmp_path / "balls.pack")
    settings = [*SMALL, f"data.train={tmp_path / 'balls.pack'}", f"runs={tmp_path}", "max_steps=60"]
    config = compose_config(settings)
    assert config.sampling.noised_probabilities == [1.0]  # nothing is noised
    assert config.sampling.clean_probabilities[0] == 0  # and there is always a picture
    assert train(replace(config, max_steps=60)) == "finished"
    assert load_config(tmp_path / "run" / "config.yaml") == config
    pipeline = Pipeline.from_pretrained(tmp_path / "run" / "weights", device="cpu")
    views = two_balls.views(torch.tensor([0, 1]), torch.tensor([[0, 3], [0, 3]]))
    found = render(pipeline.reconstruct(views.select([0])), views.cameras, depth=False).rgb
    scores = psnr(found, views.images)  # seen, unseen
    blank = psnr(torch.ones_like(found), views.images)
    assert (scores > blank + 3).all(), (scores, blank)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("anchors=hull", "anchors: a pixel_aligned network has no anchor queries"),
        ("elastic_probability=0.1", "elastic_probability: a pixel_aligned network has no"),
        ("position_encoding=off", "position_encoding=off: a pixel_aligned network has none"),
        ("loss.offset=0.1", r"loss\.offset: a pixel_aligned network has no"),
        ("flow=on", "flow=on: a pixel-aligned network is deterministic"),
        ("image_size=100", "image_size=100: expected a multiple of"),
        ("model.kind=sparsegen", "kind=sparsegen: the preset says it"),
        ("num_queries=64", "num_queries: no such setting"),
    ],
)
def test_settings_that_it_has_no_use_for_are_refused_in_one_line(override, message):
    with pytest.raises(InputError, match=message) as caught:
        compose_config(["data.train=a.pack", *SMALL, "max_steps=1", override])
    assert "\n" not in str(caught.value)
