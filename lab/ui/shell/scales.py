"""The values that sliders offer: fine where little decides, coarse where much does not."""

from __future__ import annotations

from collections.abc import Sequence

PIXEL_STEPS = tuple(
    [n / 4 for n in range(17)]
    + [n / 2 for n in range(9, 17)]
    + [*range(9, 17), *range(18, 25, 2), 25.5, *range(26, 33, 2), *range(36, 49, 4), 51, *range(52, 65, 4)]
    + [76.5, 89, 102, 114.75, 127.5, 153, 178.5, 204, 229.5, 255]
)
"""The values of an epsilon slider in 255ths, those of papers (0.1, 0.2, ...) among them: fine where photographs are
fooled, coarse where digits are."""
LENGTHS = (
    0,
    0.05,
    0.1,
    0.15,
    0.2,
    0.25,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    1,
    1.25,
    1.5,
    1.75,
    2,
    2.5,
    3,
    3.5,
    4,
    5,
    6,
    7,
    8,
    10,
    12,
    15,
    20,
    25,
    30,
    40,
    50,
    75,
    100,
    150,
    200,
    300,
    500,
    750,
    1000,
)
"""The values of an epsilon slider for lengths, in L2 or L1."""
COUNTS = (
    *range(21),
    *range(25, 51, 5),
    *range(60, 101, 10),
    *(n * 10**k for k in (2, 3, 4, 5) for n in (1.5, 2, 3, 4, 5, 7.5, 10)),
)
"""The values of a slider for whole numbers: every one at first, then wider apart."""


def scale_of(norm: str) -> Sequence[float]:
    """The values of a size's slider in a norm: in L-infinity in 255ths."""
    return PIXEL_STEPS if norm == "linf" else LENGTHS
