"""Places orders in every way and notes what each costs in gas."""

from __future__ import annotations

from collections.abc import Iterable

from market.devnet import rpc
from market.messages import Order, Step, compact
from market.orders import SignedOrder, encode_entries
from market.types import Options
from tests.gas.trade import Costs
from tests.world import PENG, World

BATCH = 50
"""Orders in one batch."""

RING = 128
"""Periods this far apart share the book's storage."""

FIRST_PERIOD = 8
SINGLES = 3
"""Orders placed one by one, each after the batches."""


def order(period: int, node: int, steps: int = 1) -> Order:
    """Return a node's order: odd nodes sell, even ones buy."""
    sells = node % 2 == 1
    price = PENG.planned_uyuan_per_kwh + (-node if sells else node)
    return Order(
        node=node,
        first_period=period,
        last_period=period,
        steps=tuple(Step(sells, 10_000 + node + period, price + k) for k in range(steps)),
        nonce=period,
        options=Options.OFFER if sells else Options.TAKE,
    )


def fill(world: World, period: int, nodes: int, costs: Costs) -> None:
    """Place an order of every node of a bucket but the last few in batches, those one by one."""
    book, domain = world.market.book.functions, world.market.domain
    batched = nodes - SINGLES
    for first in range(1, batched + 1, BATCH):
        batch = [order(period, n) for n in range(first, min(first + BATCH, batched + 1))]
        call = book.placeBatch(period, 0, encode_entries(_signed(world, batch)))
        name = "first batch" if first == 1 else "batch"
        costs.note(name, world.chain.send(world.stranger, call, gas=15_000_000))
    own, relayed, wide = range(batched + 1, nodes + 1)
    for name, node, steps in (("own", own, 1), ("relayed", relayed, 1), ("4 steps", wide, 4)):
        placed = order(period, node, steps)
        (signed,) = _signed(world, [placed])
        signature = signed.signature if name == "relayed" else b""
        sender = world.stranger if name == "relayed" else world.owner(node)
        rpc(world.url, "anvil_setBalance", [sender.address, hex(10**20)])
        if name == "own":
            call = book.placeOwn(period, 0, encode_entries([SignedOrder(placed, b"")]))
        else:
            call = book.place(period, placed.as_tuple(domain), signature)
        costs.note(name, world.chain.send(sender, call, gas=1_000_000))


def _signed(world: World, orders: Iterable[Order]) -> list[SignedOrder]:
    domain = world.market.domain
    return [SignedOrder(o, compact(o.sign(world.owner(o.node), domain))) for o in orders]
