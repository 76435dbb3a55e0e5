"""Gaussians from a file to pictures from any camera, and a gradient through the splatting.

python examples/02_render_an_orbit.py car.ply
"""

import sys
from dataclasses import replace

import torch

from sparsegen.cameras import orbit
from sparsegen.formats.images import contact_sheet
from sparsegen.formats.ply import load_ply
from sparsegen.splatting import render

gaussians = load_ply(sys.argv[1])
cameras = orbit(8, size=256)

rendering = render(gaussians, cameras)
contact_sheet([list(rendering.rgb[:4]), list(rendering.rgb[4:])], "orbit.png")

colors = gaussians.colors.clone().requires_grad_()
darkness = (1 - render(replace(gaussians, colors=colors), cameras).rgb).mean()
(slope,) = torch.autograd.grad(darkness, colors)
print(f"darkness {darkness.item():.4f}; of brighter Gaussians, less: slope {slope.sum().item():.4f}")
