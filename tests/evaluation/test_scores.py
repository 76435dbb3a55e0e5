"""`evaluate` on predictors whose scores are known beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsegen import metrics
from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol
from sparsegen.errors import InputError
from sparsegen.evaluation.bias import by_angle, input_view_bias
from sparsegen.evaluation.predictors import Prediction
from sparsegen.evaluation.progress import Progress
from sparsegen.evaluation.scores import Scores, evaluate
from sparsegen.evaluation.soundness import find_blank_pictures, find_problems
from sparsegen.evaluation.tasks import Task, object_seed, views_of
from sparsegen.splatting import render
from sparsegen.splatting.scenes import random_scene

TARGETS = (0, 1, 2, 4)
DRAWN = (*TARGETS, 3)  # the input view comes last


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
        truth = views_of(self.viewsets, self.ids(task), DRAWN)
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
    offsets = torch.tensor([0.1, 0.01, 0.1, 0.01, 0.5])
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
        assert (values == four.per_view[key]).all()
        assert (values == all_at_once.per_view[key]).all()
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


def test_the_input_views_are_scored_apart(viewsets: Viewsets, protocol: Protocol) -> None:
    """A predictor that is 20 dB better on its input view has that bias, and its means do not show it."""
    offsets = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.01])
    oracle = Oracle(viewsets)

    def biased(task: Task) -> Prediction:
        perfect = oracle(task)
        return Prediction(perfect.rgb - offsets[:, None, None, None], perfect.alpha)

    scores = evaluate(biased, viewsets, protocol, name="biased")
    torch.testing.assert_close(scores.at_inputs["psnr"], torch.full((6, 1), 40.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(scores.per_object["psnr"], torch.full((6,), 20.0), atol=1e-3, rtol=0)
    assert input_view_bias(scores)["psnr"] == (pytest.approx(20, abs=1e-3), pytest.approx(0, abs=1e-3))
    assert input_view_bias(scores)["alpha_iou"][0] == 0
    seen, *judged = by_angle(scores, "psnr")
    assert (seen.high, seen.count, seen.mean) == (0, 6, pytest.approx(40, abs=1e-3))
    assert sum(bin.count for bin in judged) == 6 * 4
    assert all(bin.mean == pytest.approx(20, abs=1e-3) for bin in judged)


def test_an_interrupted_evaluation_goes_on_where_it_was(
    viewsets: Viewsets, protocol: Protocol, tmp_path: Path
) -> None:
    oracle = Oracle(viewsets)
    met: list[int] = []

    def stopping(task: Task, after: int) -> Prediction:
        if len(met) >= after:
            raise KeyboardInterrupt
        met.extend(oracle.ids(task))
        perfect = oracle(task)
        return Prediction(perfect.rgb * 0.7, perfect.alpha)

    def score(after: int, key: str = "weights") -> Scores:
        return evaluate(
            lambda task: stopping(task, after),
            viewsets,
            protocol,
            name="stopping",
            batch_size=2,
            resume=Progress(tmp_path / "unfinished.jsonl", key),
        )

    with pytest.raises(KeyboardInterrupt):
        score(after=8)  # two batches, each with its own pictures and with others'
    with (tmp_path / "unfinished.jsonl").open("a") as file:
        file.write('\n{"key": "weights", "obj')  # the machine went off in the middle of a line
    met.clear()
    resumed = score(after=99)
    assert sorted(set(met)) == [0, 4, 5]  # 0 is the other object of 5
    met.clear()
    whole = score(after=99, key="other weights")
    assert sorted(set(met)) == list(range(6))
    for key, values in whole.per_view.items():
        assert (values == resumed.per_view[key]).all()
    assert whole.summary() == resumed.summary()


def test_an_object_that_changed_is_scored_again(
    viewsets: Viewsets, protocol: Protocol, tmp_path: Path
) -> None:
    resume = Progress(tmp_path / "unfinished.jsonl", "key")
    evaluate(Oracle(viewsets), viewsets, protocol, name="oracle", resume=resume)
    images = viewsets.images.copy()
    images[2, 1, 12:] = 255 - images[2, 1, 12:]
    changed = replace(viewsets, images=images)
    met: list[int] = []

    def noting(task: Task) -> Prediction:
        met.extend(Oracle(changed).ids(task))
        return Oracle(changed)(task)

    evaluate(noting, changed, protocol, name="oracle", resume=resume, batch_size=1)
    assert sorted(met) == [1, 2, 2, 3]  # object 1 met object 2's pictures for its input gap


def test_depth_is_judged_where_both_have_a_surface(viewsets: Viewsets, protocol: Protocol) -> None:
    gaussians, _ = random_scene(count=60, objects=len(viewsets))
    gaussians = replace(gaussians, means=0.3 * gaussians.means, opacities=gaussians.opacities.clamp(min=0.8))
    drawn = render(gaussians, viewsets.cameras, depth=True)
    assert drawn.depth is not None
    depths = torch.where(drawn.alpha > 0.5, drawn.depth, 0.0)
    depths[1, 2] += 0.05 * (depths[1, 2] > 0)  # one of four judged views
    depths[2, :, :, :12] = 0  # nothing is known of one half
    depths[3, 0] = 0  # nor of a view

    def drawing(task: Task) -> Prediction:
        seeds = [object_seed(name, 0) for name in viewsets.names]
        own = gaussians[[seeds.index(seed) for seed in task.seeds]]
        rendering = render(own, task.targets)
        return Prediction(rendering.rgb, rendering.alpha, own)

    scores = evaluate(drawing, viewsets, protocol, name="drawing", depths=depths.numpy())
    expected = torch.tensor([0, 0.05 / 4, 0, 0, 0, 0])
    torch.testing.assert_close(scores.per_object["depth_error"], expected, atol=1e-6, rtol=0)
    assert scores.per_view["depth_error"].isnan().nonzero().tolist() == [[3, 0]]


def test_cameras_that_look_away_or_are_broken_are_named(viewsets: Viewsets) -> None:
    viewmats = viewsets.cameras.viewmats.clone()
    viewmats[1, 2, 2, 3] = -1.3  # the object is behind it
    viewmats[3, (0, 4), 0, 3] = 5.0  # beside the picture
    viewmats[4, 1, 0, 0] = torch.nan
    stray = replace(viewsets, cameras=replace(viewsets.cameras, viewmats=viewmats))
    assert find_problems(viewsets) == {}
    assert find_problems(stray) == {
        "object-1": "the camera of view 2 looks away from the object",
        "object-3": "the camera of 2 views (0, 4) looks away from the object",
        "object-4": "NaN or infinity in the camera of view 1",
    }


def test_two_objects_of_one_name_are_refused(viewsets: Viewsets) -> None:
    twins = replace(viewsets, names=["car", *viewsets.names[1:5], "car"])
    with pytest.raises(InputError, match="two objects named 'car'"):
        find_problems(twins)
