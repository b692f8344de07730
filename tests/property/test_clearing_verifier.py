"""The verifier accepts the engine's clearing and no other."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from market.clearing import (
    Clearing,
    Cut,
    InvalidClearing,
    PairClearing,
    PoolClearing,
    Rule,
    Zone,
)
from tests.books import Case, cases, claim, net_flows, random_case

BENT = int(os.environ.get("SUBGRID_EXAMPLES", "500"))
"""Random changes of valid clearings; a nightly run asks for more."""

POOLS = (Rule.UNIFORM, Rule.PLANNED)


def content(clearing: Clearing) -> tuple[object, ...]:
    """Everything a clearing says, comparable."""
    if isinstance(clearing, PoolClearing):
        return (
            clearing.rule,
            clearing.planned_uyuan_per_kwh,
            clearing.filled_wh.tolist(),
            clearing.flow_wh.tolist(),
            clearing.zone_of_bus.tolist(),
            clearing.zones,
        )
    pairs = clearing.pairs
    columns = (pairs.ask, pairs.bid, pairs.matched_wh, pairs.filled_wh, pairs.price_uyuan_per_kwh)
    return (
        clearing.merge_order.tolist(),
        clearing.filled_wh.tolist(),
        clearing.flow_wh.tolist(),
        *(column.tolist() for column in columns),
    )


def accepts(case: Case, clearing: Clearing) -> bool:
    try:
        case.check(clearing)
    except InvalidClearing:
        return False
    return True


@given(cases())
@settings(max_examples=300)
def test_check__of_the_engines_clearing__accepts(case: Case) -> None:
    case.check(case.clear())


@pytest.mark.parametrize("rule", Rule)
def test_check__of_larger_clearings__accepts(rule: Rule) -> None:
    for seed in range(6):
        case = random_case(
            rule, seed, orders=1500, buses=(1, 40)[seed % 2], prices=(4, 900)[seed % 2]
        )
        case.check(case.clear())


@given(cases(POOLS, most_orders=5, most_wh=2, most_limit=3))
@settings(max_examples=120, deadline=None)
def test_check__of_every_possible_pool__accepts_one(case: Case) -> None:
    valid = case.clear()
    assert isinstance(valid, PoolClearing)
    accepted = []
    for filled in itertools.product(*(range(e + 1) for e in case.orders.energy_wh.tolist())):
        if net_flows(case, filled)[0]:
            continue
        zones = len(claim(case, filled, [0]).zones)
        for prices in itertools.product(range(4), repeat=min(zones, 3)):
            attempt = claim(case, filled, prices)
            if accepts(case, attempt):
                accepted.append(content(attempt))
    if len(valid.zones) <= 3:
        assert accepted == [content(valid)]
    else:
        assert accepted in ([], [content(valid)])


@st.composite
def bent_columns(draw: st.DrawFn, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Swap, drop, duplicate, overfill, reorder or misstate an entry."""
    bent = np.array(values)
    how = draw(st.sampled_from(("swap", "drop", "append", "add", "zero", "copy", "reverse")))
    if how == "append":
        return np.append(bent, draw(st.integers(0, 9)))
    assume(len(bent))
    i, j = (draw(st.integers(0, len(bent) - 1)) for _ in range(2))
    if how == "swap":
        bent[[i, j]] = bent[[j, i]]
    elif how == "drop":
        return np.delete(bent, i)
    elif how == "add":
        bent[i] += draw(st.sampled_from((-3, -1, 1, 5, 2**40)))
    elif how == "zero":
        bent[i] = 0
    elif how == "copy":
        bent[i] = bent[j]
    else:
        bent = bent[::-1].copy()
    return bent


@st.composite
def bent_cuts(draw: st.DrawFn, cut: Cut | None, case: Case) -> Cut | None:
    """Another part, another order, another limit, or none."""
    o = case.orders
    assume(len(o))
    if cut is not None and draw(st.booleans()):
        step = draw(st.sampled_from((-2, -1, 1, 3)))
        name = draw(st.sampled_from(Cut._fields))
        return cut._replace(**{name: getattr(cut, name) + step})
    if draw(st.booleans()):
        return None
    i = draw(st.integers(0, len(o) - 1))
    return Cut(
        int(o.limit_uyuan_per_kwh[i]), int(o.seq[i]), draw(st.integers(0, int(o.energy_wh[i])))
    )


@st.composite
def bent_zones(draw: st.DrawFn, zones: tuple[Zone, ...], case: Case) -> tuple[Zone, ...]:
    """Misprice, recut, drop, duplicate or reorder a zone."""
    i = draw(st.integers(0, len(zones) - 1))
    how = draw(st.sampled_from(("price", "price", "bid_cut", "ask_cut", "drop", "copy", "reverse")))
    if how == "drop":
        return zones[:i] + zones[i + 1 :]
    if how == "copy":
        return (*zones, zones[i])
    if how == "reverse":
        return zones[::-1]
    zone = zones[i]
    if how == "price":
        zone = zone._replace(price_uyuan_per_kwh=draw(st.integers(0, 7)))
    elif how == "bid_cut":
        zone = zone._replace(bid_cut=draw(bent_cuts(zone.bid_cut, case)))
    else:
        zone = zone._replace(ask_cut=draw(bent_cuts(zone.ask_cut, case)))
    return (*zones[:i], zone, *zones[i + 1 :])


@given(st.data(), cases())
@settings(max_examples=BENT, suppress_health_check=[HealthCheck.filter_too_much])
def test_check__of_a_bent_clearing__refuses(data: st.DataObject, case: Case) -> None:
    valid = case.clear()
    bent: Clearing = valid
    for _ in range(data.draw(st.integers(1, 3))):
        if isinstance(bent, PoolClearing):
            name = data.draw(
                st.sampled_from(("filled_wh", "flow_wh", "zone_of_bus", "zones", "zones"))
            )
            if name == "zones":
                assume(bent.zones)
                bent = replace(bent, zones=data.draw(bent_zones(bent.zones, case)))
            else:
                column: Any = data.draw(bent_columns(getattr(bent, name)))
                bent = replace(bent, **{name: column})
        else:
            bent = _bend_pairs(data, bent)
    assume(content(bent) != content(valid))
    with pytest.raises(InvalidClearing):
        case.check(bent)


def _bend_pairs(data: st.DataObject, clearing: PairClearing) -> PairClearing:
    columns = ("ask", "bid", "matched_wh", "filled_wh", "price_uyuan_per_kwh")
    name = data.draw(st.sampled_from(("merge_order", "filled_wh", "flow_wh", "pairs", *columns)))
    pairs = clearing.pairs
    if name == "pairs":
        rows = list(range(min(len(getattr(pairs, c)) for c in columns)))
        assume(rows)
        i, j = (data.draw(st.sampled_from(rows)) for _ in range(2))
        how = data.draw(st.sampled_from(("swap", "drop", "copy")))
        if how == "swap":
            rows[i], rows[j] = rows[j], rows[i]
        elif how == "drop":
            rows.pop(i)
        else:
            rows.insert(j, i)
        return replace(clearing, pairs=type(pairs)(*(getattr(pairs, c)[rows] for c in columns)))
    if (
        name in columns
        and hasattr(pairs, name)
        and (name != "filled_wh" or data.draw(st.booleans()))
    ):
        changed = data.draw(bent_columns(getattr(pairs, name)))
        return replace(clearing, pairs=replace(pairs, **{name: changed}))
    column: Any = data.draw(bent_columns(getattr(clearing, name)))
    return replace(clearing, **{name: column})


def moved_fills(case: Case, filled: list[int]) -> Iterator[list[int]]:
    """Every exchange of 1 Wh between two orders that keeps sold equal to bought."""
    o = case.orders
    for i, j in itertools.permutations(range(len(o)), 2):
        same = o.is_buy[i] == o.is_buy[j]
        for up in ((1, -1),) if same else ((1, 1), (-1, -1)):
            other = list(filled)
            other[i] += up[0]
            other[j] += up[1]
            if all(0 <= f <= e for f, e in zip(other, o.energy_wh.tolist(), strict=True)):
                yield other


@given(cases(POOLS, most_orders=9))
@settings(max_examples=150, deadline=None)
def test_check__of_a_consistent_neighbour__refuses(case: Case) -> None:
    valid = case.clear()
    assert isinstance(valid, PoolClearing)
    prices = [zone.price_uyuan_per_kwh for zone in valid.zones]
    for filled in moved_fills(case, valid.filled_wh.tolist()):
        assert not accepts(case, claim(case, filled, prices))


@given(cases(POOLS))
def test_check__of_every_other_price__refuses(case: Case) -> None:
    valid = case.clear()
    assert isinstance(valid, PoolClearing)
    for number, zone in enumerate(valid.zones):
        for price in set(range(8)) - {zone.price_uyuan_per_kwh}:
            zones = list(valid.zones)
            zones[number] = zone._replace(price_uyuan_per_kwh=price)
            assert not accepts(case, replace(valid, zones=tuple(zones)))


@given(cases(), st.sampled_from(list(Rule)))
def test_check__under_another_rule__refuses(case: Case, rule: Rule) -> None:
    assume(rule is not case.rule)
    assert not accepts(replace(case, rule=rule), case.clear())
