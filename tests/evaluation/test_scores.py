"""`evaluate` on predictors whose scores are known beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.evaluation import metrics
from sparsegen.evaluation.predictors import Prediction
from sparsegen.evaluation.protocols import Protocol
from sparsegen.evaluation.scores import evaluate, find_blank_pictures
from sparsegen.evaluation.tasks import Task, object_seed, views_of

TARGETS = (0, 1, 2, 4)


@dataclass(frozen=True)
class Oracle:
    """Knows the test set: the object by its picture (or by its seed, blind to the input), then the truth."""

    viewsets: Viewsets
    blind: bool = False
    input_view: int = 3

    def ids(self, task: Task) -> list[int]:
        if self.blind:
            seeds = [object_seed(name, 0) for name in self.viewsets.names]
            return [seeds.index(seed) for seed in task.seeds]
        everyone = range(len(self.viewsets.names))
        pictures = views_of(self.viewsets, everyone, [self.input_view]).images
        return [int((pictures == given).flatten(1).all(dim=1).nonzero()) for given in task.inputs.images]

    def __call__(self, task: Task) -> Prediction:
        truth = views_of(self.viewsets, self.ids(task), TARGETS)
        assert truth.alphas is not None
        return Prediction(truth.images.clone(), truth.alphas.clone())


def test_perfect_pictures_score_perfectly(viewsets: Viewsets, protocol: Protocol) -> None:
    scores = evaluate(Oracle(viewsets), viewsets, protocol, name="oracle")
    summary = {key: mean for key, (mean, _) in scores.summary().items()}
    assert summary["psnr"] == summary["object_psnr"] == summary["input_gap"] == math.inf
    assert summary["ssim"] == pytest.approx(1, abs=1e-6)
    assert summary["alpha_iou"] == 1
    assert summary["gradient_energy"] == pytest.approx(1)
    assert scores.target_views == TARGETS
    assert scores.per_view["psnr"].shape == (6, 4)
    assert not scores.problems


def test_planted_faults_give_the_numbers_that_they_must(viewsets: Viewsets, protocol: Protocol) -> None:
    oracle = Oracle(viewsets)

    def faulty(task: Task) -> Prediction:
        perfect = oracle(task)
        alpha = perfect.alpha.clone()
        alpha[:, 1] = 0  # one of four silhouettes is lost
        return Prediction(perfect.rgb - 0.1, alpha)

    scores = evaluate(faulty, viewsets, protocol, name="faulty")
    torch.testing.assert_close(scores.per_view["psnr"], torch.full((6, 4), 20.0))
    torch.testing.assert_close(scores.per_view["object_psnr"], torch.full((6, 4), 20.0))
    torch.testing.assert_close(scores.per_object["alpha_iou"], torch.full((6,), 0.75))
    assert scores.summary()["psnr"] == (pytest.approx(20, abs=1e-4), pytest.approx(0, abs=1e-4))


def test_the_mean_is_over_views_of_the_views_own_psnr(viewsets: Viewsets, protocol: Protocol) -> None:
    offsets = torch.tensor([0.1, 0.01, 0.1, 0.01])
    oracle = Oracle(viewsets)

    def uneven(task: Task) -> Prediction:
        perfect = oracle(task)
        return Prediction(perfect.rgb - offsets[:, None, None, None], perfect.alpha)

    scores = evaluate(uneven, viewsets, protocol, name="uneven")
    torch.testing.assert_close(scores.per_object["psnr"], torch.full((6,), 30.0), atol=1e-3, rtol=0)


def test_an_input_blind_predictor_has_no_input_gap(viewsets: Viewsets, protocol: Protocol) -> None:
    blind = Oracle(viewsets, blind=True)
    assert evaluate(blind, viewsets, protocol, name="perfect").summary()["input_gap"] == (0, 0)

    def blind_and_bad(task: Task) -> Prediction:
        perfect = blind(task)
        return Prediction(perfect.rgb * 0.5, perfect.alpha)

    assert (evaluate(blind_and_bad, viewsets, protocol, name="bad").per_object["input_gap"] == 0).all()


def test_the_other_picture_is_the_next_objects(viewsets: Viewsets, protocol: Protocol) -> None:
    """With shuffled inputs the oracle draws the next object; its scores follow by hand."""
    scores = evaluate(Oracle(viewsets), viewsets, protocol, name="oracle", shuffled_inputs=True)
    truth = views_of(viewsets, range(6), TARGETS).images
    first, second = metrics.psnr(truth.roll(-1, 0), truth), metrics.psnr(truth.roll(-2, 0), truth)
    torch.testing.assert_close(scores.per_view["psnr"], first)
    torch.testing.assert_close(scores.per_view["input_gap"], first - second)


def test_scores_do_not_depend_on_the_batch_size(viewsets: Viewsets, protocol: Protocol) -> None:
    oracle = Oracle(viewsets)

    def noisy(task: Task) -> Prediction:
        perfect = oracle(task)
        noise = [
            torch.randn(perfect.rgb.shape[1:], generator=torch.Generator().manual_seed(s)) for s in task.seeds
        ]
        return Prediction(perfect.rgb + 0.1 * torch.stack(noise), perfect.alpha)

    one, four, all_at_once = (
        evaluate(noisy, viewsets, protocol, name="noisy", batch_size=size) for size in (1, 4, 8)
    )
    for key, values in one.per_view.items():
        torch.testing.assert_close(values, four.per_view[key])
        torch.testing.assert_close(values, all_at_once.per_view[key])
    other_seed = evaluate(noisy, viewsets, protocol, name="noisy", seed=1)
    assert (other_seed.per_view["psnr"] != one.per_view["psnr"]).all()


def test_a_render_with_nan_is_named_and_spoils_no_mean(viewsets: Viewsets, protocol: Protocol) -> None:
    oracle = Oracle(viewsets)
    seed = object_seed(viewsets.names[2], 0)

    def broken(task: Task) -> Prediction:
        perfect = oracle(task)
        rgb = perfect.rgb - 0.1
        for row in [i for i, s in enumerate(task.seeds) if s == seed]:
            rgb[row, 3, 1, 5, 5] = torch.nan
        return Prediction(rgb, perfect.alpha)

    scores = evaluate(broken, viewsets, protocol, name="broken")
    assert scores.problems == {"object-2": "NaN or infinity in the render of view 4"}
    assert scores.scored == [0, 1, 3, 4, 5]
    assert scores.per_view["psnr"][2].isnan().all()
    assert scores.summary()["psnr"][0] == pytest.approx(20, abs=1e-4)


def test_an_object_with_blank_true_pictures_is_named_and_left_out(
    viewsets: Viewsets, protocol: Protocol
) -> None:
    images = viewsets.images.copy()
    images[1] = 255  # an all-white car
    images[4, (0, 2), :, :, 3] = 0  # out of view twice
    spoiled = replace(viewsets, images=images)
    assert find_blank_pictures(spoiled) == {
        "object-1": "nothing to see in the true picture of 5 views (0, 1, 2, …)",
        "object-4": "nothing to see in the true picture of 2 views (0, 2)",
    }
    scores = evaluate(Oracle(spoiled), spoiled, protocol, name="oracle", shuffled_inputs=True)
    assert scores.scored == [0, 2, 3, 5]
    truth = views_of(viewsets, [0, 2, 3, 5], TARGETS).images
    torch.testing.assert_close(scores.per_view["psnr"][scores.scored], metrics.psnr(truth.roll(-1, 0), truth))


def test_without_common_cameras_or_other_objects_there_is_no_gap(
    viewsets: Viewsets, protocol: Protocol
) -> None:
    def blank(task: Task) -> Prediction:
        b, v = task.targets.batch_shape
        return Prediction(torch.ones(b, v, 3, 24, 24), torch.zeros(b, v, 24, 24))

    turned = viewsets.cameras.viewmats.clone()
    turned[0, 3, 2, 3] += 0.1
    own = replace(viewsets, cameras=replace(viewsets.cameras, viewmats=turned))
    alone = Viewsets(viewsets.images[:1], viewsets.cameras[:1], viewsets.names[:1])
    for some in (own, alone):
        assert "input_gap" not in evaluate(blank, some, protocol, name="blank").summary()
        with pytest.raises(InputError, match="inputs can be shuffled only among three or more objects"):
            evaluate(blank, some, protocol, name="blank", shuffled_inputs=True)


def test_sets_that_cannot_be_scored_are_refused(viewsets: Viewsets, protocol: Protocol) -> None:
    oracle = Oracle(viewsets)
    with pytest.raises(InputError, match=r"protocol far needs view 9 .* found 5 views an object"):
        evaluate(oracle, viewsets, Protocol("far", (9,)), name="oracle")
    white = replace(viewsets, images=np.full_like(viewsets.images, 255))
    with pytest.raises(
        InputError, match=r"no object of the test set could be scored \(object-0: nothing to see"
    ):
        evaluate(oracle, white, protocol, name="oracle")
    empty = Viewsets(viewsets.images[:0], viewsets.cameras[:0], [])
    with pytest.raises(InputError, match="no object of the test set could be scored"):
        evaluate(oracle, empty, protocol, name="oracle")


def test_more_picture_metrics_join_the_table(viewsets: Viewsets, protocol: Protocol) -> None:
    def largest_error(images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return (images - truth).abs().amax(dim=(-3, -2, -1))

    scores = evaluate(
        Oracle(viewsets), viewsets, protocol, name="oracle", picture_metrics={"largest": largest_error}
    )
    assert scores.summary()["largest"] == (0, 0)
