"""One picture in, 3D Gaussians out."""
