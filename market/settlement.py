"""Reference model of a period's settlement, written from SPEC section 6 and nothing else.

A pure function of positions, readings, prices and mode. It is meant to be read from top to
bottom next to the specification and to be compared with the contracts bit for bit; it prefers
one plain list per quantity, in ascending node id, to anything faster. Integers only.

Source: Peng et al., section V, for the legs; SPEC section 6.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from market.bill import Bill, Deviation, GridAccount, Line, Mode, Settlement
from market.prices import PeriodPrices
from market.types import MeterReading, Options, Position, Quality

__all__ = [
    "Mode",
    "Settlement",
    "SettlementInputError",
    "Transfer",
    "delta",
    "settle",
]

TAKE_DIVISOR = 5
"""A node takes surplus at the selling price up to `Qb / 5`, Peng's tau of 20 %."""

NYUAN_PER_UYUAN = 1000


class SettlementInputError(ValueError):
    """Positions or readings that no market can have produced."""


def settle(
    positions: Iterable[Position],
    readings: Iterable[MeterReading],
    prices: PeriodPrices,
    mode: Mode = Mode.PROVISIONAL,
    *,
    void: bool = False,
) -> Settlement:
    """Settle a period.

    Args:
        positions: At most one per node, in any order, as agreements and clearings make them.
        readings: At most one per node, in any order.
        prices: The fixed prices of the period, micro-yuan per kWh.
        mode: Whether unread meters count as planned or as exporting nothing.
        void: The clearing was not complete by the last call; plans count as nothing.

    Returns:
        A bill per node and the grid company's account, zero-sum in money and energy.

    Raises:
        SettlementInputError: If a node appears twice, or the plans do not balance.
    """
    position_of = _by_node(positions, "positions")
    reading_of = _by_node(readings, "readings")
    _require_balanced(position_of.values())
    nodes = sorted(position_of.keys() | reading_of.keys())

    plans: list[Position] = []
    deviations: list[Deviation] = []
    feeable: list[int] = []
    flags: list[bool] = []
    for node in nodes:
        plan = position_of.get(node, Position(node))
        if void:
            plan = replace(plan, sold_wh=0, bought_wh=0, receive_nyuan=0, pay_nyuan=0)
        reading = reading_of.get(node)
        export_wh, import_wh = effective_reading(plan, reading, mode)
        deviation = deviate(plan, export_wh, import_wh)
        plans.append(plan)
        deviations.append(deviation)
        feeable.append(plan.bought_wh + deviation.extra_wh)
        flags.append(reading is None or reading.quality is Quality.SUBSTITUTED)

    short = [d.short_wh for d in deviations]
    extra = [d.extra_wh for d in deviations]
    over = [d.over_wh for d in deviations]
    unused = [d.unused_wh for d in deviations]

    # Leg 1: shortages buy the reserve nodes' over-delivery.
    bought_1, sold_1 = match(short, _only(over, plans, Options.RESERVE))
    short = _minus(short, bought_1)
    over = _minus(over, sold_1)

    # From here on nothing tells `over` from `unused`, hence one list of surplus.
    surplus = _plus(over, unused)

    # Leg 2: surplus on offer goes to nodes that take, up to a fifth of what they bought.
    takeable = [min(e, p.bought_wh // TAKE_DIVISOR) for e, p in zip(extra, plans, strict=True)]
    bought_2, sold_2 = match(
        _only(takeable, plans, Options.TAKE), _only(surplus, plans, Options.OFFER)
    )
    extra = _minus(extra, bought_2)
    surplus = _minus(surplus, sold_2)

    # Leg 3: all need and all surplus that is left meet inside the micro-grid.
    need = _plus(short, extra)
    bought_3, sold_3 = match(need, surplus)

    # Leg 4: the grid company serves the rest; at most one of the two sides has any.
    bought_4 = _minus(need, bought_3)
    sold_4 = _minus(surplus, sold_3)

    feed_in = prices.feed_in_uyuan_per_kwh
    p_s = prices.selling_uyuan_per_kwh
    p_c = prices.compensation_uyuan_per_kwh
    retail = prices.retail_uyuan_per_kwh
    fee = prices.fee_uyuan_per_kwh

    bills = tuple(
        Bill(
            node=node,
            flagged=flags[k],
            locked_uyuan=plans[k].locked_uyuan,
            deviation=deviations[k],
            plan=_line(
                plans[k].sold_wh, plans[k].bought_wh, plans[k].receive_nyuan, plans[k].pay_nyuan
            ),
            compensation=_line(sold_1[k], bought_1[k], sold_1[k] * p_c, bought_1[k] * p_c),
            selling=_line(sold_2[k], bought_2[k], sold_2[k] * p_s, bought_2[k] * p_s),
            balance=_line(sold_3[k], bought_3[k], sold_3[k] * p_s, bought_3[k] * p_c),
            grid=_line(sold_4[k], bought_4[k], sold_4[k] * feed_in, bought_4[k] * retail),
            fee=_line(0, feeable[k], 0, feeable[k] * fee),
        )
        for k, node in enumerate(nodes)
    )

    sales_nyuan = sum(bought_4) * retail
    purchases_nyuan = sum(sold_4) * feed_in
    spread_nyuan = sum(bought_3) * (p_c - p_s)
    fees_nyuan = sum(feeable) * fee
    net_uyuan = -sum(bill.net_uyuan for bill in bills)
    rent_nyuan = sum(plan.pay_nyuan - plan.receive_nyuan for plan in plans)
    named_nyuan = sales_nyuan - purchases_nyuan + spread_nyuan + fees_nyuan + rent_nyuan
    return Settlement(
        bills=bills,
        grid_company=GridAccount(
            sold_wh=sum(bought_4),
            bought_wh=sum(sold_4),
            sales_nyuan=sales_nyuan,
            purchases_nyuan=purchases_nyuan,
            spread_nyuan=spread_nyuan,
            fees_nyuan=fees_nyuan,
            rent_nyuan=rent_nyuan,
            dust_nyuan=net_uyuan * NYUAN_PER_UYUAN - named_nyuan,
            net_uyuan=net_uyuan,
        ),
        mode=mode,
    )


def effective_reading(plan: Position, reading: MeterReading | None, mode: Mode) -> tuple[int, int]:
    """Export and import a node is settled on.

    Args:
        plan: The node's position, already emptied if the period is void.
        reading: What was reported, if anything.
        mode: Provisional or final.

    Returns:
        `(E, I)` in Wh.
    """
    if reading is not None and reading.quality is Quality.MEASURED:
        return reading.export_wh, reading.import_wh
    if reading is None:
        export_wh, import_wh = plan.sold_wh, plan.bought_wh
    else:
        export_wh = min(plan.sold_wh, reading.export_wh)
        import_wh = max(plan.bought_wh, reading.import_wh)
    return (0 if mode is Mode.FINAL else export_wh), import_wh


def deviate(plan: Position, export_wh: int, import_wh: int) -> Deviation:
    """Split the difference between what a node did and what it planned.

    Args:
        plan: The node's position.
        export_wh: Effective export, Wh.
        import_wh: Effective import, Wh.
    """
    d = (export_wh - import_wh) - (plan.sold_wh - plan.bought_wh)
    down, up = max(0, -d), max(0, d)
    short = min(down, max(0, plan.sold_wh - export_wh))
    over = min(up, max(0, export_wh - plan.sold_wh))
    return Deviation(
        export_wh=export_wh,
        import_wh=import_wh,
        short_wh=short,
        extra_wh=down - short,
        over_wh=over,
        unused_wh=up - over,
    )


def match(demand_wh: Sequence[int], supply_wh: Sequence[int]) -> tuple[list[int], list[int]]:
    """Move `T = min(S_demand, S_supply)` Wh, both sides pro rata.

    Args:
        demand_wh: Quantity asked per node, in ascending node id, Wh.
        supply_wh: Quantity offered per node, in the same order, Wh.

    Returns:
        Energy bought and energy sold per node, Wh; both sum to T.
    """
    traded_wh = min(sum(demand_wh), sum(supply_wh))
    return shares(traded_wh, demand_wh), shares(traded_wh, supply_wh)


def shares(total_wh: int, quantities_wh: Sequence[int]) -> list[int]:
    """Share a total pro rata by telescoping floors.

    `share_k = floor(T * cum_k / S) - floor(T * cum_(k-1) / S)`: exact in sum, and no share exceeds
    its quantity.

    Args:
        total_wh: `T`, at most the sum of the quantities, Wh.
        quantities_wh: What each node asks or offers, in ascending node id, Wh.
    """
    whole_wh = sum(quantities_wh)
    if whole_wh == 0:
        return [0] * len(quantities_wh)
    result: list[int] = []
    cumulated_wh = served_wh = 0
    for quantity_wh in quantities_wh:
        cumulated_wh += quantity_wh
        served_before_wh, served_wh = served_wh, total_wh * cumulated_wh // whole_wh
        result.append(served_wh - served_before_wh)
    return result


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a settlement hands the vault for one node (SPEC section 7).

    Attributes:
        node: Member id.
        net_uyuan: Change against the previous version, micro-yuan.
        release_uyuan: Lock to release; only the first version releases one, micro-yuan.
        flagged: The node's money is to be held until a reading or the window's end frees it.
    """

    node: int
    net_uyuan: int
    release_uyuan: int
    flagged: bool


def delta(previous: Settlement | None, current: Settlement) -> list[Transfer]:
    """Transfers that lead from one version of a period to the next.

    A final settlement holds nothing back: its flagged nodes have delivered nothing and are done.

    Args:
        previous: The version settled before, `None` for the first.
        current: The version to settle.

    Returns:
        One transfer per node for which anything changes, in ascending node id.
    """
    nets_before = {} if previous is None else previous.nets_uyuan
    bills = {bill.node: bill for bill in current.bills}
    held_before = frozenset() if previous is None else previous.flagged
    transfers: list[Transfer] = []
    for node in sorted(nets_before.keys() | bills.keys()):
        bill = bills.get(node)
        transfer = Transfer(
            node=node,
            net_uyuan=(bill.net_uyuan if bill else 0) - nets_before.get(node, 0),
            release_uyuan=bill.locked_uyuan if bill and previous is None else 0,
            flagged=bill is not None and bill.flagged and current.mode is Mode.PROVISIONAL,
        )
        unchanged = transfer.net_uyuan == 0 and transfer.release_uyuan == 0
        if not unchanged or transfer.flagged != (node in held_before):
            transfers.append(transfer)
    return transfers


T = TypeVar("T", Position, MeterReading)


def _by_node(records: Iterable[T], what: str) -> dict[int, T]:
    result: dict[int, T] = {}
    for record in records:
        if record.node in result:
            raise SettlementInputError(f"node {record.node} has two {what}; give one per node")
        result[record.node] = record
    return result


def _require_balanced(positions: Iterable[Position]) -> None:
    sold_wh = bought_wh = receive_nyuan = pay_nyuan = 0
    for p in positions:
        sold_wh += p.sold_wh
        bought_wh += p.bought_wh
        receive_nyuan += p.receive_nyuan
        pay_nyuan += p.pay_nyuan
    if sold_wh != bought_wh or receive_nyuan > pay_nyuan:
        raise SettlementInputError(
            f"positions sell {sold_wh} Wh for {receive_nyuan} nyuan but buy {bought_wh} Wh for "
            f"{pay_nyuan} nyuan; every trade has two sides and nobody gets "
            "more than is paid, is a bucket missing?"
        )


def _line(sold_wh: int, bought_wh: int, receive_nyuan: int, pay_nyuan: int) -> Line:
    return Line(
        sold_wh=sold_wh,
        bought_wh=bought_wh,
        credit_uyuan=receive_nyuan // NYUAN_PER_UYUAN,
        debit_uyuan=div_up(pay_nyuan, NYUAN_PER_UYUAN),
    )


def div_up(amount: int, divisor: int) -> int:
    """Integer division that rounds up; payers round up."""
    return -(-amount // divisor)


def _only(quantities: Sequence[int], plans: Sequence[Position], option: Options) -> list[int]:
    return [q if option in p.options else 0 for q, p in zip(quantities, plans, strict=True)]


def _plus(left: Sequence[int], right: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(left, right, strict=True)]


def _minus(left: Sequence[int], right: Sequence[int]) -> list[int]:
    return [a - b for a, b in zip(left, right, strict=True)]
