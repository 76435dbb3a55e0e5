"""The network against recorded outputs of the reference implementation.

`tests/fixtures/fixture_{reduced,full}_seed0.npz` hold inputs and outputs of the reference with weights
made by a rule (`rule_weights`), so that no weights need to be stored.
"""

import ast
import hashlib
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from sparsegen.cameras import Cameras, intrinsics
from sparsegen.errors import InputError
from sparsegen.generation import Pipeline
from sparsegen.models import SparseGen
from sparsegen.models.folding import fold
from sparsegen.models.image_encoder import encoder_input
from sparsegen.models.official import convert, load_official, official_config
from sparsegen.models.presets import paper
from sparsegen.splatting import render
from sparsegen.views import Views

FIXTURES = Path(__file__).parent.parent / "fixtures"

# Gain of each weight's spread in the rule, by the first pattern that matches its name.
GAINS = [
    (r"position_encoder\.0\.weight", 0.2),
    (r"position_encoder\.2\.weight|adapt_pos3d\.2\.weight|transformer\.t_embedder\.mlp\.2\.weight", 0.4),
    (r"input_proj\.weight", 1.5),
    (r"query_embedding\..*", 1.8),
    (r"transformer\.encoder_layers\..*(output_proj|fc2)\.weight", 0.6),
    (r"transformer\..*\.adaLN_modulation\..*", 1.5),
    (r".*adaLN_modulation.*", 0.6),
    (r".*\.cross_attn\..*", 2.0),
    (r"gs_decoder\..*\.0\.weight", 0.2),
    (r"gs_decoder\..*", 1.4),
    (r".*", 1.0),
]


# Buffers, which the rule leaves alone.
CONSTANTS = {
    "position_range": torch.tensor([-0.6, -0.6, -0.6, 0.6, 0.6, 0.6]),
    "renderer.position_range": torch.tensor([-0.6, -0.6, -0.6, 0.6, 0.6, 0.6]),
    "renderer.background_color": torch.ones(3),
}


def rule_weight(name, shape, seed=0):
    u = np.random.default_rng(zlib.crc32(name.encode()) + seed).random(shape)
    if name == "reference_points.weight":
        offset, amplitude = 0.5, 0.35
    elif name.endswith(("cls_token", "pos_embed", "mask_token")):
        offset, amplitude = 0.0, 0.5
    elif len(shape) == 1 and (name.endswith(".gamma") or re.search(r"norm\d?\.weight$", name)):
        offset, amplitude = 1.0, 0.25
    elif name.endswith("adaLN_modulation.1.bias"):
        offset, amplitude = 0.0, 1.0
    elif name.endswith(".scale.4.bias"):
        offset, amplitude = -1.0, 0.1
    elif len(shape) == 1:
        offset, amplitude = 0.0, 0.1
    else:
        gain = next(g for pattern, g in GAINS if re.fullmatch(pattern, name))
        offset, amplitude = 0.0, gain * np.sqrt(3 / np.prod(shape[1:]))
    return torch.from_numpy(np.float32(offset + amplitude * (2 * u - 1)))


def reference_shapes(kind):
    lines = (FIXTURES / f"official_state_dict_{kind}.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    return {name: ast.literal_eval(shape) for name, shape, *_ in rows}


def reference_weights(kind):
    shapes = reference_shapes(kind)
    return {name: CONSTANTS.get(name, rule_weight(name, shape)) for name, shape in shapes.items()}


class Recorded:
    """A fixture with its model and inputs in this package's terms."""

    def __init__(self, kind):
        self.data = np.load(FIXTURES / f"fixture_{kind}_seed0.npz")
        self.meta = json.loads(str(self.data["meta"]))
        self.weights = reference_weights(kind)
        settings = {"model": self.meta["config"], "render": self.meta["render"]}
        self.settings = settings
        self.model = SparseGen(official_config(settings, Path("fixture"))).eval()
        self.model.load_state_dict(convert(self.weights))
        poses = torch.from_numpy(self.data["in_poses"])
        K = intrinsics(torch.tensor([131.25, 131.25]), torch.tensor([64.0, 64.0]))
        cameras = Cameras.from_camera_to_world(poses, K.expand(len(poses), 3, 3), 128, 128)
        clean = torch.from_numpy(self.data["in_x_cond_u8"]).float() / 255
        noised = torch.from_numpy(self.data["in_noisy_f16"]).float()
        kept = clean.shape[1] + noised.shape[1]
        self.views = Views(torch.cat([clean, (noised + 1) / 2], dim=1), cameras[None, :kept])
        self.render_camera = cameras[[self.meta["render_view"]]]
        self.times = torch.tensor([[0.0] + [int(self.data["in_t"]) / 1000] * (kept - 1)])
        seen = torch.from_numpy(self.data["in_selfcond_u8"]).float() / 255
        self.self_conditioning = torch.cat([clean, seen], dim=1)

    def __getitem__(self, name):
        return torch.from_numpy(self.data[name])

    @torch.no_grad()
    def run(self, layers="last"):
        return self.model(self.views, self.times, self.self_conditioning, layers)


@pytest.fixture(scope="module", params=["reduced", pytest.param("full", marks=pytest.mark.slow)])
def recorded(request):
    return Recorded(request.param)


def check(found, expected, **tolerance):
    torch.testing.assert_close(found, expected, rtol=0, **tolerance)


def test_rule_weights_are_those_of_the_recording(recorded):
    first = rule_weight("feature_extractor.model.cls_token", (1, 1, 384))[0, 0, :3]
    torch.testing.assert_close((first / 0.5 + 1) / 2, torch.tensor([0.78474471, 0.40944224, 0.37719494]))
    digest = hashlib.sha256()
    for name in sorted(set(recorded.weights) - set(CONSTANTS)):
        digest.update(name.encode() + b"\0" + recorded.weights[name].numpy().tobytes())
    assert digest.hexdigest() == recorded.meta["param_sha256"]


def test_encoder_input(recorded):
    model, views = recorded.model, recorded.views
    x = encoder_input(model.config.image_encoder, views, recorded.times, recorded.self_conditioning)
    check(x[0, :, :, ::8, ::8], recorded["out_vit_input"], atol=1e-4)  # its resize rounds otherwise


def test_image_features(recorded):
    model, views = recorded.model, recorded.views
    with torch.no_grad():
        x = encoder_input(model.config.image_encoder, views, recorded.times, recorded.self_conditioning)
        features = model.image_encoder(x, recorded.times)
    check(features[0, :, ::4], recorded["out_vit_feat"], atol=5e-5)


def test_position_encodings(recorded):
    encoder, cameras = recorded.model.position_encoder, recorded.views.cameras
    full = recorded.meta["kind"] == "full"
    with torch.no_grad():
        logits = encoder.frustum_logits(cameras, 16)[0].mT.unflatten(-1, (16, 16))
        frustum = encoder.parts["frustum"](encoder.frustum_logits(cameras, 16))[0].mT.unflatten(-1, (16, 16))
    expected = recorded["out_frustum_logits"]
    inside = expected.abs() < 10  # next to the clamp a logit magnifies rounding a million times
    check(logits[:, :: 4 if full else 1][inside], expected[inside], atol=2e-2)
    check(frustum[:, :: 8 if full else 1], recorded["out_frustum_pos"], atol=1e-3)


def test_query_embedding(recorded):
    full = recorded.meta["kind"] == "full"
    with torch.no_grad():
        embedding = recorded.model.anchor_encoder(recorded.model.unit_anchors)
    sub = embedding[:: 8 if full else 1, :: 4 if full else 1]
    check(sub, recorded["out_query_embed"], atol=1e-5)


def test_gaussians_of_the_last_layer(recorded):
    gaussians = recorded.run()[-1][0]
    full = recorded.meta["kind"] == "full"
    atol = 2e-5 if full else 1e-5
    check(gaussians.means, 1.2 * recorded["out_gauss_xyz"] - 0.6, atol=1.2 * atol)
    check(gaussians.opacities, recorded["out_gauss_opacity"][:, 0], atol=atol)
    check(gaussians.scales, recorded["out_gauss_scale"], atol=atol)
    check(gaussians.colors, recorded["out_gauss_color"], atol=atol)
    check(gaussians.quats, recorded["out_gauss_rotation"], atol=5e-5 if full else 1e-5)


def test_gaussians_of_the_first_layer(recorded):
    gaussians = recorded.run(layers="all")[0][0]
    check(gaussians.means[::4], 1.2 * recorded["out_gauss0_xyz"] - 0.6, atol=3e-5)
    check(gaussians.colors[::4], recorded["out_gauss0_color"], atol=2e-5)


def test_picture(recorded):
    picture = render(recorded.run()[-1], recorded.render_camera[None])
    error = (2 * picture.rgb[0, 0] - 1 - recorded["out_image"]).abs()
    assert error.max() < 1e-2
    assert error.mean() < 1e-4
    assert (picture.alpha[0] - recorded["out_alpha"]).abs().mean() < 1e-4


@pytest.mark.parametrize(("precision", "decibels"), [("float32", 80), ("bfloat16", 33)])
def test_picture_of_the_folded_network(precision, decibels):
    recorded = Recorded("reduced")
    fold(recorded.model, precision)
    picture = render(recorded.run()[-1], recorded.render_camera[None]).rgb[0, 0]
    error = picture - (recorded["out_image"] + 1) / 2
    assert -10 * error.square().mean().log10() > decibels


def test_layers_last_is_the_last_of_all(recorded):
    check(recorded.run()[-1].means, recorded.run(layers="all")[-1].means, atol=0)


def test_remembered_constants_follow_the_weights():
    recorded = Recorded("reduced")
    before = recorded.run()[-1].means
    with torch.no_grad():
        next(recorded.model.anchor_encoder.mlp.parameters()).mul_(1.5)
    after = recorded.run()[-1].means
    assert (after - before).abs().max() > 1e-3
    fresh = SparseGen(recorded.model.config).eval()
    fresh.load_state_dict(recorded.model.state_dict())
    recorded.model = fresh
    check(recorded.run()[-1].means, after, atol=0)


def test_paper_preset_has_the_reference_sizes():
    with torch.device("meta"):
        model = SparseGen(paper())
    mask_token = 384  # stored by the reference, read by nothing
    assert sum(p.numel() for p in model.parameters()) + mask_token == 111_817_416
    shapes = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    stand_ins = {name: torch.empty(shape) for name, shape in reference_shapes("full").items()}
    assert {name: tuple(t.shape) for name, t in convert(stand_ins).items()} == shapes


def save_checkpoint(folder, recorded):
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(recorded.settings))
    prefixed = {"reconstructor." + name: tensor for name, tensor in recorded.weights.items()}
    torch.save({"diffuser": prefixed, "optimizer": {"state": {}}, "iteration": 9999}, folder / "model.pth")
    return folder / "model.pth"


def test_checkpoint_loads_by_one_call(tmp_path):
    recorded = Recorded("reduced")
    path = save_checkpoint(tmp_path, recorded)
    model = Pipeline.from_pretrained(path, device="cpu").model
    for name, tensor in recorded.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    "fault", ["missing", "extra", "shape", "no_config", "cut_short", "not_a_checkpoint", "text"]
)
def test_unfit_checkpoints_are_refused_by_name(tmp_path, fault):
    recorded = Recorded("reduced")
    name = "transformer.decoder_layers.1.norm3.weight"
    if fault == "missing":
        del recorded.weights[name]
    elif fault == "extra":
        recorded.weights["transformer.surprise.weight"] = torch.ones(3)
    elif fault == "shape":
        recorded.weights[name] = torch.ones(7)
    path = save_checkpoint(tmp_path, recorded)
    if fault == "no_config":
        (tmp_path / ".hydra" / "config.yaml").unlink()
    elif fault == "cut_short":
        path.write_bytes(path.read_bytes()[:1000])
    elif fault == "not_a_checkpoint":
        torch.save([1, 2, 3], path)
    elif fault == "text":
        path.write_text("hello\n")
    with pytest.raises(InputError) as error:
        load_official(path)
    message = str(error.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    if fault in ("cut_short", "text"):
        assert message.endswith("not a whole PyTorch checkpoint of tensors; copy it again")
    if fault in ("missing", "extra", "shape"):
        assert {"missing": "norm3", "extra": "surprise", "shape": "(7,)"}[fault] in message
