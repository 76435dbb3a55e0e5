"""Photos: framed as the camera would have seen a typical object."""

import json
import math

import pytest
import torch

from sparsegen import photos
from sparsegen.cameras import on_sphere
from sparsegen.errors import InputError
from sparsegen.formats.images import save_image


def save_blob(path, size=(60, 90), alpha=True, color=(0.8, 0.2, 0.1)):
    """A red rectangle, off centre, cut out or on white."""
    height, width = size
    rgba = torch.ones(4, height, width)
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[10:30, 20:70] = True
    rgba[:3, inside] = torch.tensor(color)[:, None]
    rgba[3] = inside.float()
    save_image(path, rgba if alpha else rgba[:3])
    return path


def box(views):
    """Bounding box of what the first view covers: left, top, right, bottom."""
    assert views.alphas is not None
    covered = views.alphas[0, 0] > 0.5
    rows, columns = torch.where(covered.any(1))[0], torch.where(covered.any(0))[0]
    return columns[0].item(), rows[0].item(), columns[-1].item() + 1, rows[-1].item() + 1


@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize(("azimuth", "elevation"), [(-36, 26), (90, 10), (0, 0)])
def test_the_object_fills_the_typical_frame(tmp_path, alpha, azimuth, elevation):
    views = photos.frame(
        photos.read_photo(save_blob(tmp_path / "a.png", alpha=alpha)), 128, azimuth, elevation
    )
    left, top, right, bottom = box(views)
    span, center = photos.typical_frame(views.cameras[0, 0])
    assert max(right - left, bottom - top) == pytest.approx(128 * span, abs=1.5)
    assert (left + right) / 2 == pytest.approx(128 * center[0], abs=1.5)
    assert (top + bottom) / 2 == pytest.approx(128 * center[1], abs=1.5)
    middle = views.images[0, 0, :, int(top + bottom) // 2, int(left + right) // 2]
    torch.testing.assert_close(middle, torch.tensor([0.8, 0.2, 0.1]), rtol=0, atol=0.01)
    torch.testing.assert_close(views.images[0, 0, :, 0, 0], torch.ones(3), rtol=0, atol=0.01)


def test_typical_frame_from_the_side_is_the_projected_outline():
    """Seen level from the side, the larger side of the frame is the length at its nearest."""
    camera = on_sphere(torch.tensor(math.pi / 2), torch.tensor(0.0))
    span, center = photos.typical_frame(camera)
    length, width, _ = photos.HALF_EXTENTS
    nearest, farthest = (2 * length * 131.25 / (1.3 + side) / 128 for side in (-width, width))
    assert farthest < span < nearest
    assert center[0] == pytest.approx(0.5, abs=1e-3)


def test_framed_pictures_are_taken_whole(tmp_path):
    path = save_blob(tmp_path / "a.png", size=(80, 80))
    views = photos.take_whole(photos.read_photo(path), 80)
    assert box(views) == (20, 10, 70, 30)


def test_the_camera_stands_where_it_was_said(tmp_path):
    views = photos.frame(photos.read_photo(save_blob(tmp_path / "a.png")), 32, azimuth=90, elevation=30)
    expected = 1.3 * torch.tensor([0.0, math.cos(math.radians(30)), 0.5])
    torch.testing.assert_close(views.cameras.centers[0, 0], expected)


def write_transforms(folder, names, cameras, width, height):
    matrices = cameras.to_camera_to_world("opengl")
    frames = [
        {"file_path": f"images/{name}", "transform_matrix": m.tolist()}
        for name, m in zip(names, matrices, strict=True)
    ]
    content = {"fl_x": 100.0, "w": width, "h": height, "frames": frames}
    path = folder / "transforms.json"
    path.write_text(json.dumps(content))
    return path


def test_posed_photos_keep_their_rays_when_padded(tmp_path):
    """A point projects onto the same picture content before and after padding and scaling."""
    cameras = on_sphere(torch.tensor([0.1, 1.5]), torch.tensor([0.3, 0.4]))
    transforms = write_transforms(tmp_path, ["a", "b"], cameras, 90, 60)
    paths = [save_blob(tmp_path / f"{name}.png") for name in ("b", "a")]
    views = photos.pose_photos(paths, [photos.read_photo(path) for path in paths], transforms, 45)
    torch.testing.assert_close(views.cameras.centers[0], cameras.centers.flip(0), rtol=0, atol=1e-5)
    point = torch.tensor([[[0.1, -0.2, 0.05]]])
    rotation, shift = cameras.viewmats[1, :3, :3], cameras.viewmats[1, :3, 3]
    local = rotation @ point[0, 0] + shift
    pixel = 100 * local[:2] / local[2] + torch.tensor([45.0, 30.0])
    found, _ = views.cameras[0, :1].project(point)
    torch.testing.assert_close(found[0, 0], (pixel + torch.tensor([0.0, 15.0])) / 2, rtol=0, atol=1e-3)
    assert box(views) == pytest.approx((10, 12.5, 35, 22.5), abs=0.5)


def test_a_photo_without_a_frame_is_named(tmp_path):
    transforms = write_transforms(tmp_path, ["a"], on_sphere(torch.zeros(1), torch.zeros(1)), 90, 60)
    path = save_blob(tmp_path / "b.png")
    cutout = photos.read_photo(path)
    with pytest.raises(InputError, match=r"b\.png.*no frame"):
        photos.pose_photos([path], [cutout], transforms, 32)


@pytest.mark.parametrize("distance", [1.3, 2.0, 2.8])
@pytest.mark.parametrize(("height", "width"), [(300, 300), (240, 400)])
def test_the_lens_tells_how_far_away_the_object_was(distance, height, width):
    """A typical object's outline, projected by a camera at a known distance with a known lens."""
    in_pixels = 360.0
    camera = on_sphere(torch.tensor(0.6), torch.tensor(0.4), distance, width, in_pixels)
    pixels, _ = camera.project(photos._typical_points(20000))
    pixels = (pixels + torch.tensor([0, (height - width) / 2])).floor().long()
    rgba = torch.zeros(4, height, width)
    rgba[:, pixels[:, 1].clamp(0, height - 1), pixels[:, 0].clamp(0, width - 1)] = 1
    focal_length = in_pixels * photos.FILM_DIAGONAL / math.hypot(height, width)
    found = photos.distance_of(rgba, focal_length, math.degrees(0.6), math.degrees(0.4))
    assert found == pytest.approx(distance, rel=0.02)
    views = photos.frame(rgba, 64, math.degrees(0.6), math.degrees(0.4), found)
    assert views.cameras.centers[0, 0].norm() == pytest.approx(found)
    assert views.cameras.Ks[0, 0, 0, 0] / found == pytest.approx(131.25 / 2 / 1.3)


def test_a_photo_keeps_its_picture_and_says_what_cut_it_out(tmp_path):
    path = save_blob(tmp_path / "a.png", alpha=False)
    mask = torch.zeros(3, 60, 90)
    mask[:, 10:50, 20:70] = 1
    save_image(tmp_path / "m.png", mask)
    photo = photos.open_photo(path, "border")
    assert photo.original[3].min() == 1
    assert photo.method == "its plain background"
    assert photo.focal_length is None
    assert (photos.open_photo(path, mask=tmp_path / "m.png").rgba[3] == mask[0]).all()
