"""`sparsegen generate` as a person meets it."""

import re
import subprocess
import sys

import imageio_ffmpeg
import pytest
import torch
from PIL import Image
from plyfile import PlyData

from commands import files, one_line, run
from networks import build, small
from sparsegen import pose
from sparsegen.cameras import on_sphere
from sparsegen.formats.gaussian_files import load_gaussians
from sparsegen.models.pretrained import save_pretrained
from test_photos import save_blob, write_transforms

QUICK = ["--size", "32", "--frames", "3", "--device", "cpu"]
# Spares the search for the camera where it is not the point.
KNOWN = ["--azimuth", "-30", "--elevation", "20", *QUICK]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_pretrained(build(small()), folder)
    return str(folder)


def test_a_cold_process_imports_nothing_slow(tmp_path, model):
    """Each of these takes up to a second to import, and none is needed."""
    photo = save_blob(tmp_path / "photo.png")
    argv = ["generate", str(photo), "--model", model, "-o", str(tmp_path / "out"), *QUICK]
    slow = {"sympy", "torch._dynamo", "hydra", "tensorboard", "torchmetrics", "lightning_fabric", "trimesh"}
    code = f"import sys; from sparsegen.cli.main import main; assert main({argv}) == 0; "
    code += f"print(sorted({slow} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_one_picture_gives_three_files_that_others_read(tmp_path, model, capsys):
    photo, out = save_blob(tmp_path / "photo.png"), tmp_path / "out"
    assert not run("generate", photo, "--model", model, "-o", out, *QUICK)
    assert files(out) == ["photo.mp4", "photo.ply", "photo_views.png"]
    vertices = PlyData.read(out / "photo.ply")["vertex"]
    assert vertices.count == 12
    assert {"x", "opacity", "f_dc_0", "scale_2", "rot_3"} <= {p.name for p in vertices.properties}
    count, _ = imageio_ffmpeg.count_frames_and_secs(str(out / "photo.mp4"))
    assert count == 3
    with Image.open(out / "photo_views.png") as sheet:
        assert sheet.width > 9 * 32
    printed = capsys.readouterr().out
    assert "gaussians" in printed
    assert "taken from azimuth" in printed


def test_the_angle_that_is_not_given_is_estimated_and_told(tmp_path, model, capsys):
    photo, out = save_blob(tmp_path / "photo.png"), tmp_path / "out"
    common = ["--model", model, "--no-video", "-o", out, *QUICK]
    assert not run("generate", photo, *common)
    found = re.search(r"taken from azimuth (-?\d+), elevation (-?\d+)", capsys.readouterr().out)
    assert found
    assert not run("generate", photo, "--azimuth", found[1], *common)
    assert f"azimuth {found[1]} as given, elevation {found[2]}, it seems" in capsys.readouterr().out
    assert not run("generate", photo, "--azimuth", 10, "--framed", *common)
    assert "taken to be from azimuth 10, elevation 26" in capsys.readouterr().out


def test_a_tilted_picture_is_told_of_and_turned_level_unless_its_roll_is_given(
    tmp_path, model, capsys, monkeypatch
):
    """As if the model's head said so; the object of a picture left as it is is another."""
    monkeypatch.setattr(pose, "estimate_roll", lambda pipeline, rgba: -7.2)
    photo = save_blob(tmp_path / "photo.png")
    made = {}
    for given in ((), ("--roll", -7.2), ("--roll", 0)):
        out = tmp_path / "".join(map(str, given))
        assert not run("generate", photo, "--model", model, "--no-video", "-o", out, *given, *QUICK)
        told = "photo.png: tilted counterclockwise by 7 degrees, it seems; --roll" in capsys.readouterr().out
        assert told == (not given)
        made[given] = (out / "photo.ply").read_bytes()
    assert made[()] == made["--roll", -7.2] != made["--roll", 0]


def test_the_same_seed_writes_the_same_bytes(tmp_path, model):
    photo = save_blob(tmp_path / "photo.png")
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert not run(
            "generate", photo, "--model", model, "-o", tmp_path / out, "--seed", seed, "--steps", 2, *KNOWN
        )
    for suffix in ("photo.ply", "photo.mp4", "photo_views.png"):
        assert (tmp_path / "a" / suffix).read_bytes() == (tmp_path / "b" / suffix).read_bytes()
    assert (tmp_path / "a" / "photo.ply").read_bytes() != (tmp_path / "c" / "photo.ply").read_bytes()


def test_samples_are_numbered(tmp_path, model):
    photo, out = save_blob(tmp_path / "p.png"), tmp_path / "out"
    assert not run("generate", photo, "--model", model, "-o", out, "--samples", 2, *KNOWN)
    assert files(out) == ["p_0.mp4", "p_0.ply", "p_1.mp4", "p_1.ply", "p_views.png"]
    # Without --steps there are as many as samples need to differ; in one step the seed changes nothing.
    assert (out / "p_0.ply").read_bytes() != (out / "p_1.ply").read_bytes()


def test_posed_pictures_are_one_object(tmp_path, model):
    cameras = on_sphere(torch.tensor([0.0, 1.0]), torch.tensor([0.3, 0.3]))
    transforms = write_transforms(tmp_path, ["a", "b"], cameras, 90, 60)
    photos = [save_blob(tmp_path / f"{name}.png") for name in "ab"]
    out = tmp_path / "out"
    assert not run("generate", *photos, "--cameras", transforms, "--model", model, "-o", out, *QUICK)
    assert files(out) == ["a.mp4", "a.ply", "a_views.png"]


def test_photos_of_one_object_without_poses(tmp_path, model, capsys):
    photos, out = [save_blob(tmp_path / f"{name}.png") for name in "ab"], tmp_path / "out"
    argv = ["--together", "--refine", 2, "--no-video", "--model", model, "-o", out, *QUICK]
    assert not run("generate", *photos, *argv)
    assert files(out) == ["a.ply", "a_views.png"]
    printed = capsys.readouterr().out
    assert "b.png: azimuth" in printed
    assert "held out" in printed


def test_detail_comes_from_the_picture_at_its_own_size(tmp_path, model, capsys):
    photo, out = save_blob(tmp_path / "p.png"), tmp_path / "out"
    argv = ["--detail", "--refine", 2, "--no-video", "--model", model, "-o", out, *KNOWN]
    assert not run("generate", photo, *argv)
    assert load_gaussians(out / "p.ply").count == 9 * 12
    assert re.search(r"detail at \d+ pixels: .* dB on what it saw", capsys.readouterr().out)


def test_from_noise_alone(tmp_path, model):
    assert not run("generate", "--unconditional", "--steps", 2, "--model", model, "-o", tmp_path, *QUICK)
    assert files(tmp_path) == ["object.mp4", "object.ply", "object_views.png"]


def test_one_picture_to_a_file_of_any_format(tmp_path, model):
    photo, out = save_blob(tmp_path / "p.png"), tmp_path / "out"
    common = ["--model", model, "--no-video", *KNOWN]
    for name in ("car.spz", "car.glb", "car.compressed.ply"):
        assert not run("generate", photo, "-o", out / name, *common)
        assert load_gaussians(out / name).count == 12
    assert files(out) == ["car.compressed.ply", "car.glb", "car.spz", "car_views.png"]
    assert not run("generate", photo, "-o", out / "v1.2", "--format", "splat", *common)
    assert files(out / "v1.2") == ["p.splat", "p_views.png"]


def test_a_batch_of_a_folder_and_a_table(tmp_path, model, capsys):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        save_blob(tmp_path / folder / "car.png")
    save_blob(tmp_path / "opaque.png", alpha=False)
    save_blob(tmp_path / "mask.png", color=(1.0, 1.0, 1.0))
    table, out = tmp_path / "list.csv", tmp_path / "out"
    table.write_text("picture,mask,azimuth\nopaque.png,mask.png,10\na/car.png,,20\nnone.png,,3\n")
    common = ["--model", model, "--no-video", *KNOWN]
    assert run("generate", tmp_path / "b", table, "-o", out, *common) == 2
    assert files(out) == sorted(
        f"{n}{s}" for n in ("a_car", "b_car", "opaque") for s in (".ply", "_views.png")
    )
    captured = capsys.readouterr()
    assert "the mask" in captured.out
    assert captured.err.strip().splitlines()[-1].endswith(f"1 of 4 failed: {tmp_path / 'none.png'}")


def test_samples_are_ranked_by_their_match(tmp_path, model, capsys):
    photo = save_blob(tmp_path / "p.png")
    argv = ["--model", model, "-o", tmp_path / "out", "--no-video", "--samples", 3, "--steps", 2, *KNOWN]
    assert not run("generate", photo, *argv)
    printed = capsys.readouterr().out
    scores = [float(x) for x in re.findall(r"seed \d, ([\d.]+) dB", printed)]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert "alike" in printed


def test_what_cannot_be_written_is_noticed_before_the_work(tmp_path, model, capsys, monkeypatch):
    photo = save_blob(tmp_path / "p.png")
    monkeypatch.setattr("sparsegen.generation.Pipeline.from_pretrained", lambda *_: pytest.fail("too late"))
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "p.ply").mkdir()
    for output in (tmp_path / "file" / "out", tmp_path / "file" / "car.spz", tmp_path):
        assert run("generate", photo, "--model", model, "-o", output, *KNOWN) == 2
        assert "cannot be written" in one_line(capsys)


def test_one_bad_picture_does_not_stop_the_others(tmp_path, model, capsys):
    good, out = save_blob(tmp_path / "good.png"), tmp_path / "out"
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:60])
    assert run("generate", bad, good, "--model", model, "-o", out, *KNOWN) == 2
    assert files(out) == ["good.mp4", "good.ply", "good_views.png"]
    errors = capsys.readouterr().err
    assert "bad.png" in errors
    assert "Traceback" not in errors


def make_bad_picture(path, fault):
    if fault == "missing":
        return
    if fault == "empty":
        path.write_bytes(b"")
    elif fault == "text":
        path.write_text("not a picture")
    elif fault == "truncated":
        save_blob(path)
        path.write_bytes(path.read_bytes()[:80])
    elif fault == "transparent":
        Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(path)
    elif fault == "animated":
        frames = [Image.new("RGB", (20, 20), c) for c in ("red", "blue")]
        frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])
    elif fault == "busy":
        noise = (torch.rand(60, 60, 3, generator=torch.Generator().manual_seed(0)) * 255).byte()
        Image.fromarray(noise.numpy()).save(path)


@pytest.mark.parametrize(
    "fault", ["missing", "empty", "text", "truncated", "transparent", "animated", "busy"]
)
def test_a_bad_picture_is_one_line_and_leaves_nothing(tmp_path, model, capsys, fault):
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    make_bad_picture(photo, fault)
    assert run("generate", photo, "--model", model, "-o", out, *QUICK) == 2
    assert "photo.png" in one_line(capsys)
    assert not out.exists() or not files(out)


@pytest.mark.parametrize("matting", ["border", "grabcut"])
def test_a_picture_without_an_object_can_be_given_a_mask(tmp_path, model, capsys, matting):
    photo, mask = tmp_path / "photo.png", tmp_path / "mask.png"
    Image.new("RGB", (40, 30), (200, 30, 30)).save(photo)
    command = ("generate", photo, "--model", model, "-o", tmp_path / "out", *QUICK)
    assert run(*command, "--matting", matting) == 2
    assert one_line(capsys).endswith(
        "give a picture with alpha (RGBA PNG), or a --mask FILE, or a --box around the object"
    )
    shape = Image.new("L", (40, 30))
    shape.paste(255, (10, 10, 30, 20))
    shape.save(mask)
    assert not run(*command, "--mask", mask)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], "no picture"),
        (["p.png", "--unconditional"], "--unconditional"),
        (["p.png", "--samples", "0"], "--samples"),
        (["p.png", "--samples", "65"], "--samples: expected at most 64, found 65"),
        (["p.png", "--queries", "0"], "--queries: expected 1 to 6"),
        (["p.png", "--queries", "7"], "--queries: expected 1 to 6, as many as the model has, found 7"),
        (["p.png", "--format", "spz", "-o", "car.PLY"], "--format asks for .spz"),
        (["p.png", "--frames", "0"], "--frames"),
        (["p.png", "--size", "100000"], "--size"),
        (["p.png", "--azimuth", "nan"], "--azimuth"),
        (["p.png", "--model", "nowhere"], "nowhere"),
        (["p.png", "--device", "abacus"], "abacus"),
        (["p.png", "--cameras", "none.json"], "none.json"),
        (["p.png", "--cameras", "c.json", "--azimuth", "3"], "--azimuth"),
        (["p.png", "--mask", "none.png"], "none.png"),
        (["p.png", "q.png", "--mask", "p.png"], "--mask"),
        (["p.png", "--matting", "magic"], "magic"),
        (["p.png", "--focal-length", "0"], "--focal-length"),
        (["p.png", "--roll", "nan"], "--roll: expected -90 to 90"),
        (["p.png", "--roll", "3", "--framed"], "--roll is of no use with --framed"),
        (["p.png", "--roll", "3", "--together"], "--roll is of no use with --together"),
        (["p.png", "--refine", "-1"], "--refine"),
        (["p.png", "--detail", "--refine", "0"], "--detail"),
        (["--unconditional", "--detail"], "--detail"),
        (["p.png", "--steps", "2", "--seed", str(2**63)], "--seed"),
        (["--unconditional", "--refine", "3"], "--refine"),
        (["p.png", "q.png", "-o", "x.spz"], "x.spz"),
        (["p.png", "--cameras", "c.json", "--together"], "--together"),
        (["p.png", "--together", "--azimuth", "3"], "--azimuth"),
        (["p.png", "--together", "--framed"], "--framed"),
        (["--unconditional", "--together"], "--together"),
        (["--unconditional", "--azimuth", "0"], "--azimuth"),
        (["--unconditional", "--elevation", "5", "--framed"], "no picture for --elevation, --framed"),
        (["--unconditional", "--focal-length", "50"], "--focal-length"),
        (["--unconditional", "--matting", "auto"], "--matting"),
        (["p.png", "-o", "x.obj"], "x.obj"),
        (["p.png", "--format", "obj"], "--format"),
        (["list.csv"], "list.csv"),
        (["*.jpg"], "*.jpg"),
        (["p.png", "p_views.png"], "overwritten"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, model, capsys, monkeypatch, argv, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("U2NET_HOME", "nowhere")
    save_blob(tmp_path / "p.png")
    argv = argv if "--model" in argv else [*argv, "--model", model]
    assert run("generate", *argv) == 2
    assert named in one_line(capsys)
    assert files(tmp_path) == ["p.png"]


def test_an_output_that_cannot_be_written_is_one_line(tmp_path, model, capsys):
    photo, blocker = save_blob(tmp_path / "p.png"), tmp_path / "file"
    blocker.write_text("in the way")
    assert run("generate", photo, "--model", model, "-o", blocker / "out", *KNOWN) == 2
    assert str(blocker) in one_line(capsys)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return save_blob(tmp_path_factory.mktemp("photos") / "photo.png")


def test_a_full_disk_is_one_line(tmp_path, photo, model, capsys, full_disk):
    assert run("generate", photo, "--model", model, "-o", tmp_path, *KNOWN) == 2
    assert "photo.ply" in one_line(capsys)
    assert not files(tmp_path)
