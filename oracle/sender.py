"""Sends transactions: journalled first, never awaited, followed until they are in a block."""

from __future__ import annotations

import time
from itertools import count

from eth_account.signers.local import LocalAccount
from web3.contract.contract import ContractFunction
from web3.types import TxParams

from market.chain import TX_GAS_LIMIT, Chain, ChainError, ChainUnreachable, OutOfFunds
from oracle import fees, log
from oracle.follower import Head
from oracle.journal import Journal, Transaction

RETRY_S = 10
"""Chain time before something refused is tried again."""

RESEND_BLOCKS = 3
"""A transaction that is in none of so many blocks is replaced by one that offers more."""

LONGEST_PAUSE_S = 60.0
"""Longest wait between two tries while the account is out of funds."""

FEE_BLOCKS = 50
"""Blocks for which the chain's word on tips and gas prices is taken."""

OVERTAKEN = frozenset(
    {
        "AlreadyProposed",
        "NotAccepted",
        "NotPrimary",
        "NotTheReport",
        "NothingPaid",
        "NothingToSettle",
        "OutOfGasOrRaced",
        "ReasonUnknown",
        "TooLate",
        "UnknownProposal",
        "UnknownQuery",
        "WrongHashes",
        "WrongVersion",
    }
)
"""Refusals which only mean that somebody or the clock was faster, as far as anybody can tell."""

UNDERPRICED = ("underpriced", "base fee", "toolow", "fee too low", "price too low", "price below")
"""What nodes say, each in its own words, when somebody has to offer more."""


class Sender:
    """Sends one account's transactions.

    All that was signed with one nonce does the same for different fees: whichever gets into a block
    resolves the nonce. A nonce whose transactions the endpoint would not have is free again, and
    the next action takes it, so that none of those above waits for it in vain.
    """

    def __init__(self, chain: Chain, account: LocalAccount, journal: Journal) -> None:
        """Take up what the journal has under way."""
        self._chain, self._account, self._journal = chain, account, journal
        self._open: dict[int, list[Transaction]] = {}
        self._sent_at: dict[int, int] = {}
        self._doubted: set[int] = set()
        self._retry_at: dict[str, int] = {}
        self._pause_s = 0.0
        self._paused_until = 0.0
        self._overtaken = False
        self._next_nonce = 0
        self._fees: tuple[int, TxParams] | None = None
        self.reload()

    @property
    def paused(self) -> bool:
        """Whether the account was found out of funds just now."""
        return time.monotonic() < self._paused_until

    @property
    def waiting(self) -> int:
        """Number of nonces under way."""
        return len(self._open)

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
        under_way = any(txs[0].purpose == purpose for txs in self._open.values())
        return self.paused or under_way or self._retry_at.get(purpose, 0) > now_s

    def rest(self, purpose: str, until_s: int) -> None:
        """Have something held for a while.

        Args:
            purpose: What it is for.
            until_s: Until which chain time.
        """
        self._retry_at[purpose] = until_s

    def gas_price_wei(self, head: Head) -> int:
        """Return what a unit of gas costs in the next block, as far as the chain tells.

        Raises:
            ChainUnreachable: If the endpoint does not answer.
        """
        fields = self._fee_fields(head)
        if "gasPrice" in fields:
            return int(fields["gasPrice"])
        return (head.base_fee_wei or 0) + int(fields["maxPriorityFeePerGas"])

    def sign(self, purpose: str, call: ContractFunction, gas: int, head: Head) -> Transaction:
        """Sign and journal a call; `send` it once that is durable.

        Raises:
            ChainUnreachable: If the endpoint does not answer; nothing is signed then.
        """
        # The endpoint may lag behind what it has mined itself.
        lowest = max(self._next_nonce, self._mined_count())
        params: TxParams = {
            **self._fee_fields(head),
            "from": self._account.address,
            "nonce": next(n for n in count(lowest) if n not in self._open),  # type: ignore[typeddict-item]
            "gas": min(gas, TX_GAS_LIMIT),
            "chainId": self._chain.chain_id,
            "value": 0,  # type: ignore[typeddict-item]
        }
        return self._sign(purpose, call.build_transaction(params))

    def send(self, tx: Transaction, head: Head) -> None:
        """Send a journalled transaction; what becomes of it shows in `check`.

        Raises:
            ChainUnreachable: If the endpoint does not answer; `check` sends it again.
        """
        self._open.setdefault(tx.nonce, []).append(tx)
        self._send(tx, head)

    def check(self, head: Head, followed: int) -> None:
        """See which transactions are in a followed block, and replace those that are in none.

        A transaction in a block that is not followed yet stays under way: the chain may take that
        block back without the cursor noticing.

        Args:
            head: The latest block.
            followed: Last followed block.

        Raises:
            ChainUnreachable: If the endpoint does not answer.
        """
        self._overtaken = False
        self._retry_at = {what: at for what, at in self._retry_at.items() if at > head.at}
        with self._journal.atomic():
            waiting = [nonce for nonce in sorted(self._open) if self._waits(nonce, head, followed)]
        # Outside, for what is signed must be durable before it is sent.
        for nonce in waiting:
            if self.paused:
                return
            tx, sent_at = self._open[nonce][-1], self._sent_at.get(nonce)
            if sent_at is None:
                self._send(tx, head)
            elif head.number - sent_at >= RESEND_BLOCKS:
                self._send(self._dearer(tx, head) or tx, head)

    def reload(self) -> None:
        """Take up what the journal has under way, as after a reorganisation."""
        self._open.clear()
        for tx in sorted(self._journal.open_transactions(), key=self._offer):
            self._open.setdefault(tx.nonce, []).append(tx)
        self._sent_at.clear()
        self._doubted.clear()
        self._next_nonce = 0

    def _waits(self, nonce: int, head: Head, followed: int) -> bool:
        """Return whether none of a nonce's transactions is in a block; close it if one is."""
        for tx in self._open[nonce]:
            receipt = self._receipt(tx)
            if receipt is not None:
                if int(receipt["blockNumber"], 16) <= followed:
                    self._close(tx, receipt, head)
                return False
        return True

    def _send(self, tx: Transaction, head: Head) -> None:
        try:
            self._chain.send_raw(self._account.address, tx.raw)
        except ChainUnreachable:
            self._sent_at.pop(tx.nonce, None)
            raise
        except OutOfFunds as exc:
            self._pause_s = min(max(1.0, 2 * self._pause_s), LONGEST_PAUSE_S)
            self._paused_until = time.monotonic() + self._pause_s
            self._drop(tx, str(exc))
            log.error("out of funds", purpose=tx.purpose, problem=exc, retry_in_s=self._pause_s)
        except ChainError as exc:
            self._sent_at[tx.nonce] = head.number
            self._refused(tx, exc, head)
        else:
            self._sent_at[tx.nonce] = head.number
            self._pause_s = 0.0
            log.debug("sent", purpose=tx.purpose, nonce=tx.nonce, tx="0x" + tx.hash.hex())

    def _refused(self, tx: Transaction, exc: ChainError, head: Head) -> None:
        """Make the best of a transaction the endpoint would not have."""
        text = str(exc).lower()
        if "already" in text or "known transaction" in text:
            return
        if "nonce too low" in text or self._mined_count() > tx.nonce:
            self._overtaken = True
            if any(self._receipt(other) is not None for other in self._open[tx.nonce]):
                return
            if tx.nonce in self._doubted:
                for other in list(self._open[tx.nonce]):
                    self._drop(other, str(exc))
            else:
                # An endpoint may know that a nonce is used before it knows by which transaction.
                self._doubted.add(tx.nonce)
        elif any(words in text for words in UNDERPRICED):
            dearer = self._dearer(tx, head)
            if dearer is not None:
                self._send(dearer, head)
            else:
                log.warning("not sent", purpose=tx.purpose, problem=exc)
        else:
            self._drop(tx, str(exc))
            self._retry_at[tx.purpose] = head.at + RETRY_S
            log.warning("not sent", purpose=tx.purpose, problem=exc)

    def _dearer(self, tx: Transaction, head: Head) -> Transaction | None:
        """Sign and journal a transaction anew for a higher fee, unless that is no use."""
        self._fees = head.number, self._chain.fees()
        terms = fees.replacement(fees.terms_of(tx.raw, self._chain.chain_id), self._fees[1])
        if terms is None:
            return None
        dearer = self._sign(tx.purpose, terms)
        self._open[tx.nonce].append(dearer)
        log.info("offers more", purpose=tx.purpose, nonce=tx.nonce, wei=fees.offer(terms))
        return dearer

    def _sign(self, purpose: str, params: TxParams) -> Transaction:
        signed = self._account.sign_transaction(params)  # type: ignore[arg-type]
        raw = bytes(signed.raw_transaction)
        tx = Transaction(bytes(signed.hash), purpose, params["nonce"], raw)
        self._journal.add_transaction(tx)
        return tx

    def _offer(self, tx: Transaction) -> int:
        return fees.offer(fees.terms_of(tx.raw, self._chain.chain_id))

    def _mined_count(self) -> int:
        count_ = self._chain.raw("eth_getTransactionCount", self._account.address, "latest")
        return int(count_, 16)

    def _receipt(self, tx: Transaction) -> dict[str, str] | None:
        receipt: dict[str, str] | None = self._chain.raw(
            "eth_getTransactionReceipt", "0x" + tx.hash.hex()
        )
        return receipt

    def _drop(self, tx: Transaction, note: str) -> None:
        tx.state = "dropped"
        self._journal.mark_transaction(tx, note)
        self._open[tx.nonce].remove(tx)
        if not self._open[tx.nonce]:
            self._forget(tx.nonce)

    def _forget(self, nonce: int) -> None:
        del self._open[nonce]
        self._sent_at.pop(nonce, None)
        self._doubted.discard(nonce)

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
        for other in self._open[tx.nonce]:
            if other is not tx:
                # With the block's number, for a reorganisation opens them all again.
                other.state, other.block = "replaced", tx.block
                self._journal.mark_transaction(other)
        self._forget(tx.nonce)

    def _fee_fields(self, head: Head) -> TxParams:
        """Return fee fields for the next transaction, asking for tips and prices now and then."""
        if self._fees is None or head.number - self._fees[0] >= FEE_BLOCKS:
            self._fees = head.number, self._chain.fees()
        suggested = self._fees[1]
        if head.base_fee_wei is None or "gasPrice" in suggested:
            return suggested
        tip = int(suggested["maxPriorityFeePerGas"])
        return {"maxPriorityFeePerGas": tip, "maxFeePerGas": 2 * head.base_fee_wei + tip}  # type: ignore[typeddict-item]
