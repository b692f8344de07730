"""How far apart two seats' words on one meter may be and still say the same.

Seats that hear the same messages read the same to the Wh. Seats that ask a device themselves do so
at different instants, and between two samples everybody interpolates for himself.
"""

from __future__ import annotations

from dataclasses import dataclass

from market.types import MeterReading


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A difference that is put up with: the larger of the two, 0 for none.

    Attributes:
        wh: In Wh.
        percent: In percent of the larger energy.
    """

    wh: int = 0
    percent: float = 0.0

    def near(self, a_wh: int, b_wh: int) -> bool:
        """Return whether two energies are close enough."""
        apart_wh = abs(a_wh - b_wh)
        return apart_wh <= self.wh or 100 * apart_wh <= self.percent * max(a_wh, b_wh)

    def covers(self, a: MeterReading | None, b: MeterReading | None) -> bool:
        """Return whether two words on a node say the same: both nothing, or alike and close."""
        if a is None or b is None:
            return a is b
        return (
            (a.node, a.quality) == (b.node, b.quality)
            and self.near(a.export_wh, b.export_wh)
            and self.near(a.import_wh, b.import_wh)
        )


EXACT = Tolerance()
"""Nothing is put up with."""
