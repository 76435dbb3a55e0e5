from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
import torch
from balls import ball_viewsets
from test_trainer import build

from sparsegen.data.viewpoints import INPUT_VIEW, SECOND_INPUT_VIEW
from sparsegen.models import SparseGen
from sparsegen.training.objective import training_renderer
from sparsegen.training.validation import ValidationConfig, Validator, input_views

COLORS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])


@pytest.mark.parametrize(
    ("total", "expected"),
    [(25, (INPUT_VIEW, SECOND_INPUT_VIEW)), (251, (64, 104)), (50, (34, 30)), (1, (0, 0))],
)
def test_views_are_those_of_the_evaluation(total, expected):
    assert input_views(total) == expected


def test_targets_are_novel_views():
    viewsets = ball_viewsets(COLORS, views=25, size=16)
    validator = Validator(viewsets, ValidationConfig(views=4, objects=2))
    chosen = [INPUT_VIEW, SECOND_INPUT_VIEW]
    assert torch.equal(
        validator.inputs.cameras.viewmats, viewsets.cameras[torch.tensor([0, 2])][:, chosen].viewmats
    )
    targets = validator.targets.cameras.viewmats
    inputs = validator.inputs.cameras.viewmats
    assert targets.shape[:2] == (2, 4)
    assert not (targets[:, :, None] == inputs[:, None]).all((-1, -2)).any()  # novel views only


def test_scores_do_not_depend_on_batches_or_the_run(tiny_config):
    viewsets = ball_viewsets(COLORS)
    model = SparseGen(tiny_config.model).eval()
    state = torch.get_rng_state()
    scores = [
        Validator(viewsets, ValidationConfig(batch_size=b)).scores(model, training_renderer).as_dict()
        for b in (3, 2)
    ]
    assert torch.equal(state, torch.get_rng_state())  # a run with validations equals one without
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_gap_measures_what_the_picture_is_worth(tiny_config):
    """A model that paints the mean input color has a gap; one that ignores the input has none."""
    viewsets = ball_viewsets(COLORS)
    validator = Validator(viewsets, ValidationConfig())

    class Painter(SparseGen):
        sees = True

        def forward(self, views, times, self_conditioning=None, layers="last", queries=None):
            result = super().forward(views, times, self_conditioning, layers, queries)[-1]
            darkest = views.images[:, 0].flatten(2).min(-1).values if self.sees else torch.zeros(1, 3)
            colors = darkest[:, None].expand_as(result.colors)
            return [replace(result, colors=colors)]

    model = Painter(tiny_config.model).eval()
    assert validator.scores(model, training_renderer).gap > 0.1
    model.sees = False
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()  # no input reaches the geometry either
    assert validator.scores(model, training_renderer).gap == pytest.approx(0, abs=1e-4)


def test_a_blind_run_says_so(tiny_config, two_balls, caplog):
    trainer = build(replace(tiny_config, max_steps=1001), two_balls, val=two_balls)
    trainer.step = 1000
    with caplog.at_level(logging.WARNING):
        trainer.fit(steps=1)
    assert "INPUT-BLIND: after 1001 steps" in caplog.text


def test_a_single_object_cannot_show_whether_a_run_is_blind(tiny_config, two_balls, caplog):
    trainer = build(replace(tiny_config, max_steps=1001), two_balls, val=ball_viewsets(COLORS[:1]))
    trainer.step = 1000
    with caplog.at_level(logging.INFO):
        trainer.fit(steps=1)
    assert "input gap nan" in caplog.text
    assert "INPUT-BLIND" not in caplog.text
    log = [json.loads(line) for line in (trainer.folder / "log.jsonl").read_text().splitlines()]
    (scores,) = (line for line in log if line["event"] == "validation")
    assert "psnr" in scores
    assert "gap" not in scores
