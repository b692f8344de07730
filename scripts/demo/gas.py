"""What the market's transactions cost, by step of an order's life."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.abi import function_abi_to_4byte_selector
from requests import Session

from market.chain import ChainUnreachable
from market.contracts import artifact
from market.deployment import Market

BATCH = 100
"""Calls of one JSON-RPC batch."""

_ORACLE_TOPICS = (
    "votes on prices",
    "votes on readings",
    "votes on headroom",
    "votes on clearings",
)
_STEPS = {
    "proposePrices": "price proposals",
    "fixPrices": "prices written down",
    "placeBatch": "orders, one signature each",
    "proposeHeadroom": "headroom proposals",
    "fixHeadroom": "headroom written down",
    "clear": "clearing",
    "object": "objections to clearings",
    "proposeReport": "reports of readings",
    "settle": "settlement",
}


@dataclass(slots=True)
class Cost:
    """What one step took.

    Attributes:
        step: The step.
        transactions: Transactions sent for it.
        gas: Gas they used.
    """

    step: str
    transactions: int = 0
    gas: int = 0


def costs(market: Market, url: str, first_block: int) -> list[Cost]:
    """Add up the gas of all transactions to the market, lost races included.

    Args:
        market: The market.
        url: The chain's endpoint.
        first_block: Block to begin at.

    Returns:
        One entry per step, in the order of an order's life, then what belongs to none.
    """
    found = {step: Cost(step) for step in _order()}
    last = market.chain.block_number()
    calls = [
        (method, [hex(number), *more])
        for number in range(first_block, last + 1)
        for method, more in (("eth_getBlockByNumber", [True]), ("eth_getBlockReceipts", []))
    ]
    answers = _batched(url, calls)
    selectors = _selectors()
    for block, receipts in zip(answers[::2], answers[1::2], strict=True):
        for tx, receipt in zip(block["transactions"], receipts, strict=True):
            data = bytes.fromhex(tx["input"][2:])
            name = selectors.get(data[:4])
            if name == "vote":
                # A proposal is static, so its topic is the first word of the call.
                step = _ORACLE_TOPICS[int.from_bytes(data[4:36], "big")]
            elif name in _STEPS:
                step = _STEPS[name]
            else:
                continue
            found[step].transactions += 1
            found[step].gas += int(receipt["gasUsed"], 16)
    return [cost for cost in found.values() if cost.transactions]


def _order() -> list[str]:
    steps, topics = _STEPS, _ORACLE_TOPICS
    return [
        *(steps["proposePrices"], topics[0], steps["fixPrices"]),
        steps["placeBatch"],
        *(steps["proposeHeadroom"], topics[2], steps["fixHeadroom"]),
        *(steps["clear"], topics[3], steps["object"]),
        *(steps["proposeReport"], topics[1]),
        steps["settle"],
    ]


def _selectors() -> dict[bytes, str]:
    return {
        function_abi_to_4byte_selector(item): item["name"]  # type: ignore[arg-type]
        for contract in ("Book", "Oracle", "Master")
        for item in artifact(contract).abi
        if item["type"] == "function" and item["name"] in {*_STEPS, "vote"}
    }


def _batched(url: str, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
    """Ask many things at once: one round trip for every `BATCH` calls."""
    results: list[Any] = []
    with Session() as session:
        session.trust_env = False
        for first in range(0, len(calls), BATCH):
            body = [
                {"jsonrpc": "2.0", "id": i, "method": method, "params": params}
                for i, (method, params) in enumerate(calls[first : first + BATCH])
            ]
            try:
                answers = json.loads(session.post(url, json=body, timeout=30).content)
            except (OSError, ValueError) as exc:
                raise ChainUnreachable(url, exc) from exc
            results += [a["result"] for a in sorted(answers, key=lambda a: a["id"])]
    return results
