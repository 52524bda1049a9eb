"""Colours of the site: every pair is computed, since no browser test sees gradients and hatches."""

import pytest

from tests.support.site_colours import contrast, luminance, token


@pytest.mark.parametrize("dark", [False, True])
def test_heat_map_is_legible_and_monotonic(dark):
    shades = [token(f"h{i}", dark) for i in range(10)]
    for i, shade in enumerate(shades):
        ink = token("on-low" if i < 6 else "on-mid" if i < 8 else "on-high", dark)
        assert contrast(shade, ink) >= 5.5 - 0.05
    order = [luminance(shade) for shade in shades]
    assert order == sorted(order, reverse=not dark)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["ink", "muted", "accent", "warn", "bad", "ok"])
def test_text_colours_are_legible(name, dark):
    for ground in ("paper", "surface"):
        assert contrast(token(name, dark), token(ground, dark)) >= 4.5
    assert contrast(token("muted", dark), token("line", dark)) >= 4.5
