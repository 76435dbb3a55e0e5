"""The network in ONNX Runtime, against PyTorch's."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from networks import build, small
from sparsegen import export
from sparsegen.cameras import on_sphere
from sparsegen.cli.main import main
from sparsegen.errors import InputError
from sparsegen.models.pretrained import save_pretrained

pytest.importorskip("onnxscript")


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["last", "uncorrected"])
def test_onnx_runtime_computes_the_same_gaussians(tmp_path, capsys, layers):
    """From pictures and cameras that the exporter has not seen; through the command, from weights on disk."""
    model = build(small(slopes=True, corrections=1))
    for corrector in model.correctors:  # untrained, they would leave out what feedback says
        *_, last = corrector.parameters()
        torch.nn.init.normal_(last, std=0.05)
    save_pretrained(model, tmp_path / "model", torch.float32)
    path = tmp_path / "model.onnx"
    argv = ["export", str(tmp_path / "model"), str(path), "--views", "2"]
    assert main([*argv, "--uncorrected"] if layers == "uncorrected" else argv) == 0
    assert "of PyTorch's Gaussians" in capsys.readouterr().out
    cameras = on_sphere(torch.tensor([0.3, 2.0]), torch.tensor([0.1, 0.8]), size=32)
    inputs = (torch.rand(2, 3, 32, 32), cameras.viewmats, cameras.Ks)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {name: x.numpy() for name, x in zip(export.INPUTS, inputs, strict=True)})
    with torch.no_grad():
        expected = export.OneStep(model, 2, layers)(*inputs)
        other = export.OneStep(model, 2, "last" if layers == "uncorrected" else "uncorrected")(*inputs)
    assert (expected[0] - other[0]).abs().max() > 1e-3
    assert [o.name for o in session.get_outputs()] == list(export.OUTPUTS)
    for ours, theirs in zip(expected, found, strict=True):
        np.testing.assert_allclose(np.asarray(theirs), ours.numpy(), rtol=0, atol=1e-4)


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_write", lambda step, path: path.write_bytes(b"onnx"))
    monkeypatch.setattr(export, "difference", lambda *_: 2 * export.TOLERANCE)
    with pytest.raises(RuntimeError, match="would differ by"):
        export.export_onnx(build(small()), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_placeholders_stand_behind_the_clean_views():
    step = export.OneStep(build(replace(small(), needs_placeholders=True)), views=2)
    assert step.times.tolist() == [[0, 0, 1, 1, 1]]
    assert len(step.example()[0]) == 5


def test_what_cannot_be_done_is_said(tmp_path, monkeypatch):
    model = build(small())
    with pytest.raises(InputError, match="at least 1, found 0"):
        export.export_onnx(model, tmp_path / "model.onnx", views=0)
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"sparsegen\[export\]"):
        export.export_onnx(model, tmp_path / "model.onnx")


def test_a_checkpoint_given_alone_is_not_written_over(tmp_path, capsys):
    checkpoint = tmp_path / "model.pth"
    checkpoint.write_bytes(b"weights")
    assert main(["export", str(checkpoint)]) == 2
    assert "ends in .onnx" in capsys.readouterr().err
    assert checkpoint.read_bytes() == b"weights"
