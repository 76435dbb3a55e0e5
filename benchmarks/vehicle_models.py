"""Turn vehicles that come with free simulators and games into GLB, standing on their wheels, front first.

`vehicles.csv` lists them: package, file in it, by how many degrees to turn it so that it faces the front, and
whether training may see it. Each package is expected unpacked in a folder of its name:

    apt-get download flightgear-data-base opencity-data     then dpkg -x FILE flightgear-data-base, and so on
    pip download --no-deps smarts==2.0.1 eclipse-sumo==1.28.0; npm pack cesiumjs@1.10.0     then unzip, tar -x
    python benchmarks/vehicle_models.py . -o glb --use train
    sparsegen data render glb others.pack --variants 9 --views 8 --distance 1.1 2.6 --pack

What is not there is named and left out.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torcs_models import read_ac3d, to_scene

from sparsegen.data.meshes import GLTF_FROM_WORLD, load_scene
from sparsegen.errors import InputError

if TYPE_CHECKING:
    import trimesh

TABLE = Path(__file__).with_name("vehicles.csv")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", type=Path, help="folder that holds the packages' folders")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--use", choices=("train", "held"), help="these alone (default: all)")
    args = parser.parse_args()
    try:
        convert(args.packages, args.output, args.use)
    except InputError as error:
        parser.error(str(error))


def convert(packages: Path, output: Path, use: str | None = None) -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if use in (None, row["use"])]
    there = [row for row in rows if (packages / row["package"] / row["file"]).is_file()]
    if not there:
        example = Path(rows[0]["package"]) / rows[0]["file"]
        raise InputError(
            f"{packages}: holds none of the vehicles, such as {example}; unpack the packages there"
        )
    output.mkdir(parents=True, exist_ok=True)
    for row in there:
        path = packages / row["package"] / row["file"]
        vehicle(path, float(row["turn"])).export(output / f"{row['package']}_{path.stem}.glb")
    print(f"{output}: {len(there)} of {len(rows)} vehicles")
    for package in sorted({row["package"] for row in rows if row not in there}):
        print(f"{package}: not all of its vehicles are in {packages / package}")


def vehicle(path: Path, turn: float) -> trimesh.Scene:
    """A vehicle in glTF's axes, turned by degrees about what is up; AC3D files have +Y up, too."""
    if path.suffix == ".ac":
        scene = to_scene(read_ac3d(path), np.eye(3))
    else:
        scene = load_scene(path)
        scene.apply_transform(GLTF_FROM_WORLD)
    angle = np.deg2rad(turn)
    about_y = np.eye(4)
    about_y[::2, ::2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    scene.apply_transform(about_y)
    return scene


if __name__ == "__main__":
    main()
