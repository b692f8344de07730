"""Turns what is due into journalled signatures and transactions."""

from __future__ import annotations

import json

from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction

from market.chain import Reverted
from market.clear_calls import fitting_clear_call
from market.deployment import Market
from market.history import History
from market.keeper import fitting_settle_call
from market.messages import Objection, Topic
from oracle import log
from oracle.duties.queries import COLLECT_GAS
from oracle.duties.situation import (
    Action,
    Clear,
    CollectFees,
    Deliver,
    FileEvidence,
    FixHeadroom,
    FixPrices,
    Object,
    ProposeHeadroom,
    ProposePrices,
    ProposeReport,
    Settle,
    Vote,
)
from oracle.follower import Head
from oracle.journal import Journal, SignedVote
from oracle.pricing import price_tuple
from oracle.sender import Sender
from oracle.view import View

# Gas limits that hold whatever the data, so that nothing has to be estimated.
CALL_GAS = 400_000
PROPOSED_BYTE_GAS = 200
PROPOSED_PRICES_GAS = 40_000
FIXED_PRICES_GAS = 60_000
FIXED_HEADROOM_GAS = 40_000
# An objection reads the whole feeder, and may be the one that lowers a line.
OBJECT_GAS = 2_000_000

MOST_ERRANDS = 4
"""Answers to strangers go out while no more transactions than that are under way."""

ERRAND_REST_S = 600
"""Chain time for which an answer that would be refused just now is left alone."""


class Actor:
    """Does what one seat has to do."""

    def __init__(
        self, market: Market, seat: int, account: LocalAccount, journal: Journal, sender: Sender
    ) -> None:
        """Act for a seat."""
        self._market, self._seat, self._account = market, seat, account
        self._journal, self._sender = journal, sender

    def do(self, action: Action, view: View, head: Head) -> bool:
        """Do what is due, unless it is under way.

        Args:
            action: What is due.
            view: What the decision was made on.
            head: The latest block.

        Returns:
            Whether a transaction was sent.

        Raises:
            ChainUnreachable: If the endpoint does not answer; what was signed is sent later.
        """
        if self._sender.holds(action.purpose, head.at) or not self._may_say(action, view, head):
            return False
        if isinstance(action, (Deliver, CollectFees)) and not self._is_free_for(action, head):
            return False
        with self._journal.atomic():
            prepared = self._prepare(action, view)
            if prepared is None:
                return False
            call, gas = prepared
            tx = self._sender.sign(action.purpose, call, gas, head)
        self._sender.send(tx, head)
        return True

    def _may_say(self, action: Action, view: View, head: Head) -> bool:
        """Return whether this journal would know if the node had said something on it before."""
        if self._journal.about("halted") is not None:
            return False
        since = int(self._journal.about("since_at") or 0)
        if isinstance(action, (Vote, Object)):
            ballot = view.ballot(action.proposal)
            return ballot is None or ballot.at > since
        if isinstance(action, (ProposeReport, ProposePrices, ProposeHeadroom)):
            return head.at > since + self._market.schedule.round_length_s
        return True

    def _is_free_for(self, action: Deliver | CollectFees, head: Head) -> bool:
        """Return whether something for strangers may be done: nothing is late for it or in vain.

        Who was faster may be in a block that is not followed yet, so the latest one is asked.
        """
        if self._sender.waiting >= MOST_ERRANDS:
            return False
        call, gas = self._errand(action)
        try:
            self._market.chain.rehearse(call, self._account.address, gas)
        except Reverted as exc:
            self._sender.rest(action.purpose, head.at + ERRAND_REST_S)
            log.debug("in vain", purpose=action.purpose, problem=exc)
            return False
        return True

    def _errand(self, action: Deliver | CollectFees) -> tuple[ContractFunction, int]:
        """Return the call that does something for strangers, with a gas limit."""
        oracle = self._market.oracle.functions
        if isinstance(action, CollectFees):
            return oracle.collectFees(), COLLECT_GAS
        hashes = [keccak(bucket) for bucket in action.buckets]
        bucket = action.buckets[action.bucket] if hashes else b""
        return oracle.deliver(action.query.id, hashes, bucket), action.gas

    def _prepare(self, action: Action, view: View) -> tuple[ContractFunction, int] | None:
        """Journal what is said, and return the call that says it with a gas limit."""
        oracle = self._market.oracle.functions
        match action:
            case Clear(period):
                return fitting_clear_call(self._market, History(self._market), period)
            case Settle(period):
                return fitting_settle_call(self._market, view, period)
            case ProposeReport(period, version, round_, buckets):
                payload = json.dumps([bucket.hex() for bucket in buckets])
                kept = self._journal.keep_proposal(Topic.REPORT, period, version, round_, payload)
                data = [bytes.fromhex(text) for text in json.loads(kept)]
                gas = CALL_GAS + PROPOSED_BYTE_GAS * sum(map(len, data))
                return oracle.proposeReport(period, version, data), gas
            case ProposePrices(first, round_, prices):
                payload = json.dumps([price_tuple(p) for p in prices])
                kept = self._journal.keep_proposal(Topic.PRICES, first, 0, round_, payload)
                rows = [tuple(row) for row in json.loads(kept)]
                gas = CALL_GAS + PROPOSED_PRICES_GAS * len(rows)
                return oracle.proposePrices(first, rows), gas
            case FixPrices(first, round_, prices):
                rows = [price_tuple(p) for p in prices]
                gas = CALL_GAS + FIXED_PRICES_GAS * len(rows)
                return oracle.fixPrices(first, rows), gas
            case ProposeHeadroom(first, round_, headrooms):
                payload = json.dumps([headroom.hex() for headroom in headrooms])
                kept = self._journal.keep_proposal(Topic.HEADROOM, first, 0, round_, payload)
                data = [bytes.fromhex(text) for text in json.loads(kept)]
                gas = CALL_GAS + sum(PROPOSED_BYTE_GAS * len(headroom) for headroom in data)
                return oracle.proposeHeadroom(first, data), gas
            case FixHeadroom(first, _, headrooms):
                gas = CALL_GAS + FIXED_HEADROOM_GAS * len(headrooms)
                return oracle.fixHeadroom(first, [keccak(h) for h in headrooms]), gas
            case FileEvidence(found):
                said = (found.first, found.second)
                words = [part for w in said for part in (w.proposal.as_tuple(), w.as_tuple())]
                return oracle.fileEvidence(*words), CALL_GAS
            case Deliver() | CollectFees():
                return self._errand(action)
            case Vote() | Object():
                return self._say(action, view)

    def _say(self, action: Vote | Object, view: View) -> tuple[ContractFunction, int] | None:
        """Sign and journal a word once; in one round this node has one only."""
        proposal = action.proposal
        kept = self._journal.vote(proposal)
        if kept is None:
            kept = self._journal.keep_vote(proposal, self._signed(action))
            tell = log.info if kept.support else log.warning
            word = "for" if kept.support else "against"
            tell("votes", on=action.purpose, word=word, reason=kept.reason)
        if kept.digest != proposal.digest:
            log.warning("no second vote in a round", on=action.purpose)
            return None
        oracle = self._market.oracle.functions
        if proposal.topic is Topic.CLEARING and not kept.support:
            key = (Topic.CLEARING, proposal.period, proposal.version, 0)
            said = self._journal.keep_proposal(*key, "")
            objection = Objection(proposal, *json.loads(said)).as_tuple(self._seat, kept.signature)
            headroom = view.votes.headrooms.get(proposal.period, b"")
            return oracle.object(proposal.as_tuple(), [objection], headroom), OBJECT_GAS
        ballot = (self._seat, kept.support, kept.signature)
        return oracle.vote(proposal.as_tuple(), [ballot]), CALL_GAS

    def _signed(self, action: Vote | Object) -> SignedVote:
        """Sign a word; what an objection names is journalled with it."""
        proposal, domain = action.proposal, self._market.domain
        if isinstance(action, Vote):
            signature = proposal.sign(self._account, domain, support=action.support)
            return SignedVote(proposal.digest, action.support, signature, action.reason)
        key = (Topic.CLEARING, proposal.period, proposal.version, 0)
        self._journal.keep_proposal(*key, json.dumps(action.derate))
        signature = Objection(proposal, *action.derate).sign(self._account, domain)
        return SignedVote(proposal.digest, False, signature, action.reason)
