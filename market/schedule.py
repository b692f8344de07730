"""The clock of a market: every instant and round in the life of a period (SPEC section 4).

Pure arithmetic over UTC seconds; nothing here reads a clock.
"""

from dataclasses import dataclass, fields


class ScheduleError(ValueError):
    """The parameters of a schedule contradict each other, or an instant has no answer yet."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Parameters of the periods' life, all in whole seconds, fixed at deployment.

    What an instant ends is over from that second on, what it opens is open from that second on.

    Attributes:
        epoch_s: UTC second at which period 0 starts.
        length_s: Length of a period.
        price_horizon_s: Price proposals open this long before the start.
        price_lead_s: Prices are fixed this long before the start.
        gate_lead_s: Agreements close and clearing opens this long before the start.
        round_length_s: Length of a committee round.
        settle_deadline_s: Without a report, anyone may settle this long after the close.
        window_s: No further report is taken this long after the close.
    """

    epoch_s: int
    length_s: int
    price_horizon_s: int
    price_lead_s: int
    gate_lead_s: int
    round_length_s: int
    settle_deadline_s: int
    window_s: int

    def __post_init__(self) -> None:
        """Refuse parameters under which some phase of a period would be empty or out of order.

        Raises:
            ScheduleError: If a duration is not positive, the leads are not
                `price_horizon > price_lead > gate_lead`, the window does not outlast the settle
                deadline, or the epoch lies before the first price proposal could open.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if value <= 0:
                raise ScheduleError(f"{field.name} is {value}; give a positive number of seconds")
        if not self.price_horizon_s > self.price_lead_s > self.gate_lead_s:
            raise ScheduleError(
                "leads must satisfy price_horizon_s > price_lead_s > gate_lead_s, but are "
                f"{self.price_horizon_s}, {self.price_lead_s}, {self.gate_lead_s}; "
                "prices are voted, then agreements placed, then cleared, then the period starts"
            )
        if self.window_s <= self.settle_deadline_s:
            raise ScheduleError(
                f"window_s {self.window_s} must exceed settle_deadline_s {self.settle_deadline_s}; "
                "otherwise a settlement on substitutes could never be corrected"
            )
        if self.epoch_s < self.price_horizon_s:
            raise ScheduleError(
                f"epoch_s {self.epoch_s} is smaller than price_horizon_s {self.price_horizon_s}; "
                "prices of period 0 would open before the clock begins"
            )

    def start(self, period: int) -> int:
        """First second of a period; also its last call, see `last_call`.

        Raises:
            ScheduleError: If `period` is negative.
        """
        if period < 0:
            raise ScheduleError(f"period {period} is negative; periods count from 0 at the epoch")
        return self.epoch_s + period * self.length_s

    def close(self, period: int) -> int:
        """First second after a period: reports open."""
        return self.start(period) + self.length_s

    def price_opens(self, period: int) -> int:
        """Price proposals open; benchmark and committee of the period are frozen."""
        return self.start(period) - self.price_horizon_s

    def price_deadline(self, period: int) -> int:
        """Prices are fixed; agreements open."""
        return self.start(period) - self.price_lead_s

    def gate(self, period: int) -> int:
        """Agreements and declarations close; clearing opens."""
        return self.start(period) - self.gate_lead_s

    def last_call(self, period: int) -> int:
        """A period whose clearing is not complete becomes void."""
        return self.start(period)

    def settle_deadline(self, period: int) -> int:
        """Without a report, anyone may settle on substitutes."""
        return self.close(period) + self.settle_deadline_s

    def window_end(self, period: int) -> int:
        """No further report; unread meters count as having exported nothing."""
        return self.close(period) + self.window_s

    def period_at(self, timestamp_s: int) -> int:
        """Period that is running at an instant.

        Args:
            timestamp_s: UTC seconds.

        Raises:
            ScheduleError: If the instant lies before the epoch.
        """
        if timestamp_s < self.epoch_s:
            raise ScheduleError(
                f"{timestamp_s} lies before the epoch {self.epoch_s}; no period is running yet"
            )
        return (timestamp_s - self.epoch_s) // self.length_s

    def report_round(self, period: int, timestamp_s: int) -> int:
        """Round of reporting on a period that is running at an instant, from 0.

        Raises:
            ScheduleError: If the period has not closed.
        """
        return self._round(timestamp_s, self.close(period), f"reports on period {period}")

    def price_round(self, period: int, timestamp_s: int) -> int:
        """Round of price voting for periods from `period` on, from 0.

        Raises:
            ScheduleError: If price proposals are not open.
        """
        return self._round(timestamp_s, self.price_opens(period), f"prices of period {period}")

    def report_primary(self, period: int, timestamp_s: int, seats: int) -> int:
        """Seat that may propose a report now, 0 to `seats - 1`.

        Raises:
            ScheduleError: If the period has not closed or there is no seat.
        """
        return primary(period, self.report_round(period, timestamp_s), seats)

    def price_primary(self, period: int, timestamp_s: int, seats: int) -> int:
        """Seat that may propose prices from a period on, 0 to `seats - 1`.

        Raises:
            ScheduleError: If price proposals are not open or there is no seat.
        """
        return primary(period, self.price_round(period, timestamp_s), seats)

    def _round(self, timestamp_s: int, opens_s: int, what: str) -> int:
        if timestamp_s < opens_s:
            raise ScheduleError(f"{what} open at {opens_s}, {opens_s - timestamp_s} s from now")
        return (timestamp_s - opens_s) // self.round_length_s


def primary(period: int, round_index: int, seats: int) -> int:
    """Seat whose turn it is to propose: `(period + round) mod seats`.

    Args:
        period: The period proposed on.
        round_index: Round, from 0.
        seats: Size of the committee frozen for the period.

    Raises:
        ScheduleError: If there is no seat.
    """
    if seats <= 0:
        raise ScheduleError(f"a committee of {seats} seats has no primary; elect at least one")
    return (period + round_index) % seats
