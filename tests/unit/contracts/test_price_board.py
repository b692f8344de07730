"""The prices of every period: benchmarks ahead, proposals, quorum, and the default."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction

from market.messages import Proposal, Topic
from market.prices import Benchmark
from tests.unit.contracts.support import accepted, events, factory, refused, send_at
from tests.world import LIMITS, PENG, YUAN, World

NONE, COMMITTEE, BENCHMARK = 0, 1, 2
STRUCT = "(uint32,uint32,uint32,uint32,uint32,uint32,uint8,uint8)"


def struct(benchmark: Benchmark, flags: int = 0, source: int = NONE) -> tuple[int, ...]:
    """Return the contract's `Prices`."""
    return (*astuple(benchmark), flags, source)


VOTED = replace(
    PENG, selling_uyuan_per_kwh=300_000, planned_uyuan_per_kwh=400_000,
    compensation_uyuan_per_kwh=500_000,
)  # fmt: skip
LIMITS_STRUCT = (LIMITS.price_cap_uyuan_per_kwh, LIMITS.fee_cap_uyuan_per_kwh, 0,
                 LIMITS.price_cap_uyuan_per_kwh)  # fmt: skip


def primary(world: World, period: int) -> LocalAccount:
    """Return the seat that may propose prices from a period on."""
    return world.seats[world.market.schedule.price_primary(period, world.now(), 4)]


def propose_call(world: World, period: int, *prices: Benchmark) -> ContractFunction:
    """Return the proposing of prices for consecutive periods."""
    structs = [struct(p) for p in prices]
    return world.market.oracle.functions.proposePrices(period, structs)


def accept(world: World, period: int, *prices: Benchmark) -> ContractFunction:
    """Have a quorum accept prices; return the writing down of them."""
    receipt = world.chain.send(primary(world, period), propose_call(world, period, *prices))
    (event,) = events(receipt, world.market.oracle, "PricesProposed")
    world.vote(Proposal(Topic.PRICES, period, 0, event["round"], event["digest"]), (0, 1, 2))
    structs = [struct(p) for p in prices]
    return world.market.oracle.functions.fixPrices(period, structs)


def prices_of(world: World, period: int) -> tuple[int, ...]:
    """Return the final prices of a period."""
    return tuple(world.chain.read(world.market.oracle.functions.pricesOf(period)))


# -- the default


def test_prices_of__no_quorum__are_the_benchmark_from_the_deadlines_second(world: World) -> None:
    period = world.free_period()
    deadline = world.market.schedule.price_deadline(period)
    call = world.market.oracle.functions.pricesOf(period)
    world.warp(deadline - 1)
    refused("Oracle.PricesNotFixed", call, world.stranger, period, deadline)
    world.warp(deadline)
    assert prices_of(world, period) == struct(PENG, source=BENCHMARK)


# -- benchmarks


def test_set_benchmark__ahead__holds_from_its_period_on(world: World) -> None:
    oracle, dearer = world.market.oracle, replace(PENG, retail_uyuan_per_kwh=900_000)
    call = oracle.functions.setBenchmark(200, struct(dearer))
    receipt = world.chain.send(world.grid, call)
    assert events(receipt, oracle, "BenchmarkSet")[0]["fromPeriod"] == 200
    for period, expected in ((199, PENG), (200, dearer), (10_000, dearer)):
        found = world.chain.read(oracle.functions.benchmarkOf(period))
        assert tuple(found) == struct(expected, source=BENCHMARK)


def test_set_benchmark__when_proposals_open__is_too_late_from_that_second(world: World) -> None:
    call = world.market.oracle.functions.setBenchmark(200, struct(PENG))
    opens = world.market.schedule.price_opens(200)
    world.warp(opens - 1)
    accepted(call, world.grid)
    world.warp(opens)
    refused("Oracle.BenchmarkTooLate", call, world.grid, 200, opens)


def test_set_benchmark__before_later_ones__replaces_them(world: World) -> None:
    oracle = world.market.oracle.functions
    prices = [replace(PENG, fee_uyuan_per_kwh=fee) for fee in (1, 2, 3)]
    for period, benchmark in zip((200, 300, 250), prices, strict=True):
        world.chain.send(world.grid, oracle.setBenchmark(period, struct(benchmark)))
    found = [
        world.chain.read(oracle.benchmarkOf(period))[5] for period in (199, 200, 249, 250, 999)
    ]
    assert found == [0, 1, 1, 3, 3]


def test_benchmark_of__among_many__is_the_last_begun(world: World) -> None:
    oracle = world.market.oracle.functions
    for index in range(9):
        benchmark = replace(PENG, fee_uyuan_per_kwh=index + 1)
        world.chain.send(world.grid, oracle.setBenchmark(200 + 10 * index, struct(benchmark)))
    for period in (0, 199, *range(200, 295)):
        expected = 0 if period < 200 else (period - 200) // 10 + 1
        assert world.chain.read(oracle.benchmarkOf(period))[5] == min(expected, 9)


def test_set_benchmark__by_stranger__is_refused(world: World) -> None:
    call = world.market.oracle.functions.setBenchmark(200, struct(PENG))
    role = keccak(text="TARIFF_ROLE")
    refused("Oracle.NotAllowed", call, world.stranger, world.stranger.address, role)


@pytest.mark.parametrize(
    "prices",
    [
        pytest.param((3, 2, 4, 5, 6, 0), id="feed-in above selling"),
        pytest.param((1, 3, 2, 5, 6, 0), id="selling above planned"),
        pytest.param((1, 2, 5, 4, 6, 0), id="planned above compensation"),
        pytest.param((1, 2, 3, 6, 5, 0), id="compensation above retail"),
        pytest.param((1, 2, 3, 4, 2 * YUAN + 1, 0), id="retail above the cap"),
        pytest.param((1, 2, 3, 4, 5, 100_001), id="fee above its cap"),
    ],
)
def test_set_benchmark__out_of_order__is_refused(world: World, prices: tuple[int, ...]) -> None:
    values = (*prices, 0, 0)
    call = world.market.oracle.functions.setBenchmark(200, values)
    refused("Oracle.PricesOutOfOrder", call, world.grid, values, LIMITS_STRUCT)


def test_set_benchmark__at_every_bound__is_accepted(world: World) -> None:
    for values in ((0,) * 8, (*[2 * YUAN] * 5, 100_000, 0, 0)):
        accepted(world.market.oracle.functions.setBenchmark(200, values), world.grid)


# -- proposals


def test_fix_prices__accepted_by_quorum__makes_them_final_at_once(world: World) -> None:
    period, oracle = world.free_period(), world.market.oracle
    receipt = world.chain.send(world.stranger, accept(world, period, VOTED, PENG))
    assert [e["period"] for e in events(receipt, oracle, "PricesFixed")] == [period, period + 1]
    assert prices_of(world, period) == struct(VOTED, source=COMMITTEE)
    assert prices_of(world, period + 1) == struct(PENG, source=COMMITTEE)
    world.warp(world.market.schedule.price_deadline(period))
    assert prices_of(world, period) == struct(VOTED, source=COMMITTEE)


def test_fix_prices__again_with_others__changes_nothing(world: World) -> None:
    period, oracle = world.free_period(), world.market.oracle
    world.chain.send(world.stranger, accept(world, period, VOTED))
    again = accept(world, period - 1, PENG, PENG)
    receipt = world.chain.send(world.stranger, again)
    assert [e["period"] for e in events(receipt, oracle, "PricesFixed")] == [period - 1]
    assert prices_of(world, period) == struct(VOTED, source=COMMITTEE)


def test_prices__accepted_in_one_round__leave_nothing_to_decide_in_the_next(world: World) -> None:
    period, oracle = world.free_period(), world.market.oracle
    first = accept(world, period, VOTED)
    world.warp(world.now() + world.market.schedule.round_length_s)
    refused_digest = accept(world, period, PENG)
    (_, structs) = refused_digest.args
    digest = keccak(encode([f"{STRUCT}[]"], [structs]))
    refused("Oracle.NotAccepted", refused_digest, world.stranger, period, digest)
    accepted(oracle.functions.fixPrices(*first.args), world.stranger)


def test_fix_prices__at_the_deadline__leaves_the_benchmark(world: World) -> None:
    period, oracle = world.free_period(), world.market.oracle
    call = accept(world, period, VOTED, VOTED)
    deadline = world.market.schedule.price_deadline(period)
    receipt = send_at(world, deadline, world.stranger, call)
    assert [e["period"] for e in events(receipt, oracle, "PricesFixed")] == [period + 1]
    assert prices_of(world, period) == struct(PENG, source=BENCHMARK)


def test_fix_prices__never_accepted__is_refused(world: World) -> None:
    period = world.free_period()
    digest = keccak(encode([f"{STRUCT}[]"], [[struct(VOTED)]]))
    call = world.market.oracle.functions.fixPrices(period, [struct(VOTED)])
    refused("Oracle.NotAccepted", call, world.stranger, period, digest)


def test_fix_prices__other_than_accepted__is_refused(world: World) -> None:
    period = world.free_period()
    accept(world, period, VOTED)
    digest = keccak(encode([f"{STRUCT}[]"], [[struct(PENG)]]))
    call = world.market.oracle.functions.fixPrices(period, [struct(PENG)])
    refused("Oracle.NotAccepted", call, world.stranger, period, digest)


@pytest.mark.parametrize("periods", [0, 97])
def test_propose_prices__for_too_few_or_many_periods__is_refused(
    world: World, periods: int
) -> None:
    call = propose_call(world, world.free_period(), *[PENG] * periods)
    refused("Oracle.RangeOutOfBounds", call, world.seats[0], periods)


def test_propose_prices__before_the_last_period_opens__is_refused_until_that_second(
    world: World,
) -> None:
    first = 100
    last = first + 89
    call = propose_call(world, first, *[PENG] * 90)
    opens = world.market.schedule.price_opens(last)
    world.warp(opens - 1)
    refused("Oracle.TooEarly", call, primary(world, first), last, opens)
    world.warp(opens)
    accepted(call, primary(world, first))


def test_propose_prices__at_the_deadline__is_refused_from_that_second(world: World) -> None:
    period = world.free_period()
    call = propose_call(world, period, VOTED)
    deadline = world.market.schedule.price_deadline(period)
    world.warp(deadline - 1)
    accepted(call, primary(world, period))
    world.warp(deadline)
    refused("Oracle.TooLate", call, primary(world, period), period, deadline)


def test_vote__on_prices_at_the_deadline__is_refused_from_that_second(world: World) -> None:
    period = world.free_period()
    receipt = world.chain.send(primary(world, period), propose_call(world, period, VOTED))
    (event,) = events(receipt, world.market.oracle, "PricesProposed")
    proposal = Proposal(Topic.PRICES, period, 0, event["round"], event["digest"])
    call = world.market.oracle.functions.vote(proposal.as_tuple(), [])
    deadline = world.market.schedule.price_deadline(period)
    world.warp(deadline - 1)
    accepted(call, world.stranger)
    world.warp(deadline)
    refused("Oracle.TooLate", call, world.stranger, period, deadline)


@pytest.mark.parametrize(
    "changes",
    [
        {"feed_in_uyuan_per_kwh": 99_999},
        {"retail_uyuan_per_kwh": 800_001},
        {"fee_uyuan_per_kwh": 1},
    ],
    ids=str,
)
def test_propose_prices__with_other_than_the_benchmarks__is_refused(
    world: World, changes: dict[str, int]
) -> None:
    period, other = world.free_period(), replace(PENG, **changes)
    call = propose_call(world, period, PENG, other)
    standing = struct(PENG, source=BENCHMARK)
    refused("Oracle.NotTheBenchmark", call, primary(world, period), period + 1,
            struct(other), standing)  # fmt: skip


def test_propose_prices__across_a_change_of_benchmark__follows_it(world: World) -> None:
    dearer = replace(PENG, retail_uyuan_per_kwh=900_000)
    oracle = world.market.oracle.functions
    world.chain.send(world.grid, oracle.setBenchmark(200, struct(dearer)))
    world.warp(world.market.schedule.price_opens(200))
    accepted(propose_call(world, 199, PENG, dearer), primary(world, 199))


def test_propose_prices__out_of_turn__is_refused(world: World) -> None:
    period = world.free_period()
    right = primary(world, period)
    wrong = next(seat for seat in world.seats if seat != right)
    call = propose_call(world, period, VOTED)
    refused("Oracle.NotPrimary", call, wrong, wrong.address, world.seats.index(right),
            right.address)  # fmt: skip


@pytest.mark.parametrize(
    "limits", [(100, 0, 2, 1), (100, 0, 0, 101)], ids=["floor above ceiling", "ceiling above cap"]
)
def test_constructor__contradicting_limits__are_refused(
    world: World, limits: tuple[int, ...]
) -> None:
    call = factory(world, "Oracle").constructor(
        world.chain.read(world.market.oracle.functions.schedule()),
        world.market.registry.address,
        world.market.grid.address,
        world.market.master.address,
        [seat.address for seat in world.seats],
        limits,
        (0,) * 8,
    )
    refused("Oracle.BadLimits", call, world.stranger, limits)
