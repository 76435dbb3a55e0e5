"""A run in a few small files, to go on elsewhere: what one sitting on a lent machine leaves to the next.

Weights go in half precision. Of the rest as much goes along as fits, in 8 bits or in 4, in the order of
what it would cost to do without: the averaged weights (as their distance from the weights), and the
optimizer's second and first moments. Without second moments the learning rate warms up once more.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.formats.files import atomic_folder, atomic_path, check_readable, make_folder
from sparsegen.training.checkpoints import CheckpointFolder, load_checkpoint

INDEX = "handover.json"
MIB = 2**20
_FORMAT = "sparsegen.handover"
_LOG, _CONFIG = "log.jsonl", "config.yaml"
# What the index holds besides its format.
_INDEX = {
    "bits": dict,
    "shapes": list,
    "moments": list,
    "updates": int,
    "groups": list,
    "plain": dict,
    "pieces": list,
}
_BLOCK = 64  # numbers that share a scale
_TINY = 1e-20  # second moments below it divide as zeros do: epsilon is far larger than their root
_BIG = ("model", "ema", "optimizer", "rng", "cuda_rng")  # of a checkpoint; the rest are plain numbers


@dataclass(frozen=True)
class HandOver:
    """What was written: bytes in all, and how many bits carry what; 0 for what was left out."""

    step: int
    bytes: int
    bits: dict[str, int]

    def __str__(self) -> str:
        parts = [f"{name} {f'{bits} bits' if bits else 'left out'}" for name, bits in self.bits.items()]
        return f"step {self.step}, {self.bytes / MIB:.1f} MiB: {', '.join(parts)}"


def shrink(run: Path, folder: Path, mib: float = 60.0, piece_mib: float = 15.0) -> HandOver:
    """Write the newest checkpoint of a run to a new folder of at most `mib`, in files of at most `piece_mib`.

    The files `state.0`, `state.1`, … are one safetensors file cut into pieces; `handover.json` has their
    checksums. `InputError` if even the weights do not fit.
    """
    path = CheckpointFolder(run / "checkpoints").latest()
    if path is None or not (run / _CONFIG).exists():
        raise InputError(f"{run}: not a training run with a checkpoint; expected a folder under runs/")
    state = load_checkpoint(path)
    besides = {name: (run / name).read_bytes() for name in (_CONFIG, _LOG) if (run / name).exists()}
    room = mib * MIB - sum(map(len, besides.values())) - MIB // 4  # for shapes and headers
    tensors, index = _packed(state, int(room))
    if index["bits"]["weights"] == 0:
        raise InputError(
            f"{path}: its weights alone take more than {mib:g} MiB in half precision; allow more"
        )
    blob, size = save(tensors), int(piece_mib * MIB)
    pieces = [blob[i : i + size] for i in range(0, len(blob), size)]
    index["pieces"] = [hashlib.sha256(piece).hexdigest() for piece in pieces]
    besides[INDEX] = json.dumps(index).encode()
    with atomic_folder(folder) as temporary:
        for number, piece in enumerate(pieces):
            (temporary / f"state.{number}").write_bytes(piece)
        for name, content in besides.items():
            (temporary / name).write_bytes(content)
    return HandOver(state["step"], len(blob) + sum(map(len, besides.values())), index["bits"])


def restore(folder: Path, run: Path) -> Path:
    """Make a run of what `shrink` wrote, for `sparsegen train` to continue; returns its checkpoint.

    `InputError` if files are missing or damaged, or if the run is there already.
    """
    checkpoints = CheckpointFolder(run / "checkpoints")
    if checkpoints.latest() is not None:
        raise InputError(f"{run}: holds a run already; choose another name or remove it")
    index = _read_index(folder)
    pieces = []
    for number, checksum in enumerate(index["pieces"]):
        path = check_readable(folder / f"state.{number}")
        pieces.append(path.read_bytes())
        if hashlib.sha256(pieces[-1]).hexdigest() != checksum:
            raise InputError(f"{path}: not what was written (checksums differ); copy it again")
    try:
        state = _unpacked(load(b"".join(pieces)), index)
        step = int(state["step"])
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / INDEX}: does not fit the pieces ({reason}); copy it again") from None
    make_folder(run)
    for name in (_CONFIG, _LOG):
        if (folder / name).exists():
            with atomic_path(run / name) as temporary:
                shutil.copyfile(folder / name, temporary)
    return checkpoints.save(state, step)


def _read_index(folder: Path) -> dict[str, Any]:
    """What `shrink` wrote beside the pieces."""
    path = folder / INDEX
    if not path.exists():
        raise InputError(f"{folder}: no hand-over; expected a folder that `sparsegen train --shrink` wrote")
    check_readable(path)
    try:
        index = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not readable as JSON ({error}); copy it again") from None
    if not isinstance(index, dict) or index.get("format") != _FORMAT:
        raise InputError(f"{path}: not a hand-over; make one with `sparsegen train --shrink`")
    damaged = next((name for name, kind in _INDEX.items() if not isinstance(index.get(name), kind)), None)
    if damaged is not None:
        raise InputError(f"{path}: {damaged!r} is missing or damaged; copy it again")
    return index


def _packed(state: dict[str, Any], room: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Vectors of all numbers of a kind, for at most `room` bytes, and what is needed to take them apart."""
    weights, average = state["model"], state["ema"]["model"]
    entries = sorted(state["optimizer"]["state"].items())
    # Muon's momentum stays behind: it forgets all but the last twenty steps anyway.
    moments = [(i, entry) for i, entry in entries if "exp_avg_sq" in entry]
    flat = _flat(weights.values())
    half = flat.half()
    vectors = {
        "average": _flat(average.values()) - half.float(),
        "second": _flat(entry["exp_avg_sq"] for _, entry in moments),
        "first": _flat(entry["exp_avg"] for _, entry in moments),
    }
    tensors, bits = {}, {"weights": 0}
    if half.nbytes <= room:
        tensors["weights"], bits["weights"], room = half, 16, room - half.nbytes
    for name, vector in vectors.items():
        # Without second moments first ones are of no use, and without weights nothing is.
        possible = tensors and len(vector) and (name != "first" or bits["second"])
        bits[name] = next((b for b in (8, 4) if possible and _size(len(vector), b) <= room), 0)
        if bits[name]:
            codes, scales = (_logarithmic if name == "second" else _linear)(vector, bits[name])
            tensors[name], tensors[f"{name}.scales"] = codes, scales
            room -= codes.nbytes + scales.nbytes
    index = {
        "format": _FORMAT,
        "bits": bits,
        "shapes": [[name, list(tensor.shape)] for name, tensor in weights.items()],
        "moments": [[i, list(entry["exp_avg"].shape), float(entry["step"])] for i, entry in moments],
        "updates": state["ema"]["updates"],
        "groups": state["optimizer"]["param_groups"],
        "plain": {name: value for name, value in state.items() if name not in _BIG},
    }
    return tensors, index


def _unpacked(tensors: dict[str, Tensor], index: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's state, without random states, which start afresh."""
    bits, names = index["bits"], [name for name, _ in index["shapes"]]
    shapes = [shape for _, shape in index["shapes"]]
    weights = tensors["weights"].float()

    def vector(name: str) -> Tensor:
        decode = _from_logarithmic if name == "second" else _from_linear
        return decode(tensors[name], tensors[f"{name}.scales"], bits[name])

    average = weights + vector("average")[: len(weights)] if bits["average"] else weights
    plain = dict(index["plain"])
    optimizer: dict[int, dict[str, Tensor]] = {}
    if bits["second"]:
        moment_shapes = [shape for _, shape, _ in index["moments"]]
        second = _split(vector("second"), moment_shapes)
        first = _split(vector("first"), moment_shapes) if bits["first"] else [s * 0 for s in second]
        for (i, _, step), m, v in zip(index["moments"], first, second, strict=True):
            optimizer[i] = {"step": torch.tensor(step), "exp_avg": m, "exp_avg_sq": v}
    else:
        plain["warm_from"] = plain["step"]
    return {
        "model": dict(zip(names, _split(weights, shapes), strict=True)),
        "ema": {
            "model": dict(zip(names, _split(average, shapes), strict=True)),
            "updates": index["updates"] if bits["average"] else 0,
        },
        "optimizer": {"state": optimizer, "param_groups": index["groups"]},
        "rng": [],
        "cuda_rng": [],
        **plain,
    }


def _flat(tensors: Any) -> Float[Tensor, "n"]:
    parts = [tensor.detach().float().flatten() for tensor in tensors]
    return torch.cat(parts) if parts else torch.empty(0)


def _split(vector: Float[Tensor, "n"], shapes: list[list[int]]) -> list[Tensor]:
    sizes = [torch.Size(shape).numel() for shape in shapes]
    parts = vector[: sum(sizes)].split(sizes)
    return [part.reshape(shape).clone() for part, shape in zip(parts, shapes, strict=True)]


def _size(count: int, bits: int) -> int:
    """Bytes at most of codes and scales for so many numbers."""
    blocks = -(-count // _BLOCK)
    return blocks * (_BLOCK * bits // 8 + 4)


def _blocks(vector: Float[Tensor, "n"], filler: float) -> Float[Tensor, "b k"]:
    missing = -len(vector) % _BLOCK
    return torch.cat([vector, vector.new_full((missing,), filler)]).reshape(-1, _BLOCK)


def _linear(vector: Float[Tensor, "n"], bits: int) -> tuple[UInt8[Tensor, "m"], Tensor]:
    """Codes of equal distance on both sides of zero, up to each block's largest number."""
    blocks, most = _blocks(vector, 0.0), 2 ** (bits - 1) - 1
    # Rounded up, so that the largest number is not cut; bfloat16 has float32's range.
    scales = (blocks.abs().amax(1) / most * (1 + 2**-7)).bfloat16()
    steps = blocks / scales.float().clamp_min(1e-38)[:, None]
    return _nibbles((steps.round().clamp(-most, most) + most).to(torch.uint8), bits), scales


def _from_linear(codes: UInt8[Tensor, "m"], scales: Tensor, bits: int) -> Float[Tensor, "n"]:
    most = 2 ** (bits - 1) - 1
    return ((_from_nibbles(codes, bits) - most) * scales.float()[:, None]).flatten()


def _logarithmic(vector: Float[Tensor, "n"], bits: int) -> tuple[UInt8[Tensor, "m"], Tensor]:
    """Codes of equal ratio between each block's least and largest number: none becomes zero, by which Adam
    would divide."""
    blocks = _blocks(vector, 1.0 if not len(vector) else float(vector[-1])).clamp_min(_TINY).log2()
    low = blocks.amin(1).floor()
    span = (blocks.amax(1) - low).ceil().clamp_min(1)  # whole numbers, which bfloat16 holds exactly
    codes = (blocks - low[:, None]) / span[:, None] * (2**bits - 1)
    return _nibbles(codes.round().to(torch.uint8), bits), torch.stack([low, span], dim=1).bfloat16()


def _from_logarithmic(codes: UInt8[Tensor, "m"], scales: Tensor, bits: int) -> Float[Tensor, "n"]:
    low, span = scales.float()[:, :1], scales.float()[:, 1:]
    return (low + _from_nibbles(codes, bits) / (2**bits - 1) * span).exp2().flatten()


def _nibbles(codes: UInt8[Tensor, "b k"], bits: int) -> UInt8[Tensor, "m"]:
    """Two codes of 4 bits in a byte; codes of 8 bits as they are."""
    return (codes if bits == 8 else codes[:, 0::2] | codes[:, 1::2] << 4).flatten()


def _from_nibbles(codes: UInt8[Tensor, "m"], bits: int) -> Float[Tensor, "b k"]:
    if bits == 4:
        codes = torch.stack([codes & 15, codes >> 4], dim=1)
    return codes.reshape(-1, _BLOCK).float()
