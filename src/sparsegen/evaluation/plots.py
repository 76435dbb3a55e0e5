"""Small charts as SVG text, for pages that need nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_COLORS = ("#2563a8", "#d9772b", "#2f8f6b", "#8a5bb5", "#b8485b", "#6b7280")
_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 16, 44
_COUNT_HEIGHT = 34  # of the bars of counts under a chart's curves


@dataclass(frozen=True)
class Series:
    """A named curve; points that are not finite are left out."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class _Scale:
    """From values to places on the page."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def line_chart(
    series: Sequence[Series],
    x_title: str,
    y_title: str,
    counts: Sequence[tuple[float, int]] = (),
) -> str:
    """Curves over one another. `counts` (x, number) are drawn as bars with their numbers under them."""
    points = [
        [(x, y) for x, y in zip(s.x, s.y, strict=True) if math.isfinite(x) and math.isfinite(y)]
        for s in series
    ]
    every = [point for curve in points for point in curve]
    if not every:
        return _svg(_words(_WIDTH / 2, _HEIGHT / 2, "nothing to show", "middle"), _HEIGHT)
    legend = 18 * len(series)
    top = _TOP + legend
    height = _HEIGHT + legend + (_COUNT_HEIGHT if counts else 0)
    floor = height - _BOTTOM - (_COUNT_HEIGHT if counts else 0)
    x_ticks = _ticks(min(x for x, _ in every), max(x for x, _ in every))
    y_ticks = _ticks(min(y for _, y in every), max(y for _, y in every))
    across = _Scale(x_ticks[0], x_ticks[-1], _LEFT, _WIDTH - _RIGHT)
    up = _Scale(y_ticks[0], y_ticks[-1], floor, top)
    parts = _grid(across, up, x_ticks, y_ticks, height - _BOTTOM)
    if counts:
        parts += _count_bars(counts, across, height - _BOTTOM)
    for number, (one, curve) in enumerate(zip(series, points, strict=True)):
        color = _COLORS[number % len(_COLORS)]
        places = [(across(x), up(y)) for x, y in curve]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        for (x, y), (value_x, value_y) in zip(places, curve, strict=True):
            title = f"<title>{escape(one.name)}: {value_x:g}, {value_y:.4g}</title>"
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}">{title}</circle>')
        line = _TOP + 18 * number
        parts.append(f'<rect x="{_LEFT}" y="{line - 4}" width="14" height="4" rx="2" fill="{color}"/>')
        parts.append(_words(_LEFT + 20, line + 2, one.name))
    return _svg("".join(parts) + _titles(x_title, y_title, height, (top + floor) / 2), height)


def histogram(edges: Sequence[float], values: Sequence[float], x_title: str, y_title: str) -> str:
    """Bars between `edges`, one more of those than `values`."""
    y_ticks = _ticks(0, max([*values, 1e-12]))
    across = _Scale(edges[0], edges[-1], _LEFT, _WIDTH - _RIGHT)
    floor = _HEIGHT - _BOTTOM
    up = _Scale(0, y_ticks[-1], floor, _TOP)
    parts = _grid(across, up, _ticks(edges[0], edges[-1]), y_ticks, floor)
    for left, right, value in zip(edges[:-1], edges[1:], values, strict=True):
        x, width = across(left) + 0.5, across(right) - across(left) - 1
        title = f"<title>{left:g} to {right:g}: {value:.4g}</title>"
        parts.append(
            f'<rect x="{x:.1f}" y="{up(value):.1f}" width="{width:.1f}" height="{floor - up(value):.1f}" '
            f'fill="{_COLORS[0]}">{title}</rect>'
        )
    return _svg("".join(parts) + _titles(x_title, y_title, _HEIGHT, (_TOP + floor) / 2), _HEIGHT)


def _grid(
    across: _Scale, up: _Scale, x_ticks: Sequence[float], y_ticks: Sequence[float], axis: float
) -> list[str]:
    parts = []
    for tick in y_ticks:
        y = up(tick)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#e4e7ec"/>')
        parts.append(_words(_LEFT - 8, y + 4, f"{tick:g}", "end"))
    parts += [_words(across(tick), axis + 18, f"{tick:g}", "middle") for tick in x_ticks]
    return parts


def _count_bars(counts: Sequence[tuple[float, int]], across: _Scale, floor: float) -> list[str]:
    largest = max(count for _, count in counts) or 1
    parts = []
    for x, count in counts:
        height = (_COUNT_HEIGHT - 18) * count / largest
        parts.append(
            f'<rect x="{across(x) - 9:.1f}" y="{floor - height:.1f}" width="18" height="{height:.1f}" '
            f'fill="#d0d5dd"/>'
        )
        parts.append(_words(across(x), floor - height - 3, str(count), "middle", 10))
    return parts


def _titles(x_title: str, y_title: str, height: float, middle: float) -> str:
    turned = (
        f'<text transform="translate(14 {middle:.1f}) rotate(-90)" text-anchor="middle">{escape(y_title)}'
        "</text>"
    )
    return _words((_LEFT + _WIDTH - _RIGHT) / 2, height - 8, x_title, "middle") + turned


def _words(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _svg(content: str, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" width="{_WIDTH}" '
        f'height="{height:g}" role="img" font-family="system-ui, sans-serif" font-size="12" '
        f'fill="#667085">{content}</svg>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Four to nine round numbers that enclose `low` and `high`."""
    spread = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(spread / 4))
    step = next(power * m for m in (1, 2, 5, 10) if spread / (power * m) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, max(last, first + 1) + 1)]
