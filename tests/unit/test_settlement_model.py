from dataclasses import replace

import pytest

from market.prices import PeriodPrices
from market.settlement import (
    Mode,
    Settlement,
    SettlementInputError,
    Transfer,
    delta,
    deviate,
    effective_reading,
    settle,
    shares,
)
from market.types import MeterReading, Options, OutOfRangeError, Position, Quality

PENG = PeriodPrices(
    feed_in_uyuan_per_kwh=250_000,
    selling_uyuan_per_kwh=329_700,
    planned_uyuan_per_kwh=437_900,
    compensation_uyuan_per_kwh=535_900,
    retail_uyuan_per_kwh=700_000,
    fee_uyuan_per_kwh=0,
)
A, B, C = 1, 2, 3
MONEY_NYUAN = 10_000 * 437_900


def agreement(
    seller: int = A,
    buyer: int = B,
    seller_options: Options = Options.NONE,
    buyer_options: Options = Options.NONE,
) -> list[Position]:
    """Ten kilowatt hours at 0.4379."""
    return [
        Position(seller, seller_options, sold_wh=10_000, receive_nyuan=MONEY_NYUAN, locked_uyuan=7),
        Position(buyer, buyer_options, bought_wh=10_000, pay_nyuan=MONEY_NYUAN, locked_uyuan=5),
    ]


def peng_positions() -> list[Position]:
    return [
        *agreement(seller_options=Options.OFFER, buyer_options=Options.TAKE),
        Position(C, Options.RESERVE),
    ]


def measured(node: int, export_wh: int = 0, import_wh: int = 0) -> MeterReading:
    return MeterReading(node, Quality.MEASURED, export_wh, import_wh)


def substituted(node: int, export_wh: int = 0, import_wh: int = 0) -> MeterReading:
    return MeterReading(node, Quality.SUBSTITUTED, export_wh, import_wh)


@pytest.mark.parametrize(
    ("a_export_wh", "b_import_wh", "c_export_wh", "nets_uyuan"),
    [
        pytest.param(
            10_000, 10_000, 0, {A: 4_379_000, B: -4_379_000, C: 0}, id="delivered as planned"
        ),
        pytest.param(
            8_000, 10_000, 2_000, {A: 3_307_200, B: -4_379_000, C: 1_071_800}, id="C compensates A"
        ),
        pytest.param(
            12_000, 12_000, 0, {A: 5_038_400, B: -5_038_400, C: 0}, id="B takes A's surplus"
        ),
    ],
)
def test_settle__pengs_cases__are_exact_to_the_unit(
    a_export_wh: int, b_import_wh: int, c_export_wh: int, nets_uyuan: dict[int, int]
) -> None:
    readings = [
        measured(A, a_export_wh),
        measured(B, import_wh=b_import_wh),
        measured(C, c_export_wh),
    ]

    settlement = settle(peng_positions(), readings, PENG)

    assert settlement.nets_uyuan == nets_uyuan
    assert settlement.grid_company.net_uyuan == 0
    assert settlement.grid_company.dust_nyuan == 0
    assert settlement.flagged == ()


def test_settle__short_without_reserve__meets_local_surplus_and_leaves_the_spread() -> None:
    readings = [measured(A, 8_000), measured(B, import_wh=10_000), measured(9, 2_000)]

    settlement = settle(agreement(), readings, PENG)

    spread_nyuan = 2_000 * (535_900 - 329_700)
    assert settlement.nets_uyuan == {A: 3_307_200, B: -4_379_000, 9: 659_400}
    assert settlement.grid_company.spread_nyuan == spread_nyuan
    assert settlement.grid_company.net_uyuan * 1000 == spread_nyuan


def test_settle__nobody_else__grid_sells_at_retail_and_buys_at_feed_in() -> None:
    short = settle(agreement(), [measured(A, 9_000), measured(B, import_wh=10_000)], PENG)
    over = settle(agreement(), [measured(A, 11_000), measured(B, import_wh=10_000)], PENG)

    assert short.nets_uyuan[A] == 4_379_000 - 700_000
    assert (short.grid_company.sold_wh, short.grid_company.bought_wh) == (1_000, 0)
    assert over.nets_uyuan[A] == 4_379_000 + 250_000
    assert (over.grid_company.sold_wh, over.grid_company.bought_wh) == (0, 1_000)


def test_settle__surplus_beyond_a_fifth__goes_to_the_balance_leg() -> None:
    readings = [measured(A, 13_000), measured(B, import_wh=13_000), measured(C)]

    bill = settle(peng_positions(), readings, PENG).bills[1]

    assert (bill.selling.bought_wh, bill.balance.bought_wh) == (2_000, 1_000)
    assert bill.selling.debit_uyuan == 659_400
    assert bill.balance.debit_uyuan == 535_900


def test_settle__without_the_options__legs_one_and_two_move_nothing() -> None:
    readings = [measured(A, 12_000), measured(B, import_wh=12_000), measured(C, 500)]

    settlement = settle(agreement(), readings, PENG)

    for bill in settlement.bills:
        assert bill.compensation.sold_wh == bill.compensation.bought_wh == 0
        assert bill.selling.sold_wh == bill.selling.bought_wh == 0
    assert sum(bill.balance.bought_wh for bill in settlement.bills) == 2_000


def test_settle__unused_energy_of_a_reserve_node__does_not_compensate() -> None:
    positions = agreement(buyer_options=Options.RESERVE)

    settlement = settle(positions, [measured(A, 8_000), measured(B, import_wh=8_000)], PENG)

    b = settlement.bills[1]
    assert b.deviation.unused_wh == 2_000
    assert b.compensation.sold_wh == 0
    assert b.balance.sold_wh == 2_000


def test_settle__fee__is_paid_on_bought_and_extra_but_not_on_short() -> None:
    prices = replace(PENG, fee_uyuan_per_kwh=10_001)
    readings = [measured(A, 9_000, import_wh=300), measured(B, import_wh=10_500)]

    settlement = settle(agreement(), readings, prices)

    a, b = settlement.bills
    assert (a.deviation.short_wh, a.deviation.extra_wh) == (1_000, 300)
    assert (a.fee.bought_wh, b.fee.bought_wh) == (300, 10_500)
    assert (a.fee.debit_uyuan, b.fee.debit_uyuan) == (3_001, 105_011)
    assert settlement.grid_company.fees_nyuan == 10_800 * 10_001


def test_settle__one_wh__rounds_payer_up_and_payee_down() -> None:
    prices = PeriodPrices(1, 2, 3, 4, 5, 0)

    settlement = settle([], [measured(A, export_wh=1), measured(B, import_wh=1)], prices)

    assert settlement.nets_uyuan == {A: 0, B: -1}
    assert settlement.grid_company.spread_nyuan == 2
    assert settlement.grid_company.dust_nyuan == 998


@pytest.mark.parametrize(
    ("reading", "mode", "expected"),
    [
        (measured(A, 7, 9), Mode.PROVISIONAL, (7, 9)),
        (measured(A, 7, 9), Mode.FINAL, (7, 9)),
        (substituted(A, 70, 90), Mode.PROVISIONAL, (50, 90)),
        (substituted(A, 30, 10), Mode.PROVISIONAL, (30, 20)),
        (substituted(A, 30, 90), Mode.FINAL, (0, 90)),
        (substituted(A, 30, 10), Mode.FINAL, (0, 20)),
        (None, Mode.PROVISIONAL, (50, 20)),
        (None, Mode.FINAL, (0, 20)),
    ],
)
def test_effective_reading__follows_the_table(
    reading: MeterReading | None, mode: Mode, expected: tuple[int, int]
) -> None:
    assert effective_reading(Position(A, sold_wh=50, bought_wh=20), reading, mode) == expected


@pytest.mark.parametrize(
    ("sold", "bought", "export", "imported", "short_extra_over_unused"),
    [
        (10, 0, 10, 0, (0, 0, 0, 0)),
        (10, 0, 8, 0, (2, 0, 0, 0)),
        (10, 0, 8, 5, (2, 5, 0, 0)),
        (0, 10, 0, 13, (0, 3, 0, 0)),
        (0, 10, 0, 4, (0, 0, 0, 6)),
        (10, 0, 12, 0, (0, 0, 2, 0)),
        (0, 10, 3, 0, (0, 0, 3, 10)),
        # Netted at the meter: less export and less import are no deviation.
        (10, 10, 4, 4, (0, 0, 0, 0)),
        (10, 10, 4, 6, (2, 0, 0, 0)),
        (10, 10, 12, 14, (0, 2, 0, 0)),
        (10, 10, 14, 12, (0, 0, 2, 0)),
    ],
)
def test_deviate__splits_by_cause(
    sold: int,
    bought: int,
    export: int,
    imported: int,
    short_extra_over_unused: tuple[int, int, int, int],
) -> None:
    d = deviate(Position(A, sold_wh=sold, bought_wh=bought), export, imported)

    assert (d.short_wh, d.extra_wh, d.over_wh, d.unused_wh) == short_extra_over_unused


@pytest.mark.parametrize(
    ("total", "quantities", "expected"),
    [
        (0, [], []),
        (0, [0, 0], [0, 0]),
        (1, [1, 1, 1], [0, 0, 1]),
        (2, [1, 1, 1], [0, 1, 1]),
        (7, [5, 0, 5], [3, 0, 4]),
        (10, [5, 0, 5], [5, 0, 5]),
    ],
)
def test_shares__telescope(total: int, quantities: list[int], expected: list[int]) -> None:
    assert shares(total, quantities) == expected


def test_settle__unread_seller__keeps_its_plan_until_the_window_ends() -> None:
    readings = [measured(B, import_wh=10_000)]

    provisional = settle(agreement(), readings, PENG)
    final = settle(agreement(), readings, PENG, Mode.FINAL)

    assert provisional.flagged == final.flagged == (A,)
    assert provisional.nets_uyuan[A] == 4_379_000
    assert final.nets_uyuan[A] == 4_379_000 - 7_000_000


def test_settle__void_period__settles_meters_only_and_releases_locks() -> None:
    readings = [measured(A, 10_000), measured(B, import_wh=10_000)]

    settlement = settle(agreement(), readings, PENG, void=True)

    assert settlement.nets_uyuan == {A: 3_297_000, B: -5_359_000}
    assert all(bill.plan.net_uyuan == 0 for bill in settlement.bills)
    assert [t.release_uyuan for t in delta(None, settlement)] == [7, 5]


def test_settle__void_and_unread__flags_an_empty_bill() -> None:
    settlement = settle(agreement(), [], PENG, void=True)

    assert settlement.flagged == (A, B)
    assert settlement.nets_uyuan == {A: 0, B: 0}


def test_settle__nothing__is_an_empty_settlement() -> None:
    settlement = settle([], [], PENG)

    assert settlement.bills == ()
    assert settlement.grid_company.net_uyuan == 0


def test_settle__node_twice__raises() -> None:
    with pytest.raises(SettlementInputError, match="node 1 has two readings"):
        settle([], [measured(A), measured(A)], PENG)
    with pytest.raises(SettlementInputError, match="node 1 has two positions"):
        settle([Position(A), Position(A)], [], PENG)


def test_settle__one_side_of_an_agreement__raises() -> None:
    with pytest.raises(SettlementInputError, match="two sides"):
        settle(agreement()[:1], [], PENG)


@pytest.mark.parametrize("node", [0, -1, 2**32])
def test_types__node_out_of_range__raises(node: int) -> None:
    with pytest.raises(OutOfRangeError, match="grid company"):
        Position(node)
    with pytest.raises(OutOfRangeError, match="grid company"):
        measured(node)


@pytest.mark.parametrize("value", [-1, 2**72])
def test_types__amount_out_of_range__names_the_field(value: int) -> None:
    with pytest.raises(OutOfRangeError, match="position sold_wh"):
        Position(A, sold_wh=value)
    with pytest.raises(OutOfRangeError, match="position bought_wh"):
        Position(A, bought_wh=value)
    with pytest.raises(OutOfRangeError, match="position receive_nyuan"):
        Position(A, receive_nyuan=value)
    with pytest.raises(OutOfRangeError, match="position pay_nyuan"):
        Position(A, pay_nyuan=value)
    with pytest.raises(OutOfRangeError, match="position locked_uyuan"):
        Position(A, locked_uyuan=value)
    with pytest.raises(OutOfRangeError, match="reading export_wh"):
        measured(A, export_wh=value)
    with pytest.raises(OutOfRangeError, match="reading import_wh"):
        measured(A, import_wh=value)


def versions() -> tuple[Settlement, Settlement]:
    first = settle(agreement(), [measured(B, import_wh=10_000)], PENG)
    second = settle(
        agreement(), [measured(A, 9_000), measured(B, import_wh=10_000), measured(9, 1_000)], PENG
    )
    return first, second


def test_delta__first_version__moves_nets_and_releases_locks() -> None:
    first, _ = versions()

    assert delta(None, first) == [
        Transfer(A, 4_379_000, release_uyuan=7, flagged=True),
        Transfer(B, -4_379_000, release_uyuan=5, flagged=False),
    ]


def test_delta__later_version__moves_only_the_difference() -> None:
    first, second = versions()

    assert delta(first, second) == [
        Transfer(A, -535_900, release_uyuan=0, flagged=False),
        Transfer(9, 329_700, release_uyuan=0, flagged=False),
    ]


def test_delta__reading_withdrawn__takes_its_money_back() -> None:
    first, second = versions()

    assert delta(second, first) == [
        Transfer(A, 535_900, release_uyuan=0, flagged=True),
        Transfer(9, -329_700, release_uyuan=0, flagged=False),
    ]


def test_delta__final_version__holds_nothing() -> None:
    first, _ = versions()
    final = settle(agreement(), [measured(B, import_wh=10_000)], PENG, Mode.FINAL)

    assert final.flagged == (A,)
    assert delta(first, final) == [Transfer(A, -7_000_000, release_uyuan=0, flagged=False)]


def test_delta__only_the_flag_changes__is_a_transfer() -> None:
    first, _ = versions()
    as_planned = settle(agreement(), [measured(A, 10_000), measured(B, import_wh=10_000)], PENG)

    assert delta(first, as_planned) == [Transfer(A, 0, release_uyuan=0, flagged=False)]
    assert delta(as_planned, first) == [Transfer(A, 0, release_uyuan=0, flagged=True)]


def test_delta__nothing_changes__is_empty() -> None:
    first, _ = versions()

    assert delta(first, first) == []
