"""Charts are valid SVG, and their marks stand where the numbers say."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from sparsegen.evaluation.plots import Series, histogram, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def _labels(chart: ElementTree.Element, anchor: str) -> dict[float, float]:
    """Numbers written at an axis, and where."""
    place = "y" if anchor == "end" else "x"
    texts = [t for t in chart.iter(f"{SVG}text") if t.get("text-anchor") == anchor and t.get(place)]
    found = {}
    for text in texts:
        try:
            found[float(text.text or "")] = float(text.attrib[place])
        except ValueError:
            continue
    return found


def test_points_stand_where_the_axis_says() -> None:
    chart = ElementTree.fromstring(
        line_chart([Series("a & <b>", [10, 30, 50], [20, math.nan, 24])], "angle", "PSNR")
    )
    points = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in chart.iter(f"{SVG}circle")]
    assert len(points) == 2  # what is not finite is left out
    ups, acrosses = _labels(chart, "end"), _labels(chart, "middle")
    assert points[0][1] == pytest.approx(ups[20] - 4, abs=0.2)
    assert points[1][1] == pytest.approx(ups[24] - 4, abs=0.2)
    assert points[0][0] == pytest.approx(acrosses[10], abs=0.2)
    assert points[1][0] == pytest.approx(acrosses[50], abs=0.2)
    assert any(text.text == "a & <b>" for text in chart.iter(f"{SVG}text"))


def test_bars_are_as_high_as_their_values() -> None:
    chart = ElementTree.fromstring(histogram([0, 0.5, 1], [0.1, 0.4], "opacity", "share"))
    low, high = (float(bar.attrib["height"]) for bar in chart.iter(f"{SVG}rect"))
    assert high == pytest.approx(4 * low, rel=0.01)


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, 0.0], [-1e-9, 1e-9], [1e6, 3e6], []])
def test_any_range_can_be_drawn(values: list[float]) -> None:
    x = [float(n) for n in range(len(values))]
    text = line_chart([Series("a", x, values)], "x", "y", counts=[(n, 3) for n in x])
    ElementTree.fromstring(text)
    assert "nan" not in text
    assert "inf" not in text
