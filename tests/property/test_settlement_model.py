from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from market.ledger import Ledger
from market.settlement import Mode, Settlement, delta, settle, shares
from market.types import GRID_COMPANY, MeterReading, Position, Quality
from tests.strategies import PeriodCase, energies_wh, period_cases, readings_of


def settled(case: PeriodCase) -> Settlement:
    return settle(case.positions, case.readings, case.prices, case.mode, void=case.void)


@given(period_cases())
def test_money__with_the_grid_company__sums_to_zero(case: PeriodCase) -> None:
    settlement = settled(case)
    grid = settlement.grid_company

    assert sum(settlement.nets_uyuan.values()) + grid.net_uyuan == 0
    assert grid.net_uyuan * 1000 == (
        grid.sales_nyuan
        - grid.purchases_nyuan
        + grid.spread_nyuan
        + grid.fees_nyuan
        + grid.rent_nyuan
        + grid.dust_nyuan
    )


@given(period_cases())
def test_named_lines__equal_what_the_bills_say(case: PeriodCase) -> None:
    settlement = settled(case)
    grid, prices = settlement.grid_company, case.prices
    balanced_wh = sum(bill.balance.bought_wh for bill in settlement.bills)
    p_c, p_s = prices.compensation_uyuan_per_kwh, prices.selling_uyuan_per_kwh

    assert grid.sold_wh == sum(bill.grid.bought_wh for bill in settlement.bills)
    assert grid.bought_wh == sum(bill.grid.sold_wh for bill in settlement.bills)
    assert grid.sales_nyuan == grid.sold_wh * prices.retail_uyuan_per_kwh
    assert grid.purchases_nyuan == grid.bought_wh * prices.feed_in_uyuan_per_kwh
    assert grid.spread_nyuan == balanced_wh * (p_c - p_s)


@given(period_cases())
def test_energy__every_leg_balances_and_the_grid_serves_the_difference(case: PeriodCase) -> None:
    settlement = settled(case)
    bills, grid = settlement.bills, settlement.grid_company

    for leg in ("plan", "compensation", "selling", "balance"):
        sold_wh = sum(getattr(bill, leg).sold_wh for bill in bills)
        assert sold_wh == sum(getattr(bill, leg).bought_wh for bill in bills)
    imported_wh = sum(bill.deviation.import_wh for bill in bills)
    exported_wh = sum(bill.deviation.export_wh for bill in bills)
    assert grid.sold_wh - grid.bought_wh == imported_wh - exported_wh
    assert 0 in (grid.sold_wh, grid.bought_wh)


@given(period_cases())
def test_energy__of_every_node_is_served_once(case: PeriodCase) -> None:
    for bill in settled(case).bills:
        d = bill.deviation
        legs = (bill.compensation, bill.selling, bill.balance, bill.grid)
        assert sum(leg.bought_wh for leg in legs) == d.short_wh + d.extra_wh
        assert sum(leg.sold_wh for leg in legs) == d.over_wh + d.unused_wh
        assert min(line.sold_wh for line in legs) >= 0
        assert min(line.bought_wh for line in legs) >= 0
        assert 0 in (d.short_wh + d.extra_wh, d.over_wh + d.unused_wh)
        traded_wh = sum(line.sold_wh - line.bought_wh for line in (bill.plan, *legs))
        assert traded_wh == d.export_wh - d.import_wh


@given(period_cases())
def test_options__bound_legs_one_and_two(case: PeriodCase) -> None:
    positions = {position.node: position for position in case.positions}
    for bill in settled(case).bills:
        position = positions.get(bill.node, Position(bill.node))
        reserve, offer, take = (bool(position.options & option) for option in (1, 2, 4))
        assert bill.compensation.sold_wh <= bill.deviation.over_wh * reserve
        assert bill.compensation.bought_wh <= bill.deviation.short_wh
        assert offer or bill.selling.sold_wh == 0
        assert bill.selling.bought_wh <= take * (bill.plan.bought_wh // 5)


@given(period_cases())
def test_dust__is_the_grid_companys_and_below_one_unit_per_amount(case: PeriodCase) -> None:
    settlement = settled(case)
    rounded_amounts = 0
    for bill in settlement.bills:
        rounded_amounts += sum((line.sold_wh > 0) + (line.bought_wh > 0) for line in bill.lines)

    assert 0 <= settlement.grid_company.dust_nyuan <= 999 * rounded_amounts


@given(st.lists(energies_wh(), max_size=20), st.data())
def test_shares__sum_to_the_total_and_stay_within_their_quantities(
    quantities_wh: list[int], data: st.DataObject
) -> None:
    total_wh = data.draw(st.integers(0, sum(quantities_wh)))

    result = shares(total_wh, quantities_wh)

    assert sum(result) == total_wh
    assert all(0 <= share <= q for share, q in zip(result, quantities_wh, strict=True))


@given(period_cases(), st.randoms(use_true_random=False))
def test_input_order__does_not_matter(case: PeriodCase, random: Random) -> None:
    positions, readings = list(case.positions), list(case.readings)
    random.shuffle(positions)
    random.shuffle(readings)

    shuffled = replace(case, positions=tuple(positions), readings=tuple(readings))
    assert settled(shuffled) == settled(case)


def as_planned(positions: tuple[Position, ...]) -> tuple[MeterReading, ...]:
    return tuple(MeterReading(p.node, Quality.MEASURED, p.sold_wh, p.bought_wh) for p in positions)


@given(period_cases())
def test_delivered_as_planned__moves_only_plan_and_fee(case: PeriodCase) -> None:
    planned = replace(case, readings=as_planned(case.positions), void=False)

    for bill, position in zip(
        settled(planned).bills, sorted(case.positions, key=lambda p: p.node), strict=True
    ):
        assert bill.net_uyuan == bill.plan.net_uyuan + bill.fee.net_uyuan
        assert bill.fee.bought_wh == position.bought_wh
        assert not bill.flagged


@given(period_cases(), st.data())
def test_short_seller__never_settles_better_than_by_delivering(
    case: PeriodCase, data: st.DataObject
) -> None:
    """Whatever the others do, from 1 Wh up to everything it sold."""
    sellers = [position for position in case.positions if position.sold_wh]
    if not sellers:
        return
    seller = data.draw(st.sampled_from(sellers))
    missing_wh = data.draw(st.sampled_from((1, seller.sold_wh)))
    others = tuple(r for r in case.readings if r.node != seller.node)

    def net_uyuan(export_wh: int) -> int:
        own = MeterReading(seller.node, Quality.MEASURED, export_wh, seller.bought_wh)
        nets = settled(replace(case, readings=(*others, own), void=False)).nets_uyuan
        return nets[seller.node]

    assert net_uyuan(seller.sold_wh - missing_wh) <= net_uyuan(seller.sold_wh)


@given(period_cases(), st.data())
def test_naked_sale__never_pays(case: PeriodCase, data: st.DataObject) -> None:
    """Selling more inside the price band without producing it does not raise a seller's net."""
    sellers = [position for position in case.positions if position.sold_wh]
    if not sellers:
        return
    seller = data.draw(st.sampled_from(sellers))
    own = MeterReading(seller.node, Quality.MEASURED, 0, seller.bought_wh)
    others = tuple(r for r in case.readings if r.node != seller.node)

    bills = settled(replace(case, readings=(*others, own), void=False)).bills
    bill = next(bill for bill in bills if bill.node == seller.node)

    assert bill.net_uyuan - bill.fee.net_uyuan + bill.plan.debit_uyuan <= 0


@given(period_cases())
def test_silence__never_ends_better_than_delivering_nothing(case: PeriodCase) -> None:
    settlement = settled(replace(case, mode=Mode.FINAL))

    for bill in settlement.bills:
        if bill.flagged:
            assert bill.deviation.export_wh == 0
            assert bill.deviation.import_wh >= bill.plan.bought_wh
            assert all(line.sold_wh == 0 for line in bill.lines[1:])


def funded(case: PeriodCase, seed_uyuan: int) -> Ledger:
    ledger = Ledger()
    if seed_uyuan:
        ledger.deposit(GRID_COMPANY, seed_uyuan)
    for position in case.positions:
        if position.locked_uyuan:
            ledger.deposit(position.node, position.locked_uyuan)
        ledger.lock(0, position.node, position.locked_uyuan)
    return ledger


def worths(ledger: Ledger, settlement: Settlement) -> dict[int, int]:
    return {node: ledger.worth_uyuan(node) for node in (GRID_COMPANY, *settlement.nets_uyuan)}


def assert_sound(ledger: Ledger) -> None:
    assert ledger.backing_uyuan() == ledger.token_balance_uyuan
    for node, account in ledger.accounts.items():
        assert min(account.free_uyuan, account.locked_uyuan, account.debt_uyuan) >= 0
        assert 0 in (account.free_uyuan, account.debt_uyuan)
        backed = [*ledger.locks.items(), *ledger.holds.items()]
        assert account.locked_uyuan == sum(amount for (_, owner), amount in backed if owner == node)
    if any(claim.funded_uyuan < claim.amount_uyuan for claim in ledger.claims):
        assert ledger.account(GRID_COMPANY).free_uyuan == 0


@given(period_cases(), energies_wh(), st.integers(1, 5))
def test_ledger__every_worth_moves_by_its_net_whatever_the_chunks(
    case: PeriodCase, seed_uyuan: int, chunk: int
) -> None:
    settlement = settled(case)
    ledger = funded(case, seed_uyuan)
    before = worths(ledger, settlement)
    transfers = delta(None, settlement)

    for first in range(0, len(transfers), chunk):
        ledger.apply(0, transfers[first : first + chunk])
        assert_sound(ledger)
        for node in settlement.nets_uyuan:
            worth_uyuan = ledger.worth_uyuan(node)
            ledger.collect(node)
            assert ledger.worth_uyuan(node) == worth_uyuan
        assert_sound(ledger)

    after = worths(ledger, settlement)
    assert after.pop(GRID_COMPANY) - before.pop(GRID_COMPANY) == settlement.grid_company.net_uyuan
    assert {node: after[node] - before[node] for node in after} == settlement.nets_uyuan
    assert not any(ledger.locks.values())


@given(period_cases(), st.data())
def test_ledger__versions_in_a_row_equal_the_last_one_alone(
    case: PeriodCase, data: st.DataObject
) -> None:
    nodes = sorted({p.node for p in case.positions} | {r.node for r in case.readings})
    if not nodes:
        return
    reports = [case.readings]
    for _ in range(data.draw(st.integers(1, 3))):
        reports.append(tuple(data.draw(readings_of(nodes, list(case.positions)))))
    versions = [
        settled(replace(case, readings=readings, mode=Mode.PROVISIONAL)) for readings in reports
    ]
    versions.append(settled(replace(case, readings=reports[-1], mode=Mode.FINAL)))
    stepwise, at_once = funded(case, 0), funded(case, 0)

    previous = None
    for version in versions:
        stepwise.apply(0, delta(previous, version))
        assert_sound(stepwise)
        previous = version
    at_once.apply(0, delta(None, versions[-1]))

    assert [stepwise.worth_uyuan(n) for n in (GRID_COMPANY, *nodes)] == [
        at_once.worth_uyuan(n) for n in (GRID_COMPANY, *nodes)
    ]
    assert not stepwise.holds
    assert all(account.locked_uyuan == 0 for account in stepwise.accounts.values())
