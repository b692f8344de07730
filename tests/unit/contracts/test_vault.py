"""The only room with money: deposits, withdrawals, the margin, debt and claims."""

from __future__ import annotations

import pytest
from web3.contract import Contract

from market.ledger import Outcome
from market.types import Options
from tests.unit.contracts.support import (
    FUNDS_UYUAN,
    accepted,
    agree_call,
    cleared,
    create,
    events,
    measured,
    offer,
    refused,
    settled,
    substituted,
    trading,
)
from tests.world import LIMITS, PENG, YUAN, World

RETAIL = PENG.retail_uyuan_per_kwh
FEED_IN = PENG.feed_in_uyuan_per_kwh


def vault_sum(world: World) -> int:
    """Return what the books of the vault add up to (SPEC section 7)."""
    nodes = range(len(world.members) + 1)
    _, funded, collected = world.chain.read(world.market.vault.functions.claimTotals())
    return sum(sum(world.balance(node)) for node in nodes) + int(funded - collected)


def tokens(world: World) -> int:
    """Return the tokens the vault holds."""
    held = world.market.token.functions.balanceOf(world.market.vault.address)
    return int(world.chain.read(held))


def debt(world: World, node: int) -> int:
    """Return what a node owes."""
    return int(world.chain.read(world.market.vault.functions.debtOf(node)))


def claims(world: World, node: int) -> int:
    """Return what a node is owed."""
    return int(world.chain.read(world.market.vault.functions.claimsOf(node)))


def ran_into_debt(world: World) -> int:
    """Have node 1 draw more than it can pay, without a plan; return the debt."""
    period = trading(world)
    drawn_wh = 2_000_000
    settled(world, period, measured(1, import_wh=drawn_wh))
    return drawn_wh * RETAIL // 1000 - FUNDS_UYUAN


# -- deposits


def test_deposit__for_another__is_the_nodes(world: World) -> None:
    (node,) = world.join(1)
    world.fund(node, 7 * YUAN)  # paid by the grid company
    assert world.balance(node) == (7 * YUAN, 0)
    assert tokens(world) == vault_sum(world) == 7 * YUAN


def test_deposit__for_nobody__is_refused(world: World) -> None:
    world.join(1)
    call = world.market.vault.functions.deposit(2, 1)
    refused("Vault.UnknownNode", call, world.grid, 2)


def test_deposit__without_allowance__is_refused(world: World) -> None:
    world.join(1)
    call, vault = world.market.vault.functions.deposit(1, 1), world.market.vault.address
    refused("SettlementToken.ERC20InsufficientAllowance", call, world.stranger, vault, 0, 1)


# -- withdrawals


def test_withdraw__free_balance__reaches_the_account(world: World) -> None:
    (node,) = world.join(1)
    world.fund(node, 7 * YUAN)
    vault, owner = world.market.vault, world.owner(node)
    receipt = world.chain.send(owner, vault.functions.withdraw(node, 7 * YUAN))
    assert events(receipt, vault, "Withdrawn")[0]["to"] == owner.address
    assert world.chain.read(world.market.token.functions.balanceOf(owner.address)) == 7 * YUAN
    assert world.balance(node) == (0, 0)


def test_withdraw__by_another__is_refused(world: World) -> None:
    (node, other) = world.join(2)
    world.fund(node, YUAN)
    withdraw = world.market.vault.functions.withdraw
    refused("Vault.NotAccount", withdraw(node, 1), world.owner(other), node,
            world.owner(other).address)  # fmt: skip
    refused("Vault.NotAccount", withdraw(node, 1), world.grid, node, world.grid.address)
    refused("Vault.NotAccount", withdraw(0, 0), world.stranger, 0, world.stranger.address)


def test_withdraw__grid_companys_own__needs_the_treasury(world: World) -> None:
    world.fund(0, YUAN)
    world.chain.send(world.grid, world.market.vault.functions.withdraw(0, YUAN))
    assert world.balance(0) == (0, 0)


def test_withdraw__more_than_free__is_refused(world: World) -> None:
    (node,) = world.join(1)
    world.fund(node, YUAN)
    call = world.market.vault.functions.withdraw(node, YUAN + 1)
    refused("Vault.InsufficientFree", call, world.owner(node), node, YUAN + 1, YUAN)


def test_withdraw__while_periods_are_unsettled__leaves_the_margin_to_the_unit(world: World) -> None:
    capacity_wh = 333
    (node,) = world.join(1, capacity_wh=capacity_wh)
    world.fund(node, 10 * YUAN)
    withdraw, owner = world.market.vault.functions.withdraw, world.owner(node)
    per_period = -(
        -capacity_wh * (LIMITS.price_cap_uyuan_per_kwh + LIMITS.fee_cap_uyuan_per_kwh) // 1000
    )
    first = world.chain.read(world.market.master.functions.firstPeriod())
    start = world.market.schedule.start(first)

    error = "Vault.MarginRequired"

    world.warp(start - 1)
    accepted(withdraw(node, 10 * YUAN), owner)
    world.warp(start)
    accepted(withdraw(node, 10 * YUAN - per_period), owner)
    asked = 10 * YUAN - per_period + 1
    refused(error, withdraw(node, asked), owner, node, asked, 10 * YUAN, per_period)

    # However many periods are late, no more counts than can be open when everybody is.
    most = world.market.schedule.settle_deadline_s // world.market.schedule.length_s + 2
    world.warp(world.market.schedule.start(first + 50))
    asked = 10 * YUAN - most * per_period
    accepted(withdraw(node, asked), owner)
    margin = most * per_period
    refused(error, withdraw(node, asked + 1), owner, node, asked + 1, 10 * YUAN, margin)


def test_margin__of_a_settled_period__is_released(world: World) -> None:
    world.join(1)
    master, first = world.market.master.functions, 1
    assert world.chain.read(master.firstPeriod()) == first
    settled(world, first, measured(1))
    running = world.market.schedule.period_at(world.now())
    assert world.chain.read(master.unsettled()) == running - first


# -- locks


def test_lock__while_in_debt__is_refused_until_repaid(world: World) -> None:
    owed = ran_into_debt(world)
    assert debt(world, 1) == owed
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    refused("Vault.InDebt", agree_call(world, offer(period)), world.stranger, 1, owed)

    world.fund(1, owed + 8 * YUAN)  # 10 kWh at retail
    assert debt(world, 1) == 0
    world.agree(offer(period))
    assert world.balance(1) == (0, 8 * YUAN)


@pytest.mark.parametrize("short_by", [0, 1])
def test_lock__to_the_last_unit__works_and_one_less_does_not(world: World, short_by: int) -> None:
    world.join(2)
    energy_wh, needed = 10_001, -(-10_001 * RETAIL // 1000)
    world.fund(1, needed - short_by)
    world.fund(2, FUNDS_UYUAN)
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    call = agree_call(world, offer(period, energy_wh))
    if short_by:
        refused("Vault.InsufficientFree", call, world.stranger, 1, needed, needed - short_by)
    else:
        world.chain.send(world.stranger, call)
        assert world.balance(1) == (0, needed)


# -- orders


def order_desk(world: World, *funds_uyuan: int) -> Contract:
    """Return a vault whose book is the stranger, with funds of nodes 1, 2, ...; nobody settles."""
    at = world.market.deployment.addresses
    book = world.stranger.address
    vault = create(world, "Vault", at["SettlementToken"], at["Registry"], book, at["Master"])
    token = world.market.token.functions
    total = sum(funds_uyuan)
    world.chain.send(world.grid, token.recharge(world.grid.address, total, ""))
    world.chain.send(world.grid, token.approve(vault.address, total))
    for node, amount in zip(world.join(len(funds_uyuan)), funds_uyuan, strict=True):
        world.chain.send(world.grid, vault.functions.deposit(node, amount))
    return vault


def locks(*entries: tuple[int, int]) -> bytes:
    """Pack (node, lock in uyuan) for `enter`."""
    return b"".join(node.to_bytes(4, "big") + lock.to_bytes(8, "big") for node, lock in entries)


def test_enter__of_a_batch__tells_of_each_order_how_it_fared(world: World) -> None:
    vault = order_desk(world, 100, 100)
    call = vault.functions.enter(7, 5, locks((1, 60), (2, 101), (1, 1), (2, 100), (3, 1)))
    told = [Outcome.ENTERED, Outcome.INSUFFICIENT_FREE, Outcome.ALREADY_LIVE, Outcome.ENTERED,
            Outcome.INSUFFICIENT_FREE]  # fmt: skip
    assert list(call.call({"from": world.stranger.address})) == told
    world.chain.send(world.stranger, call)
    read = world.chain.read
    assert read(vault.functions.accountOf(1))[:2] == (40, 60)
    assert read(vault.functions.accountOf(2))[:2] == (0, 100)
    alive = [(p, n) for p in (6, 7, 8) for n in (1, 2, 3) if read(vault.functions.isLive(p, n))]
    assert alive == [(7, 1), (7, 2)]


def test_enter__outside_the_window__is_refused_and_at_its_ends_works(world: World) -> None:
    vault = order_desk(world, 100)
    enter, book = vault.functions.enter, world.stranger
    for period, open_period in ((4, 5), (101, 5), (2**31, 2**31)):
        refused("Vault.OutsideWindow", enter(period, open_period, b""), book, period, open_period)
    world.chain.send(book, enter(5, 5, locks((1, 1))))
    world.chain.send(book, enter(100, 5, locks((1, 2))))
    world.chain.send(book, enter(102, 100, locks((1, 4))))
    live = vault.functions.isLive
    assert [p for p in (5, 99, 100, 101, 102, 195, 196) if world.chain.read(live(p, 1))] == [
        100, 102,
    ]  # fmt: skip
    assert world.chain.read(vault.functions.accountOf(1))[:2] == (93, 7)
    # Time never runs back; if it did, no order would be taken for another period's.
    refused("Vault.OutsideWindow", enter(99, 5, locks((1, 1))), book, 99, 100)


def test_leave__releases_the_order__and_only_one_that_is_live(world: World) -> None:
    vault = order_desk(world, 100)
    leave, book = vault.functions.leave, world.stranger
    world.chain.send(book, vault.functions.enter(7, 5, locks((1, 60))))
    world.chain.send(book, vault.functions.enter(8, 5, locks((1, 30))))
    refused("Vault.NotLive", leave(9, 5, 1, 60), book, 1, 9)
    world.chain.send(book, leave(7, 6, 1, 60))
    assert world.chain.read(vault.functions.accountOf(1))[:2] == (70, 30)
    refused("Vault.NotLive", leave(7, 6, 1, 60), book, 1, 7)
    assert world.chain.read(vault.functions.isLive(8, 1))
    refused("Vault.OutsideWindow", leave(6, 7, 1, 30), book, 6, 7)


# -- settlement


def test_settle__debit_beyond_free__becomes_debt_and_a_deposit_repays_it_first(
    world: World,
) -> None:
    owed = ran_into_debt(world)
    assert (world.balance(1), debt(world, 1)) == ((0, 0), owed)
    assert world.balance(0) == (2 * FUNDS_UYUAN, 0)

    world.fund(1, 100 * YUAN)
    assert (world.balance(1), debt(world, 1)) == ((0, 0), owed - 100 * YUAN)
    world.fund(1, owed)
    assert (world.balance(1), debt(world, 1)) == ((100 * YUAN, 0), 0)
    assert world.balance(0)[0] == 2 * FUNDS_UYUAN + owed
    assert tokens(world) == vault_sum(world)


def test_settle__credit_of_a_debtor__repays_before_it_pays(world: World) -> None:
    owed = ran_into_debt(world)
    grid_before = world.balance(0)[0]
    period = world.free_period()
    export_wh = 1_000_000
    settled(world, period, measured(1, export_wh=export_wh))
    assert debt(world, 1) == owed - export_wh * FEED_IN // 1000
    assert world.balance(0)[0] == grid_before  # nothing moved but the debt


def test_settle__grid_company_without_money__owes_in_order_and_pays_in_order(world: World) -> None:
    world.join(3)
    period = world.free_period()
    settled(world, period, *(measured(node, export_wh=10_000) for node in (1, 2, 3)))
    each = 10_000 * FEED_IN // 1000
    assert [claims(world, node) for node in (1, 2, 3)] == [each] * 3

    vault = world.market.vault.functions
    world.fund(0, each + each // 2)
    assert world.balance(0) == (0, 0)
    for node in (3, 2, 1):  # whoever comes first, the order is that of arising
        world.chain.send(world.stranger, vault.collect(node, 10))
    assert [world.balance(node)[0] for node in (1, 2, 3)] == [each, each // 2, 0]
    assert [claims(world, node) for node in (1, 2, 3)] == [0, each - each // 2, each]

    world.fund(0, 10 * each)
    for node in (1, 2, 3):
        world.chain.send(world.stranger, vault.collect(node, 10))
    assert [world.balance(node)[0] for node in (1, 2, 3)] == [each] * 3
    assert world.balance(0)[0] == 10 * each - (3 * each - each - each // 2)
    assert world.chain.read(vault.claimTotals()) == [3 * each] * 3
    assert tokens(world) == vault_sum(world)


def test_collect__with_a_bound__does_no_more_claims_than_that(world: World) -> None:
    world.join(1)
    for _ in range(2):
        settled(world, world.free_period(), measured(1, export_wh=10_000))
    each = 10_000 * FEED_IN // 1000
    world.fund(0, 5 * each)
    vault = world.market.vault
    world.chain.send(world.stranger, vault.functions.collect(1, 1))
    assert (world.balance(1)[0], claims(world, 1)) == (each, each)
    world.chain.send(world.stranger, vault.functions.collect(1, 1))
    assert (world.balance(1)[0], claims(world, 1)) == (2 * each, 0)
    receipt = world.chain.send(world.stranger, vault.functions.collect(1, 1))
    assert events(receipt, vault, "ClaimPaid") == []


def test_collect__by_a_debtor__repays_the_debt_first(world: World) -> None:
    world.join(2)
    settled(world, world.free_period(), measured(1, export_wh=10_000))
    earned = 10_000 * FEED_IN // 1000
    settled(world, world.free_period(), measured(1, import_wh=10_000))
    owed = 10_000 * RETAIL // 1000
    assert (claims(world, 1), debt(world, 1)) == (earned, owed)

    world.fund(0, earned)
    world.chain.send(world.stranger, world.market.vault.functions.collect(1, 9))
    assert (world.balance(1)[0], claims(world, 1), debt(world, 1)) == (0, 0, owed - earned)
    assert world.balance(0)[0] == earned
    assert tokens(world) == vault_sum(world)


def test_settle__silent_meter__holds_the_money_until_it_is_read(world: World) -> None:
    period = trading(world)
    world.agree(offer(period, 10_000))
    settled(world, period, substituted(1, export_wh=10_000), measured(2, import_wh=10_000))
    earned = 10_000 * 437_900 // 1000
    lock = 10_000 * RETAIL // 1000
    assert world.balance(1) == (FUNDS_UYUAN - lock, lock + earned)
    assert world.chain.read(world.market.vault.functions.heldOf(period, 1)) == lock + earned

    both = (measured(1, export_wh=10_000), measured(2, import_wh=10_000))
    world.report(period, both, version=2)
    assert world.keeper.settle(period)
    assert world.balance(1) == (FUNDS_UYUAN + earned, 0)
    assert world.chain.read(world.market.vault.functions.heldOf(period, 1)) == 0
    assert tokens(world) == vault_sum(world)


def test_settle__meter_never_read__delivered_nothing_after_the_window(world: World) -> None:
    period = trading(world)
    world.agree(offer(period, 10_000))
    settled(world, period, measured(2, import_wh=10_000))
    world.warp(world.market.schedule.window_end(period))
    assert world.keeper.settle(period)
    net = 10_000 * (437_900 - RETAIL) // 1000
    assert world.balance(1) == (FUNDS_UYUAN + net, 0)
    assert world.chain.read(world.market.master.functions.periodOf(period))[0] == 5


# -- pause and suspension


def test_pause__stops_orders_but_not_withdrawal_clearing_settlement(world: World) -> None:
    period = trading(world, capacity_wh=20_000)
    world.agree(offer(period))
    world.declare(period, 1, Options.OFFER)
    registry = world.market.registry.functions
    world.chain.send(world.grid, registry.pause())
    world.chain.send(world.grid, registry.suspend(1, "test"))
    refused("Book.OrdersPaused", agree_call(world, offer(period, nonce=1)), world.stranger)

    cleared(world, period)
    world.warp(world.market.schedule.close(period))
    world.report(period, [measured(1, export_wh=10_000), measured(2, import_wh=10_000)])
    assert world.keeper.settle(period)
    assert world.balance(1) == (FUNDS_UYUAN + 4_379_000, 0)

    free = world.balance(1)[0]
    margin = world.chain.read(world.market.master.functions.marginOf(1))
    world.chain.send(world.owner(1), world.market.vault.functions.withdraw(1, free - margin))
    assert world.balance(1) == (margin, 0)


def test_lock_and_settle__by_anybody_but_their_rooms__are_refused(world: World) -> None:
    world.join(1)
    world.fund(1, YUAN)
    vault = world.market.vault.functions
    for who in (world.stranger, world.grid, world.owner(1)):
        refused("Vault.NotBook", vault.lock(1, 1), who, who.address)
        refused("Vault.NotBook", vault.enter(1, 1, b""), who, who.address)
        refused("Vault.NotBook", vault.leave(1, 1, 1, 1), who, who.address)
        refused("Vault.NotMaster", vault.settle(1, b"", True), who, who.address)
