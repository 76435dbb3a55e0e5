"""The camera head: its targets and guesses in closed form, and that it learns where cameras were."""

import numpy as np
import pytest
import torch

from networks import build, small
from sparsegen import photos
from sparsegen.cameras import FOCAL_128, on_sphere
from sparsegen.cli.main import main
from sparsegen.data.packed import Viewsets, save_packed
from sparsegen.formats.images import save_image
from sparsegen.models.camera_head import (
    AZIMUTHS,
    ELEVATIONS,
    CameraHead,
    CameraHeadConfig,
    Framing,
    cell_centers,
    cell_targets,
    crop_to_object,
    directions_to,
    likely_directions,
)
from sparsegen.models.foreground import ForegroundConfig, ForegroundNet
from sparsegen.models.pretrained import save_pretrained
from sparsegen.photos import frame
from sparsegen.splatting import render
from sparsegen.training.camera_head import (
    CameraHeadTraining,
    camera_batch,
    direction_errors,
    framing_errors,
    roll_errors,
    train_camera_head,
    true_frames,
)
from sparsegen.training.disguises import disguised
from sparsegen.training.scenes import Scenery


def test_targets_peak_at_the_true_cell_and_sum_to_one():
    azimuths, elevations = cell_centers()
    targets = cell_targets(torch.tensor([-120.0, 170.0]), torch.tensor([20.0, 0.0]))
    torch.testing.assert_close(targets.sum((1, 2)), torch.ones(2))
    for target, direction in zip(targets, [(-120, 20), (170, 0)], strict=True):
        row, column = divmod(int(target.argmax()), ELEVATIONS)
        assert (azimuths[row], elevations[column]) == direction
    assert targets[1, 0, 0] > targets[1, 1, 0]  # -180 is nearer to 170 than -170 is


def test_guesses_find_a_direction_between_cells_and_across_the_seam():
    for azimuth, elevation in [(33.0, 24.0), (-178.0, 41.0), (176.0, 12.0), (-7.0, 70.0), (24.0, 61.0)]:
        targets = cell_targets(torch.tensor([azimuth]), torch.tensor([elevation]))
        best = likely_directions(targets[0].log())[0]
        assert abs((best.azimuth - azimuth + 180) % 360 - 180) < 1.5
        assert best.elevation == pytest.approx(elevation, abs=1.5)
        # From high above, azimuths far apart are about the same direction.
        assert best.chance == pytest.approx(1, abs=0.01 if elevation < 50 else 0.2)


def test_no_chance_elsewhere_is_no_guess():
    sure = torch.full((AZIMUTHS, ELEVATIONS), -200.0)
    sure[3, 4] = 0
    (only,) = likely_directions(sure)
    assert only.chance == 1


def test_two_likely_directions_are_two_guesses_with_their_chances():
    both = cell_targets(torch.tensor([0.0, 180.0]), torch.tensor([20.0, 20.0]))
    first, second, *_ = likely_directions((0.7 * both[0] + 0.3 * both[1]).log())
    assert (first.azimuth, first.chance) == (pytest.approx(0, abs=1), pytest.approx(0.7, abs=0.01))
    assert (abs(second.azimuth), second.chance) == (pytest.approx(180, abs=1), pytest.approx(0.3, abs=0.01))


def test_the_crop_is_the_object_wherever_it_stands():
    """A red block off the middle fills the same share of the crop, and the rest is white."""
    crops = []
    for top, left in [(3, 5), (30, 20)]:
        images, alphas = torch.ones(1, 3, 64, 64), torch.zeros(1, 64, 64)
        images[0, 1:, top : top + 12, left : left + 24] = 0
        alphas[0, top : top + 12, left : left + 24] = 1
        crops.append(crop_to_object(images, alphas, 32))
    torch.testing.assert_close(crops[0], crops[1], rtol=0, atol=1e-5)
    assert crops[0][0, 3].mean() == pytest.approx(24 * 12 / (24 * 1.15) ** 2, rel=0.05)
    white = crops[0][0, 3] == 0
    torch.testing.assert_close(crops[0][0, :3, white], torch.ones(3, int(white.sum())))


def two_colored_objects(count: int, views: int, seed: int) -> Viewsets:
    """Balls with a red front (+X), green top and blue, asymmetric left side: the view says the camera."""
    from sparsegen.gaussians import Gaussians

    generator = torch.Generator().manual_seed(seed)
    azimuth = 2 * torch.pi * torch.rand(count, views, generator=generator)
    elevation = torch.deg2rad(80 * torch.rand(count, views, generator=generator))
    cameras = on_sphere(azimuth, elevation, size=64)
    means = torch.tensor([[0.25, 0, 0], [-0.25, 0, 0], [0, 0.2, 0], [0, -0.2, 0], [0, 0, 0.2]])
    colors = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 1.0], [1.0, 1, 0], [0, 1.0, 0]])
    quats = torch.tensor([[1.0, 0, 0, 0]]).expand(5, 4)
    balls = Gaussians(means, quats, torch.full((5, 3), 0.07), torch.full((5,), 0.95), colors)
    images = np.zeros((count, views, 64, 64, 4), np.uint8)
    for i in range(count):
        rendering = render(balls, cameras[i], background=None, depth=False)
        alpha = rendering.alpha[:, None]
        rgba = torch.cat([rendering.rgb / alpha.clamp_min(1e-3), alpha], 1)
        images[i] = (255 * rgba.clamp(0, 1)).round().byte().permute(0, 2, 3, 1).numpy()
    return Viewsets(images, cameras, [f"o{i}" for i in range(count)], has_alpha=True)


@pytest.mark.slow
def test_it_learns_where_pictures_were_taken_from():
    recipe = CameraHeadTraining(steps=80, batch_size=16, mirrored=False)
    head = train_camera_head(Scenery(two_colored_objects(10, 40, 0)), recipe)
    held_out = two_colored_objects(2, 20, 1)
    turns, rises = direction_errors(head, held_out)
    assert turns.median() < 15
    assert rises.median() < 10
    found, typical = framing_errors(head, held_out)  # the balls are no typical car
    assert found[..., 0].median() < 0.3 * typical[..., 0].median()


def test_frames_say_how_far_away_cameras_were():
    """Whatever the lens: what it makes of an object as large as a typical one is that one's frame."""
    angles = torch.tensor([[0.3, 0.1], [2.0, 0.5], [-2.5, 0.9], [4.0, 1.2]])
    far = on_sphere(angles[:, 0], angles[:, 1], radius=2.6, size=512, focal=4 * FOCAL_128 * 2)
    typical = torch.zeros(4, 512, 512)
    for i in range(4):
        pixels = far[i].project(photos._typical_points(200_000))[0].floor().long()
        typical[i, pixels[:, 1], pixels[:, 0]] = 1
    frames = true_frames(typical, far)
    torch.testing.assert_close(frames[:, 3], torch.full((4,), 2.0).log())
    torch.testing.assert_close(frames[:, :3], torch.zeros(4, 3), rtol=0, atol=0.01)


def test_a_true_frame_puts_the_object_back_where_it_was():
    """A cut-out somewhere else in a larger picture, framed by what `true_frames` measured."""
    objects = two_colored_objects(1, 6, 2)
    views = objects.views(np.array([0]), np.arange(6)[None])
    assert views.alphas is not None
    frames = true_frames(views.alphas[0], views.cameras[0])
    assert frames[:, :3].abs().amax(0).min() > 0.02  # none of the three is zero for all
    torch.testing.assert_close(frames[:, 3], torch.zeros(6), rtol=0, atol=1e-6)
    azimuths, elevations = directions_to(views.cameras.centers[0])
    for i, (log_zoom, right, down, _) in enumerate(frames.tolist()):
        rgba = torch.zeros(4, 90, 120)
        rgba[:, 20:84, 3:67] = torch.from_numpy(objects.images[0, i]).permute(2, 0, 1) / 255
        framing = Framing(np.exp(log_zoom), right, down)
        again = frame(rgba, 64, float(azimuths[i]), float(elevations[i]), framing=framing)
        typical = frame(rgba, 64, float(azimuths[i]), float(elevations[i]))
        errors = [(each.images[0, 0] - views.images[0, i]).square().mean() for each in (again, typical)]
        assert errors[0] < 1e-3
        assert errors[1] > 5 * errors[0]


@pytest.mark.parametrize("rolls", [False, True])
def test_a_new_head_finds_every_object_typical_and_level(rolls):
    head = CameraHead(CameraHeadConfig(size=16, width=8, rolls=rolls)).eval()
    assert head.rolls_of(torch.rand(1, 4, 16, 16)) == 0
    assert head.frame_of(torch.rand(4, 16, 16), 30.0, 20.0) == Framing()


def test_a_mirrored_picture_is_taken_for_one_from_the_mirrored_side():
    """Whatever the weights: of the same height, size, distance, and of the opposite azimuth, shift, roll."""
    head = CameraHead(CameraHeadConfig(size=16, width=8, rolls=True)).eval()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    crops, azimuths = torch.rand(3, 4, 16, 16), torch.tensor([10.0, -70.0, 180.0])
    found, mirrored = (
        likely_directions(x) for x in head.directions_of(torch.stack([crops[0], crops[0].flip(-1)]))
    )
    for one, other in zip(found, mirrored, strict=True):
        assert (one.azimuth + other.azimuth + 180) % 360 - 180 == pytest.approx(0, abs=0.01)
        assert (one.elevation, one.chance) == pytest.approx((other.elevation, other.chance), abs=1e-3)
    frames = head.frames_of(crops, azimuths, torch.full((3,), 20.0))
    assert frames.abs().amax(0).min() > 1e-6
    other_side = head.frames_of(crops.flip(-1), -azimuths, torch.full((3,), 20.0))
    torch.testing.assert_close(other_side, frames * torch.tensor([1, -1, 1, 1]))
    rolls = head.rolls_of(crops)
    assert rolls.abs().max() > 1e-3
    torch.testing.assert_close(head.rolls_of(crops.flip(-1)), -rolls)


def test_disguises_change_the_object_and_nothing_around_it():
    """A red square with a green lamp: in most pictures it is no longer red, in some there is no lamp."""
    rgba = torch.ones(4, 32, 32)
    rgba[3] = 0
    rgba[:, 8:24, 8:24] = torch.tensor([0.8, 0.1, 0.1, 1.0])[:, None, None]
    rgba[:3, 14:18, 14:18] = torch.tensor([0.1, 0.8, 0.1])[:, None, None]
    crops = rgba.expand(400, 4, 32, 32)
    found = disguised(crops, torch.Generator().manual_seed(0))
    again = disguised(crops, torch.Generator().manual_seed(0))
    assert torch.equal(found, again)
    color, alpha = found[:, :3], found[:, 3:]
    assert 0 <= found.min() <= found.max() <= 1
    assert (color[(alpha == 0).expand_as(color)] == 1).all()
    sharp = (alpha == crops[:, 3:]).flatten(1).all(1)
    assert 0.7 < sharp.float().mean() < 0.9
    paint, lamp = color[sharp, :, 9, 9], color[sharp, :, 16, 16]
    assert 0.1 < (paint.argmax(1) != 0).float().mean() < 0.5
    assert 0.05 < (paint.amax(1) - paint.amin(1) < 0.15).float().mean() < 0.5
    assert 0.02 < ((paint - lamp).abs().amax(1) < 0.02).float().mean() < 0.4


def test_mirrored_pictures_carry_mirrored_directions():
    """With mirroring, half of the batch is flipped, and its target with it."""
    viewsets = two_colored_objects(1, 1, 3)
    azimuth = directions_to(viewsets.cameras.centers[0])[0][0]
    batch = camera_batch(Scenery(viewsets), CameraHeadTraining(batch_size=64, tilted=0), 0, 64)
    flipped = batch.azimuths != azimuth
    torch.testing.assert_close(batch.azimuths[flipped], -azimuth.expand(int(flipped.sum())))
    assert 16 < flipped.sum() < 48
    log_zoom, right, down, farther = batch.frames[~flipped][0].tolist()
    assert abs(right) > 0.01
    mirrored = torch.tensor([log_zoom, -right, down, farther])
    torch.testing.assert_close(batch.frames[flipped], mirrored.expand(int(flipped.sum()), 4))


def test_tilted_pictures_are_turned_clockwise_by_their_rolls():
    """A level bar's main axis afterwards, by its moments."""
    viewsets = bars()
    recipe = CameraHeadTraining(batch_size=64, tilted=0.5)
    crops, _, _, _, rolls = camera_batch(Scenery(viewsets), recipe, 0, 64)
    assert 16 < (rolls == 0).sum() < 48
    assert 10 < rolls.max() < 15
    assert -15 < rolls.min() < -10
    axis = torch.arange(64) - 31.5
    total = crops[:, 3].sum((1, 2))
    across, down = ((crops[:, 3].sum(d) * axis).sum(1) / total for d in (1, 2))
    x, y = axis - across[:, None], axis - down[:, None]
    xx, yy = (crops[:, 3].sum(1) * x**2).sum(1), (crops[:, 3].sum(2) * y**2).sum(1)
    xy = (crops[:, 3] * y[:, :, None] * x[:, None]).sum((1, 2))
    angle = torch.rad2deg(torch.atan2(2 * xy, xx - yy)) / 2  # of the picture's rows, clockwise
    torch.testing.assert_close(angle, rolls, rtol=0, atol=0.7)


def bars() -> Viewsets:
    """A level bar off the middle of every picture."""
    images = np.zeros((1, 2, 64, 64, 4), np.uint8)
    images[:, :, 26:34, 14:46] = 255
    return Viewsets(images, on_sphere(torch.zeros(1, 2), torch.zeros(1, 2), size=64), ["bar"])


@pytest.mark.slow
def test_it_learns_how_far_cameras_were_tilted():
    head = train_camera_head(Scenery(bars()), CameraHeadTraining(steps=60, batch_size=32))
    assert roll_errors(head, bars()).median() < 2.5  # 7.5, were all found level


def test_a_head_that_says_no_rolls_learns_them_and_forgets_nothing():
    """Trained for no steps, it says what it said before."""
    start = CameraHead(CameraHeadConfig(size=32, width=8)).eval()
    for parameter in start.framing.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    recipe = CameraHeadTraining(steps=1, lr=0.0, batch_size=2)
    head = train_camera_head(Scenery(bars()), recipe, start=start)
    assert head.config == CameraHeadConfig(size=32, width=8, rolls=True)
    crops, angles = torch.rand(3, 4, 32, 32), torch.tensor([10.0, 40.0, -80.0])
    torch.testing.assert_close(head.directions_of(crops), start.directions_of(crops))
    frames = [each.frames_of(crops, angles, angles) for each in (head, start)]
    assert frames[0].abs().amax(0).min() > 1e-4
    torch.testing.assert_close(*frames)
    assert train_camera_head(Scenery(bars()), recipe, start=head) is head


def test_the_command_needs_the_folder_of_a_model(tmp_path, capsys):
    save_packed(two_colored_objects(1, 2, 0), tmp_path / "a.pack")
    assert main(["camera", str(tmp_path / "a.pack"), "-o", str(tmp_path)]) == 2
    assert "config.json" in capsys.readouterr().err


def test_the_command_writes_a_head_that_a_pipeline_finds(tmp_path, capsys):
    from sparsegen.generation import Pipeline

    save_pretrained(build(small()), tmp_path / "model")
    save_packed(two_colored_objects(2, 3, 0), tmp_path / "a.pack")
    data = str(tmp_path / "a.pack")
    argv = ["camera", data, "--val", data, "-o", str(tmp_path / "model"), "--steps", "2"]
    save_pretrained(ForegroundNet(ForegroundConfig(size=32, width=8)), tmp_path / "model" / "foreground")
    (tmp_path / "photos").mkdir()
    save_image(tmp_path / "photos" / "a.png", torch.rand(3, 60, 90))
    assert main([*argv, "--backgrounds", str(tmp_path / "photos")]) == 0
    assert "within 30 degrees" in capsys.readouterr().out
    head = Pipeline.from_pretrained(tmp_path / "model", device="cpu").camera_head
    assert isinstance(head, CameraHead)
    assert head(torch.zeros(1, 4, 64, 64)).shape == (1, AZIMUTHS, ELEVATIONS)
    assert head.config == CameraHeadConfig(rolls=True)
    kept = {name: value.clone() for name, value in head.state_dict().items()}
    go_on = ["camera", data, "-o", str(tmp_path / "model"), "--steps", "1", "--init", str(tmp_path / "model")]
    assert main(go_on) == 0
    after = Pipeline.from_pretrained(tmp_path / "model", device="cpu").camera_head
    assert isinstance(after, CameraHead)
    moved = [(kept[name] - value).abs().max() for name, value in after.named_parameters()]
    assert 0 < max(moved) < 1e-3  # one warm step away; a new head would be far
    save_pretrained(build(small()), tmp_path / "headless")
    assert main([*go_on[:-1], str(tmp_path / "headless")]) == 2
    assert "holds no camera head" in capsys.readouterr().err
