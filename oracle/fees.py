"""What a transaction offers for its place in a block, and what its replacement has to offer."""

from __future__ import annotations

from typing import cast

import rlp  # type: ignore[import-untyped]
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes
from web3.types import TxParams

FEE_FIELDS = ("gasPrice", "maxFeePerGas", "maxPriorityFeePerGas")

RAISE_DIVISOR = 8
"""A replacement offers an eighth more; nodes ask for a tenth."""

MOST_OVERPAID = 10
"""A transaction is not raised beyond so many times what the chain suggests."""


def terms_of(raw: bytes, chain_id: int) -> TxParams:
    """Return the fields of a signed transaction, to sign it anew with another fee."""
    if raw[0] < 0x80:
        fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        return cast(TxParams, {key: fields[key] for key in fields if key not in ("v", "r", "s")})
    nonce, price, gas, to, value, data, *_signature = rlp.decode(raw)
    return {
        "nonce": int.from_bytes(nonce),  # type: ignore[typeddict-item]
        "gasPrice": int.from_bytes(price),  # type: ignore[typeddict-item]
        "gas": int.from_bytes(gas),
        "to": to,
        "value": int.from_bytes(value),  # type: ignore[typeddict-item]
        "data": data,
        "chainId": chain_id,
    }


def offer(tx: TxParams) -> int:
    """Return the most a transaction pays for a unit of gas, in wei."""
    return max((int(tx[key]) for key in FEE_FIELDS if key in tx), default=0)  # type: ignore[literal-required]


def replacement(tx: TxParams, suggested: TxParams) -> TxParams | None:
    """Return a transaction with a fee for which nodes let it take the place of another.

    Args:
        tx: The other one.
        suggested: Fee fields as the chain suggests them now.

    Returns:
        None if there is nothing to raise, as gas is free, or if the fee is out of all proportion.
    """
    free = offer(tx) == 0
    fees = {}
    for key, value in suggested.items():
        old = int(tx.get(key, 0))  # type: ignore[call-overload]
        more = 0 if free else max(1, -(-old // RAISE_DIVISOR))
        fees[key] = max(old + more, int(value))  # type: ignore[call-overload]
    raised = max(fees.values())
    if raised == offer(tx) or raised > MOST_OVERPAID * offer(suggested):
        return None
    kept = {key: value for key, value in tx.items() if key not in (*FEE_FIELDS, "type")}
    return cast(TxParams, kept | fees)
