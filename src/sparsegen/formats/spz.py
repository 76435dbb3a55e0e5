"""Niantic's `.spz` files: 20 bytes a Gaussian before compression, about a tenth of a PLY.

A header (magic NGSP, version, count, degree of the spherical harmonics, fractional bits, flags), then
means (24-bit fixed point), opacities, colors, scales, rotations, each for all Gaussians before the next.
Versions 2 and 3 compress all of it with gzip; version 4 has a plain header of 32 bytes, a table of
compressed and plain sizes, and the parts compressed with zstd one by one. Version 2 stores x, y, z of a
rotation in 8 bits; from version 3 on it is the smallest three components in 10 bits.
"""

from __future__ import annotations

import gzip
import logging
import struct
import sys
import zlib
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sparsegen.errors import InputError
from sparsegen.formats.files import MAX_GAUSSIANS
from sparsegen.formats.ply import SH_0
from sparsegen.gaussians import Gaussians

logger = logging.getLogger(__name__)

WRITTEN_VERSIONS = (3, 4)

_GZIP_MAGIC = b"\x1f\x8b"
_MAGIC = b"NGSP"
_HEADER = struct.Struct("<4sIIBBBB")  # magic, version, count, degree, fractional bits, flags, streams
_HEADER_4 = struct.Struct("<16sI12x")  # the same 16 bytes, offset of the table
_SIZES = struct.Struct("<QQ")  # compressed, plain
_EXTENDED = 2  # of the flags; 1 says that the Gaussians were trained with antialiasing

# Means keep this many binary digits after the point, 1.5e-5, or as many as their range allows.
_FRACTIONAL_BITS = 16
_COLOR_SCALE = 0.15  # stored = 0.5 + 0.15 f_dc, which leaves room around [0, 1]
_SQRT_HALF = 0.5**0.5

# A file may promise no more than its size can hold by sane compression: a small one never takes much memory.
_MAX_RATIO = 64
_ALWAYS_ALLOWED = 100_000


def is_spz(head: bytes) -> bool:
    """Whether a file that begins so is a `.spz` file."""
    return head.startswith((_GZIP_MAGIC, _MAGIC))


def encode(gaussians: Gaussians, version: int = 3) -> bytes:
    """The bytes of a `.spz` file for one object, its axes as they are.

    Version 3 is what most viewers read, version 4 the newest. Raises `InputError` for another version,
    or if a mean is too far out for 24 bits.
    """
    if version not in WRITTEN_VERSIONS:
        raise InputError(
            f".spz version {version} is not written here: expected {' or '.join(map(str, WRITTEN_VERSIONS))}"
        )
    bits = _fractional_bits(gaussians.means)
    parts = [
        _fixed24(gaussians.means, bits),
        _bytes(255 * gaussians.opacities),
        _bytes(255 * (0.5 + _COLOR_SCALE / SH_0 * (gaussians.colors - 0.5))),
        _bytes(16 * (gaussians.scales.clamp(min=1e-12).log() + 10)),
        _smallest_three(gaussians.quats),
    ]
    streams = len(parts) if version == 4 else 0
    header = _HEADER.pack(_MAGIC, version, gaussians.count, 0, bits, 0, streams)
    if version == 3:
        return gzip.compress(header + b"".join(parts), mtime=0)
    compressed = [_zstd().compress(part) for part in parts]
    table = b"".join(_SIZES.pack(len(c), len(p)) for c, p in zip(compressed, parts, strict=True))
    return _HEADER_4.pack(header, _HEADER_4.size) + table + b"".join(compressed)


def decode(data: bytes, name: str, most: int = MAX_GAUSSIANS) -> Gaussians:
    """At most `most` Gaussians of the bytes of a `.spz` file called `name`, version 2 to 4, their axes as
    they are.

    Higher spherical harmonics are left out with a note. Raises `InputError` if the file is of another
    version, cut short or damaged, or promises more than `most`, or than its size can hold.
    """
    if data.startswith(_GZIP_MAGIC):
        header, parts = _gunzip(data, name, most)
    else:
        header, parts = _unzstd(data, name, most)
    if header.degree:
        logger.info("%s: view-dependent color (spherical harmonics) is left out", name)
    means, opacities, colors, scales, quats = (np.frombuffer(part, np.uint8) for part in parts)
    byte_values = [torch.from_numpy(x.astype(np.float32)) for x in (opacities, colors, scales)]
    unpack = _from_smallest_three if header.version > 2 else _from_first_three
    return Gaussians(
        means=_from_fixed24(means.reshape(-1, 3, 3), header.fractional_bits),
        quats=unpack(quats.reshape(header.count, -1)),
        scales=(byte_values[2] / 16 - 10).exp().reshape(-1, 3),
        opacities=byte_values[0] / 255,
        colors=(0.5 + SH_0 / _COLOR_SCALE * (byte_values[1] / 255 - 0.5)).clamp(0, 1).reshape(-1, 3),
    )


@dataclass(frozen=True)
class _Header:
    version: int
    count: int
    degree: int
    fractional_bits: int
    extended: bool
    streams: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of means, opacities, colors, scales, rotations."""
        return tuple(self.count * size for size in (9, 1, 3, 3, 3 if self.version == 2 else 4))


def _read_header(data: bytes, file_size: int, versions: tuple[int, ...], name: str, most: int) -> _Header:
    if len(data) < _HEADER.size:
        raise _damaged(name)
    magic, version, count, degree, bits, flags, streams = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise InputError(f"{name}: not a .spz file, it does not begin with NGSP; give a file of Gaussians")
    if version not in versions:
        raise InputError(f"{name}: .spz version {version} is not read here; write it again as version 3 or 4")
    if count == 0:
        raise InputError(f"{name}: holds no Gaussians; write it again")
    if count > most:
        raise InputError(f"{name}: has {count:,} Gaussians, expected at most {most:,}")
    if count > _MAX_RATIO * file_size // 20 + _ALWAYS_ALLOWED:
        raise InputError(
            f"{name}: promises {count:,} Gaussians, more than the file can hold; fetch or write it again"
        )
    if degree > 4 or bits > 24:
        raise _damaged(name)
    return _Header(version, count, degree, bits, bool(flags & _EXTENDED), streams)


def _gunzip(data: bytes, name: str, most: int) -> tuple[_Header, list[bytes]]:
    decompressor = zlib.decompressobj(wbits=31)
    try:
        head = decompressor.decompress(data, _HEADER.size)
        header = _read_header(head, len(data), (2, 3), name, most)
        if header.extended:
            raise InputError(f"{name}: has extensions of its maker; write it again without, or as version 4")
        wanted = sum(header.sizes)
        # One byte more than wanted brings a stream that ends here to its end, and so to its checksum.
        body = decompressor.decompress(decompressor.unconsumed_tail, wanted + 1)
    except zlib.error:
        raise _damaged(name) from None
    ended = decompressor.eof and len(body) == wanted
    if len(body) < wanted or (header.degree == 0 and not ended):
        raise _damaged(name)
    offsets = np.cumsum((0, *header.sizes))
    return header, [body[a:b] for a, b in pairwise(offsets)]


def _unzstd(data: bytes, name: str, most: int) -> tuple[_Header, list[bytes]]:
    header = _read_header(data, len(data), (4,), name, most)
    if header.extended:
        logger.info("%s: extensions of its maker are left out", name)
    if len(data) < _HEADER_4.size or header.streams < len(header.sizes):
        raise _damaged(name)
    _, table = _HEADER_4.unpack_from(data)
    start = table + header.streams * _SIZES.size
    if table < _HEADER_4.size or start > len(data):
        raise _damaged(name)
    parts = []
    for i, size in enumerate(header.sizes):
        compressed, plain = _SIZES.unpack_from(data, table + i * _SIZES.size)
        if plain != size or start + compressed > len(data):
            raise _damaged(name)
        parts.append(_decompress_zstd(data[start : start + compressed], size, name))
        start += compressed
    return header, parts


def _decompress_zstd(data: bytes, size: int, name: str) -> bytes:
    zstd = _zstd()
    decompressor = zstd.ZstdDecompressor()
    try:
        part = decompressor.decompress(data, max_length=size + 1)
    except (zstd.ZstdError, ValueError):
        raise _damaged(name) from None
    if len(part) != size or not decompressor.eof:
        raise _damaged(name)
    return part


def _zstd() -> ModuleType:
    if sys.version_info >= (3, 14):
        from compression import zstd  # pyright: ignore[reportMissingImports]
    else:
        from backports import zstd
    return zstd


def _damaged(name: str) -> InputError:
    return InputError(f"{name}: cut short or damaged, not a whole .spz file; fetch or write it again")


def _fractional_bits(means: Tensor) -> int:
    reach = float(means.abs().max())
    for bits in range(_FRACTIONAL_BITS, -1, -1):
        if reach * 2**bits < 2**23 - 1:
            return bits
    raise InputError(f"a Gaussian is {reach:.3g} from the origin, too far for .spz; write .ply instead")


def _fixed24(means: Tensor, bits: int) -> bytes:
    fixed = (means.double() * 2**bits).round().numpy().astype("<i4")
    return fixed.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def _from_fixed24(stored: np.ndarray, bits: int) -> Tensor:
    """(n, 3, 3) bytes to (n, 3) floats; shifting up and down again extends the sign."""
    wide = np.zeros((*stored.shape[:-1], 4), np.uint8)
    wide[..., 1:] = stored
    fixed = wide.view("<i4")[..., 0] >> 8
    return torch.from_numpy((fixed / 2.0**bits).astype(np.float32))


def _bytes(values: Tensor) -> bytes:
    return values.round().clamp(0, 255).to(torch.uint8).numpy().tobytes()


def _smallest_three(quats: Tensor) -> bytes:
    """2 bits for the largest component's place in xyzw; sign and 9 bits for each of the other three."""
    xyzw = quats.roll(-1, dims=-1).numpy()
    largest = np.abs(xyzw).argmax(axis=-1)
    rows = np.arange(len(xyzw))
    negate = xyzw[rows, largest] < 0
    packed = largest.astype(np.uint32)
    for component in range(4):
        value = xyzw[:, component]
        magnitude = np.minimum(np.floor(511 * np.abs(value) / _SQRT_HALF + 0.5), 511).astype(np.uint32)
        sign = ((value < 0) ^ negate).astype(np.uint32)
        packed = np.where(component == largest, packed, packed << 10 | sign << 9 | magnitude)
    return packed.astype("<u4").tobytes()


def _from_smallest_three(stored: np.ndarray) -> Tensor:
    packed = stored.copy().view("<u4")[:, 0]
    largest = packed >> 30
    xyzw = np.zeros((len(packed), 4), np.float32)
    for component in (3, 2, 1, 0):
        magnitude = _SQRT_HALF / 511 * (packed & 511)
        value = np.where(packed & 512, -magnitude, magnitude)
        here = component == largest
        xyzw[:, component] = np.where(here, 0, value)
        packed = np.where(here, packed, packed >> 10)
    rest = np.sqrt(np.maximum(1 - np.square(xyzw).sum(axis=-1), 0))
    xyzw[np.arange(len(xyzw)), largest] = rest
    return F.normalize(torch.from_numpy(xyzw), dim=-1).roll(1, dims=-1)


def _from_first_three(stored: np.ndarray) -> Tensor:
    xyz = torch.from_numpy(stored.astype(np.float32)) / 127.5 - 1
    w = (1 - xyz.square().sum(dim=-1, keepdim=True)).clamp(min=0).sqrt()
    return F.normalize(torch.cat([w, xyz], dim=-1), dim=-1)
