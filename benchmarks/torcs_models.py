"""Turn the cars of the racing game TORCS into GLB, to be rendered as objects that training never saw.

The game's files come with Debian's package `torcs-data`, under `usr/share/games/torcs`. A car is AC3D with
textures, without wheels; its XML file says where those belong, how large they are, and which of the game's
wheel models it wears. A car that has none gets dark cylinders with its picture of a wheel.

    python benchmarks/torcs_models.py usr/share/games/torcs -o glb --only car1-ow1 baja-bug
    sparsegen data render glb torcs.pack --spiral --pack
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from PIL import Image

from sparsegen.data.surfaces import srgb_to_linear
from sparsegen.errors import InputError

if TYPE_CHECKING:
    import trimesh

Color: TypeAlias = tuple[float, float, float, float]
METERS = {"m": 1.0, "in": 0.0254, "mm": 0.001}
# AC3D's axes in the game: +X in front, +Y up, +Z to the right. In glTF's the front is +Z and +X to the left.
_TO_GLTF = np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]])
RUBBER = (0.013, 0.013, 0.013, 1.0)  # linear
_POLYGON, _STRIP = 0, 4  # kinds of AC3D surfaces; strips are the game's own
# The game hides a surface's back; with both sides shown, a roof and its lining in one place would mix.
_SKIN = 0.001  # meters that each is moved to its front
_WHEEL_SIDES = 32
_PICTURE_GAP = 0.01  # of a cylinder's width, from its face to the picture of a wheel


@dataclass(frozen=True)
class Part:
    """Triangles of one material: `color` is linear RGBA, `corners` are positions, then uv."""

    texture: Path | None
    color: Color
    corners: Float[ndarray, "f 3 5"]

    def moved(self, linear: Float[ndarray, "3 3"], offset: Float[ndarray, "3"]) -> Part:
        points = self.corners[..., :3] @ linear.T + offset
        return replace(self, corners=np.concatenate([points, self.corners[..., 3:]], axis=-1))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("game", type=Path, help="folder that holds the game's cars/ and wheels/")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these cars alone")
    args = parser.parse_args()
    try:
        convert(args.game, args.output, args.only)
    except InputError as error:
        parser.error(str(error))


def convert(game: Path, output: Path, only: list[str] | None = None) -> None:
    names = sorted(path.parent.name for path in game.glob("cars/*/*.xml") if path.stem == path.parent.name)
    if not names:
        raise InputError(
            f"{game}: holds no cars/NAME/NAME.xml; expected the game's folder, share/games/torcs"
        )
    if missing := sorted(set(only or names) - set(names)):
        raise InputError(f"{game}: has no car {missing[0]}; it has {', '.join(names)}")
    output.mkdir(parents=True, exist_ok=True)
    for name in only or names:
        parts = read_car(game, name)
        to_scene(parts).export(output / f"{name}.glb")
        readme = game / "cars" / name / "readme.txt"
        free = readme.exists() and "Free Art" in readme.read_text("latin-1")
        count = sum(len(part.corners) for part in parts)
        print(f"{name}: {count} triangles, {'Free Art License' if free else 'license not named'}")


# --- cars ------------------------------------------------------------------------------------


def read_car(game: Path, name: str) -> list[Part]:
    """A car on its wheels, in AC3D's axes and meters."""
    folder = game / "cars" / name
    settings = _Settings(folder / f"{name}.xml")
    parts = read_ac3d(folder / settings.text("Graphic Objects/Ranges/1", "car"))  # the most detailed
    wheel = _wheel(game, folder, settings)
    for axle in ("Front", "Rear"):
        for side in ("Left", "Right"):
            parts += [part.moved(*_placement(settings, axle, side)) for part in wheel]
    return parts


class _Settings:
    """What a car's XML file says: values in sections in sections."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.root = ElementTree.parse(path).getroot()
        except (OSError, ElementTree.ParseError) as error:
            raise InputError(f"{path}: cannot be read as a car's XML ({error}); unpack it again") from None

    def text(self, section: str, name: str, default: str | None = None, attribute: str = "val") -> str:
        path = "".join(f"section[@name='{part}']/" for part in section.split("/"))
        found = self.root.find(f"{path}*[@name='{name}']")
        value = default if found is None else found.get(attribute, default)
        if value is None:
            raise InputError(f"{self.path}: has no {name!r} in {section!r}; expected the game's own file")
        return value

    def length(self, section: str, name: str) -> float:
        """In meters; without a unit, the number itself."""
        return float(self.text(section, name)) * METERS[self.text(section, name, "m", "unit")]


def _wheel(game: Path, folder: Path, settings: _Settings) -> list[Part]:
    """A wheel of diameter and width 1, its outer face at -Z."""
    model = settings.text("Graphic Objects", "3d wheel directory", "")
    if model:
        base = settings.text("Graphic Objects", "3d wheel basename")
        return read_ac3d(game / "wheels" / model / f"{base}0.acc")  # 1 to 3 are blurred by speed
    return plain_wheel(folder / settings.text("Graphic Objects", "wheel texture"))


def plain_wheel(picture: Path) -> list[Part]:
    """A dark cylinder of diameter and width 1. The upper left quarter of `picture` is a wheel that stands
    still: on the face at -Z."""
    turn = np.linspace(0, 2 * np.pi, _WHEEL_SIDES + 1)
    rim = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=-1) / 2
    start, end, middle = rim[:-1], rim[1:], np.zeros_like(rim[1:])
    out, back = np.array([0, 0, -0.5]), np.array([0, 0, 0.5])
    outer = np.stack([middle, end, start], axis=1) + out
    inner = np.stack([middle, start, end], axis=1) + back
    tread = [
        np.stack([start + out, end + out, end + back], axis=1),
        np.stack([start + out, end + back, start + back], axis=1),
    ]
    dark = np.concatenate([outer, inner, *tread])
    uv = outer[..., :2] * [-0.5, 0.5] + [0.25, 0.75]  # as seen from -Z, where +X is on the left
    return [
        Part(None, RUBBER, np.concatenate([dark, np.zeros_like(dark[..., :2])], axis=-1)),
        Part(picture, (1.0, 1.0, 1.0, 1.0), np.concatenate([outer + _PICTURE_GAP * out, uv], axis=-1)),
    ]


def _placement(
    settings: _Settings, axle: str, side: str
) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "3"]]:
    """Size and turn of a wheel of diameter and width 1, and where its middle belongs.

    The body's lowest point is at height 0, the ride height above the ground.
    """
    section = f"{axle} {side} Wheel"
    width = settings.length(section, "tire width")
    tire = width * settings.length(section, "tire height-width ratio")
    diameter = settings.length(section, "rim diameter") + 2 * tire
    turn = 1 if side == "Left" else -1  # half a turn about the vertical axis
    height = diameter / 2 - settings.length(section, "ride height")
    middle = [settings.length(f"{axle} Axle", "xpos"), height, -settings.length(section, "ypos")]
    return np.diag([turn * diameter, diameter, turn * width]), np.array(middle)


# --- AC3D ------------------------------------------------------------------------------------


def read_ac3d(path: Path) -> list[Part]:
    """The surfaces of an AC3D file, or of the game's kind with normals, triangle strips and more textures;
    lines are left out."""
    try:
        lines = iter(path.read_text("latin-1").splitlines())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); unpack it again") from None
    if not next(lines, "").startswith("AC3D"):
        raise InputError(f"{path}: does not begin with AC3D; expected an AC3D file")
    materials: list[Color] = []
    parts: list[Part] = []
    try:
        for line in lines:
            if line.startswith("MATERIAL"):
                materials.append(_material(line))
            elif line.startswith("OBJECT"):
                parts += _object(lines, path.parent, materials, np.eye(3), np.zeros(3))
    except (StopIteration, ValueError, IndexError) as error:
        raise InputError(f"{path}: is damaged or cut short ({error!r}); unpack it again") from None
    return parts


def _material(line: str) -> Color:
    """Its diffuse color, which the file gives as displayed, and its opacity."""
    number = r"\s+(\S+)"
    found = re.search(rf"\srgb{number * 3}\s.*\strans{number}", line)
    if found is None:
        raise ValueError(f"material without rgb and trans: {line}")
    *rgb, transparency = map(float, found.groups())
    red, green, blue = srgb_to_linear(np.array(rgb)).tolist()
    return red, green, blue, 1 - transparency


def _object(
    lines: Iterator[str],
    folder: Path,
    materials: list[Color],
    around: Float[ndarray, "3 3"],
    offset: Float[ndarray, "3"],
) -> list[Part]:
    """An object's surfaces and its kids'; `around` and `offset` turn and place what it is in."""
    turn = around
    texture: Path | None = None
    repeat = np.ones(2)
    vertices = np.zeros((0, 3))
    parts: list[Part] = []
    while True:
        key, *values = _words(next(lines))
        if key == "texture" and values[1:] in ([], ["base"]):  # the game's others: dirt, skids, shadow
            texture = folder / values[0]
        elif key == "texrep":
            repeat = np.array(values, float)
        elif key == "loc":
            offset = offset + around @ np.array(values, float)
        elif key == "rot":  # where each axis points
            turn = around @ np.array(values, float).reshape(3, 3).T
        elif key == "numvert":
            rows = np.array([_words(next(lines)) for _ in range(int(values[0]))], float)
            vertices = rows[:, :3] if len(rows) else vertices
            if rows.shape[-1] == 6:  # the game's own normals
                vertices = vertices + _SKIN * rows[:, 3:]
        elif key == "SURF":
            material, triangles, uv = _surface(lines, int(values[0], 0))
            points = vertices[triangles] @ turn.T + offset
            corners = np.concatenate([points, uv * repeat], axis=-1)
            if len(corners):
                parts.append(Part(texture, materials[material], corners))
        elif key == "kids":
            for _ in range(int(values[0])):
                while _words(next(lines))[0] != "OBJECT":
                    pass
                parts += _object(lines, folder, materials, turn, offset)
            return parts


def _surface(lines: Iterator[str], flags: int) -> tuple[int, Int[ndarray, "f 3"], Float[ndarray, "f 3 2"]]:
    """A surface's material, and its triangles as numbers of vertices and as texture coordinates."""
    key, *values = _words(next(lines))
    material = 0
    if key == "mat":
        material = int(values[0])
        key, *values = _words(next(lines))
    if key != "refs":
        raise ValueError(f"{key!r} in place of refs")
    # The game gives four pairs of texture coordinates; the first is the paint's.
    refs = np.array([_words(next(lines))[:3] for _ in range(int(values[0]))], float).reshape(-1, 3)
    last = np.arange(2, len(refs))
    kind = flags & 15
    if kind == _POLYGON:
        order = np.stack([0 * last, last - 1, last], axis=-1)
    elif kind == _STRIP:  # every other triangle is wound the other way
        odd = last % 2
        order = np.stack([last - 2 + odd, last - 1 - odd, last], axis=-1)
    else:  # lines
        order = np.zeros((0, 3), int)
    triangles = refs[order, 0].astype(int)
    a, b, c = triangles.T
    solid = (a != b) & (b != c) & (c != a)  # strips are joined by triangles without area
    return material, triangles[solid], refs[order, 1:][solid]


def _words(line: str) -> list[str]:
    """The words of a line, quoted ones without quotes; never none."""
    return [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)] or [""]


# --- GLB -------------------------------------------------------------------------------------


def to_scene(parts: list[Part], to_gltf: Float[ndarray, "3 3"] = _TO_GLTF) -> trimesh.Scene:
    """One mesh for each material, with glTF's axes."""
    import trimesh
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    groups: dict[tuple[Path | None, Color], list[ndarray]] = {}
    for part in parts:
        groups.setdefault((part.texture, part.color), []).append(part.corners)
    scene = trimesh.Scene()
    for (texture, color), corners in groups.items():
        rows, index = np.unique(np.concatenate(corners).reshape(-1, 5), axis=0, return_inverse=True)
        material = PBRMaterial(
            baseColorFactor=color,
            baseColorTexture=None if texture is None else _picture(texture),
            metallicFactor=0.0,
            alphaMode="BLEND",
            doubleSided=True,
        )
        visual = TextureVisuals(uv=rows[:, 3:], material=material)
        vertices = rows[:, :3] @ to_gltf.T
        scene.add_geometry(trimesh.Trimesh(vertices, index.reshape(-1, 3), visual=visual, process=False))
    return scene


def _picture(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
        return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a picture ({error}); unpack it again") from None


if __name__ == "__main__":
    main()
