"""Sends transactions: journalled first, never awaited, followed until they are in a block."""

from __future__ import annotations

import time

from eth_account.signers.local import LocalAccount
from web3.contract.contract import ContractFunction
from web3.types import TxParams

from market.chain import TX_GAS_LIMIT, Chain, ChainError, ChainUnreachable, OutOfFunds
from oracle import log
from oracle.follower import Head
from oracle.journal import Journal, Transaction

RETRY_S = 10
"""Chain time before something refused is tried again."""

RESEND_BLOCKS = 3
"""A transaction that is in none of so many blocks is sent again."""

LONGEST_PAUSE_S = 60.0
"""Longest wait between two tries while the account is out of funds."""

FEE_BLOCKS = 50
"""Blocks for which the chain's word on tips and gas prices is taken."""

OVERTAKEN = frozenset(
    {
        "AlreadyProposed",
        "NotAccepted",
        "NotPrimary",
        "NothingToSettle",
        "OutOfGasOrRaced",
        "TooLate",
        "UnknownProposal",
        "WrongHashes",
        "WrongVersion",
    }
)
"""Refusals which only mean that somebody or the clock was faster."""


class Sender:
    """Sends one account's transactions."""

    def __init__(self, chain: Chain, account: LocalAccount, journal: Journal) -> None:
        """Take up what the journal has under way."""
        self._chain, self._account, self._journal = chain, account, journal
        self._open = {tx.purpose: tx for tx in journal.open_transactions()}
        self._sent_at: dict[bytes, int] = {}
        self._retry_at: dict[str, int] = {}
        self._pause_s = 0.0
        self._paused_until = 0.0
        self._overtaken = False
        self._next_nonce = 0
        self._fees: tuple[int, TxParams] | None = None

    @property
    def paused(self) -> bool:
        """Whether the account was found out of funds just now."""
        return time.monotonic() < self._paused_until

    @property
    def restless(self) -> bool:
        """Whether something is to be tried again even if the chain stands still."""
        return self.paused or self._overtaken

    def holds(self, purpose: str, now_s: int) -> bool:
        """Return whether something is under way or was refused just now.

        Args:
            purpose: What it is for.
            now_s: The latest block's time.
        """
        return self.paused or purpose in self._open or self._retry_at.get(purpose, 0) > now_s

    def sign(self, purpose: str, call: ContractFunction, gas: int, head: Head) -> Transaction:
        """Sign and journal a call; `send` it once that is durable.

        Raises:
            ChainUnreachable: If the endpoint does not answer; nothing is signed then.
        """
        nonce = max((tx.nonce + 1 for tx in self._open.values()), default=0)
        if not nonce:
            # The endpoint may lag behind what it has mined itself.
            nonce = max(self._next_nonce, self._chain.nonce(self._account.address))
        params: TxParams = {
            **self._fee_fields(head),
            "from": self._account.address,
            "nonce": nonce,  # type: ignore[typeddict-item]
            "gas": min(gas, TX_GAS_LIMIT),
            "chainId": self._chain.chain_id,
            "value": 0,  # type: ignore[typeddict-item]
        }
        signed = self._account.sign_transaction(call.build_transaction(params))  # type: ignore[arg-type]
        raw = bytes(signed.raw_transaction)
        tx = Transaction(bytes(signed.hash), purpose, params["nonce"], raw)
        self._journal.add_transaction(tx)
        return tx

    def send(self, tx: Transaction, head: Head) -> None:
        """Send a journalled transaction; what becomes of it shows in `check`.

        Raises:
            ChainUnreachable: If the endpoint does not answer; `check` sends it again.
        """
        self._open[tx.purpose] = tx
        self._send(tx, head)

    def check(self, head: Head, followed: int) -> None:
        """See which transactions are in a followed block, and send again those that got lost.

        A transaction in a block that is not followed yet stays under way: the chain may take that
        block back without the cursor noticing.

        Args:
            head: The latest block.
            followed: Last followed block.

        Raises:
            ChainUnreachable: If the endpoint does not answer.
        """
        self._overtaken = False
        with self._journal.atomic():
            self._check(head, followed)

    def _check(self, head: Head, followed: int) -> None:
        for tx in sorted(self._open.values(), key=lambda tx: tx.nonce):
            receipt = self._chain.raw("eth_getTransactionReceipt", "0x" + tx.hash.hex())
            if receipt is not None:
                if int(receipt["blockNumber"], 16) <= followed:
                    self._close(tx, receipt, head)
            elif head.number - self._sent_at.get(tx.hash, -RESEND_BLOCKS) >= RESEND_BLOCKS:
                self._send(tx, head)
            if self.paused:
                return

    def reload(self) -> None:
        """Take up what a reorganisation put back under way."""
        self._open = {tx.purpose: tx for tx in self._journal.open_transactions()}
        self._sent_at.clear()
        self._next_nonce = 0

    def _send(self, tx: Transaction, head: Head) -> None:
        self._sent_at[tx.hash] = head.number
        try:
            self._chain.send_raw(self._account.address, tx.raw)
        except ChainUnreachable:
            raise
        except OutOfFunds as exc:
            self._pause_s = min(max(1.0, 2 * self._pause_s), LONGEST_PAUSE_S)
            self._paused_until = time.monotonic() + self._pause_s
            self._drop(tx, str(exc))
            log.error("out of funds", purpose=tx.purpose, problem=exc, retry_in_s=self._pause_s)
        except ChainError as exc:
            text = str(exc).lower()
            if "already known" in text or "already imported" in text:
                return
            if "nonce too low" in text:
                if not self._is_mined(tx):
                    self._drop(tx, str(exc))
                self._overtaken = True
                return
            self._drop(tx, str(exc))
            self._retry_at[tx.purpose] = head.at + RETRY_S
            log.warning("not sent", purpose=tx.purpose, problem=exc)
        else:
            self._pause_s = 0.0
            log.debug("sent", purpose=tx.purpose, nonce=tx.nonce, tx="0x" + tx.hash.hex())

    def _is_mined(self, tx: Transaction) -> bool:
        return self._chain.raw("eth_getTransactionReceipt", "0x" + tx.hash.hex()) is not None

    def _drop(self, tx: Transaction, note: str) -> None:
        tx.state = "dropped"
        self._journal.mark_transaction(tx, note)
        self._open.pop(tx.purpose, None)

    def _close(self, tx: Transaction, receipt: dict[str, str], head: Head) -> None:
        """Record that a transaction is in a block, and say why if it was refused."""
        tx.block, gas = int(receipt["blockNumber"], 16), int(receipt["gasUsed"], 16)
        self._next_nonce = max(self._next_nonce, tx.nonce + 1)
        note = ""
        if int(receipt["status"], 16) == 1:
            tx.state = "mined"
            log.info("done", purpose=tx.purpose, gas=gas, block=tx.block)
        else:
            tx.state = "reverted"
            self._retry_at[tx.purpose] = head.at + RETRY_S
            reason = self._chain.why_reverted(tx.hash)
            note = str(reason)
            tell = log.info if reason.error in OVERTAKEN else log.error
            tell("refused", purpose=tx.purpose, problem=reason, block=tx.block)
        self._journal.mark_transaction(tx, note)
        del self._open[tx.purpose]

    def _fee_fields(self, head: Head) -> TxParams:
        """Return fee fields for the next transaction, asking for tips and prices now and then."""
        if self._fees is None or head.number - self._fees[0] >= FEE_BLOCKS:
            self._fees = head.number, self._chain.fees()
        fees = self._fees[1]
        if head.base_fee_wei is None or "gasPrice" in fees:
            return fees
        tip = int(fees["maxPriorityFeePerGas"])
        return {"maxPriorityFeePerGas": tip, "maxFeePerGas": 2 * head.base_fee_wei + tip}  # type: ignore[typeddict-item]
