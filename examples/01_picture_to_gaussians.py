"""One picture to 3D Gaussians, in Python: read, frame, generate, save.

python examples/01_picture_to_gaussians.py
"""

from pathlib import Path

from sparsegen.formats.ply import save_ply
from sparsegen.generation import Pipeline
from sparsegen.photos import read_photo
from sparsegen.pose import estimate_camera, view_from

here = Path(__file__).parent
pipeline = Pipeline.from_pretrained()

rgba = read_photo(here / "car.png")
camera = estimate_camera(pipeline, rgba)[0]
print(f"taken from azimuth {camera.azimuth:g}, elevation {camera.elevation:g} degrees")
views = view_from(pipeline, rgba, camera.azimuth, camera.elevation)

gaussians = pipeline(views)[0]
print(f"{gaussians.count} Gaussians from {len(gaussians.query_ids.unique())} anchor queries")
save_ply("car.ply", gaussians)
