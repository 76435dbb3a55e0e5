"""One picture to 3D Gaussians, in Python: read, frame, generate, save.

python examples/01_picture_to_gaussians.py
"""

import math
from pathlib import Path

import torch

from sparsegen.cameras import on_sphere
from sparsegen.formats.cutout import fit
from sparsegen.formats.images import load_image
from sparsegen.formats.ply import save_ply
from sparsegen.generation import Pipeline
from sparsegen.views import Views

here = Path(__file__).parent
pipeline = Pipeline.from_pretrained()

image, alpha = fit(load_image(here / "car.png"), pipeline.model.config.image_size)
# Where the picture was taken from: 36 degrees to the left of the front, 26 degrees up.
camera = on_sphere(torch.tensor([math.radians(-36)]), torch.tensor([math.radians(26)]))
views = Views(image[None, None], camera[None], alpha[None, None])

gaussians = pipeline(views)[0]
print(f"{gaussians.count} Gaussians from {len(gaussians.query_ids.unique())} anchor queries")
save_ply("car.ply", gaussians)
