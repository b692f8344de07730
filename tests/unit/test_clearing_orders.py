import numpy as np
import pytest

from market.clearing import Band, Feeder, FeederError, Orders, OrdersError, Rule, RuleError, clear
from market.clearing.orders import eligible, merit_keys
from tests.books import Row, book


def columns(**changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "node": np.array([1, 2]),
        "bus": np.array([0, 0]),
        "is_buy": np.array([True, False]),
        "energy_wh": np.array([10, 10]),
        "limit_uyuan_per_kwh": np.array([5, 5]),
        "seq": np.array([3, 4]),
    }
    return base | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": np.array([4, 3])},
        {"seq": np.array([4, 4])},
        {"seq": np.array([4, 2**30])},
        {"energy_wh": np.array([10, 2**40])},
        {"energy_wh": np.array([10, -1])},
        {"energy_wh": np.array([10.0, 1.0])},
        {"limit_uyuan_per_kwh": np.array([0, 2**32])},
        {"node": np.array([1, 2, 3])},
        {"node": np.array([[1, 2]])},
        {"is_buy": np.array([1, 0])},
    ],
)
def test_orders__that_the_chain_cannot_carry__are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(OrdersError):
        Orders(**columns(**changes))  # type: ignore[arg-type]


def test_orders__do_not_change_with_the_arrays_they_came_from() -> None:
    given = columns()
    orders = Orders(**given)  # type: ignore[arg-type]
    energy = given["energy_wh"]
    assert isinstance(energy, np.ndarray)
    energy[0] = 99
    assert orders.energy_wh.tolist() == [10, 10]
    with pytest.raises(ValueError, match="read-only"):
        orders.energy_wh[0] = 99


def test_band__with_ends_reversed__is_refused() -> None:
    with pytest.raises(OrdersError, match="ascending"):
        Band(5, 4)


def test_keys__rank_limit_then_side_then_seq() -> None:
    orders = book(
        [
            Row(1, True, 1, 7),
            Row(2, False, 1, 7),
            Row(3, True, 1, 7),
            Row(4, False, 1, 7),
            Row(5, True, 1, 6),
            Row(6, False, 1, 8),
        ]
    )
    # The bid at 6, both asks at 7 by seq, both bids at 7 with the earlier on top, the ask at 8.
    assert np.argsort(merit_keys(orders)).tolist() == [4, 1, 3, 2, 0, 5]


def test_keys__of_the_largest_values__are_positive_and_differ() -> None:
    orders = book([Row(1, b, 1, 2**32 - 1) for b in (True, False)], first_seq=2**30 - 2)
    bid, ask = merit_keys(orders).tolist()
    assert 0 < ask < bid


def test_eligible__leaves_out_cancelled_and_out_of_band() -> None:
    rows = [Row(1, True, 0, 5), Row(2, True, 1, 4), Row(3, True, 1, 9), Row(4, False, 1, 5)]
    assert eligible(book(rows), Band(5, 8)).tolist() == [3]
    assert eligible(book(rows), Band(4, 9)).tolist() == [1, 2, 3]


def test_eligible__at_the_planned_price__leaves_out_the_unwilling() -> None:
    rows = [Row(1, True, 1, 4), Row(2, True, 1, 5), Row(3, False, 1, 5), Row(4, False, 1, 6)]
    assert eligible(book(rows), Band(), 5).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([Row(1, False, 1, 5), Row(1, True, 1, 5)], [0]),
        ([Row(1, True, 1, 5), Row(1, False, 1, 5)], [0]),
        ([Row(1, True, 1, 4), Row(1, False, 1, 5)], [0, 1]),
        ([Row(1, True, 1, 5), Row(2, False, 1, 5)], [0, 1]),
        # The bid crosses the first ask; the last ask crosses the bid, which counts although out.
        ([Row(1, False, 1, 3), Row(1, True, 1, 5), Row(1, False, 1, 4)], [0]),
        # An order outside the band does not push out a later one.
        ([Row(1, False, 1, 0), Row(1, True, 1, 5)], [1]),
        ([Row(1, False, 0, 3), Row(1, True, 1, 5)], [1]),
    ],
)
def test_eligible__of_ones_own_crossing_orders__keeps_the_earlier(
    rows: list[Row], expected: list[int]
) -> None:
    assert eligible(book(rows), Band(1, 9)).tolist() == expected


@pytest.mark.parametrize(
    ("parent", "up", "down"),
    [
        ([0, 1], [0, 0], [0, 0]),
        ([0, 2, 0], [0, 0, 0], [0, 0, 0]),
        ([1, 0], [0, 0], [0, 0]),
        ([0, 0], [0, -1], [0, 0]),
        ([0, 0], [0, 0], [0]),
        ([], [], []),
    ],
)
def test_feeder__that_is_no_tree_with_headroom__is_refused(
    parent: list[int], up: list[int], down: list[int]
) -> None:
    with pytest.raises(FeederError):
        Feeder(np.array(parent), np.array(up), np.array(down))


def test_feeder__sums_flows_below_each_line() -> None:
    #   0 - 1 - 2
    #         \ 3      4 at the root
    feeder = Feeder(np.array([0, 0, 1, 1, 0]), np.full(5, 99), np.full(5, 99))
    assert feeder.flows(np.array([0, 1, 10, -4, -7])).tolist() == [0, 7, 10, -4, -7]


def test_clear__of_an_order_off_the_feeder__says_which() -> None:
    orders = book([Row(1, True, 1, 1, bus=1)], first_seq=7)
    with pytest.raises(FeederError, match="order 7 is on bus 1"):
        clear(Rule.UNIFORM, orders, feeder=Feeder.single_bus())


def test_clear__with_the_wrong_use_of_the_planned_price__is_refused() -> None:
    orders = book([Row(1, True, 1, 1)])
    with pytest.raises(RuleError, match="give the period's P_p"):
        clear(Rule.PLANNED, orders)
    for rule in (Rule.UNIFORM, Rule.PAIRWISE):
        with pytest.raises(RuleError, match="leave"):
            clear(rule, orders, planned_uyuan_per_kwh=1)


@pytest.mark.parametrize("rule", Rule)
def test_clear__of_an_empty_book__trades_nothing(rule: Rule) -> None:
    planned = 5 if rule is Rule.PLANNED else None
    clearing = clear(rule, book([]), planned_uyuan_per_kwh=planned)
    assert clearing.filled_wh.tolist() == []
    assert clearing.flow_wh.tolist() == [0]
