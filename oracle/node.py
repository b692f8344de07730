"""One committee node: looks at the chain, reads its meters, does what is due, and again."""

from __future__ import annotations

import sqlite3
import threading

from web3.exceptions import Web3Exception

from market.chain import TX_GAS_LIMIT, ChainError, ChainUnreachable, Identity, WrongChain
from market.deployment import Deployment, DeploymentError, Market
from oracle import log, monitor
from oracle.actor import Actor
from oracle.alarms import ClockWatch, PriceWatch, QuorumWatch
from oracle.config import ConfigError, NodeConfig
from oracle.duties import clearing, evidence, headroom, keep, prices, queries, report
from oracle.duties.situation import Duty, Situation, Terms
from oracle.endpoints import connect
from oracle.follower import Follower
from oracle.journal import Journal, JournalError
from oracle.monitor import Pulse
from oracle.pricing import periods_ahead, price_source
from oracle.purse import Purse
from oracle.readings import OwnReadings
from oracle.rounds import MeterRounds
from oracle.sender import Sender
from oracle.sources import open_meters
from oracle.upkeep import is_damage
from oracle.wires import open_wires
from oracle.witness import Witness

DUTIES: tuple[Duty, ...] = (
    clearing.vote,
    report.vote,
    keep.settle,
    keep.clear,
    report.propose,
    prices.vote,
    prices.fix,
    prices.propose,
    headroom.vote,
    headroom.fix,
    headroom.propose,
    evidence.file,
    queries.deliver,
    queries.collect,
)
"""What a node does, the most urgent first."""

MOST_ACTIONS = 8
"""Transactions of one duty in a row; after a backlog the others get their turn in between."""

REST_S = 3_600
"""How long a period is kept in mind after its end, so that a block taken back changes nothing."""

EAGER_POLLS = 4
"""So many times as often the chain is looked at while something of this node is under way."""

LONGEST_BACKOFF_S = 30.0
"""Longest wait between two tries while the chain does not answer."""

FLAKY_POLLS = 4
"""Longest wait, in pauses between two looks, while it answers, but not all that is asked."""


class Node:
    """A committee node."""

    def __init__(self, config: NodeConfig, pulse: Pulse | None = None) -> None:
        """Open the market, the journal and the meters.

        Args:
            config: What it is told.
            pulse: Where to tell how it is.

        Raises:
            ConfigError: If key, prices or seat do not fit.
            ChainError: If the chain does not answer or is not the deployment's.
            JournalError: If the journal is another market's or seat's.
            SourceError: If the meters' files cannot be used.
        """
        self._config = config
        self._pulse = pulse or Pulse()
        self._account = config.key.load()
        self._signer = self._account.address.lower()
        deployment = Deployment.load(config.deployment)
        chain, self._endpoints = connect(config.rpc_url, config.rpc_timeout_s)
        self._endpoints.expect(Identity(deployment.chain_id, deployment.genesis_hash))
        self._market = Market(chain, deployment)
        self._schedule = self._market.schedule
        self._first_period = int(chain.read(self._market.master.functions.firstPeriod()))
        self._attach()
        self._head = self._follower.look()
        self._roster, self._source = open_meters(config, self._schedule, lambda: self._head.at)
        self._readings = self._open_readings()
        self._prices = price_source(
            config.prices, self._schedule, config.journal, lambda: self._head.at
        )
        table = bytes(chain.read(self._market.grid.functions.table()))
        self._wires = open_wires(config.grid, table, self._roster)
        self._purse = Purse(self._market, self._account.address)
        self._quorums = QuorumWatch()
        self._wants = PriceWatch()
        self._clocks = ClockWatch(config.clock_skew_s)
        self._rounds = MeterRounds()

    def _attach(self) -> None:
        """Open the journal and take up from it."""
        config, market = self._config, self._market
        self._journal = Journal(config.journal)
        self._journal.belong(
            market=market.deployment.market,
            seat=config.seat,
            period_s=market.schedule.length_s,
            epoch_s=market.schedule.epoch_s,
        )
        self._follower = Follower(
            market, self._journal, config.confirmations, config.log_chunk_blocks
        )
        self._sender = Sender(market.chain, self._account, self._journal)
        self._actor = Actor(market, config.seat, self._account, self._journal, self._sender)
        self._witness = Witness(market, self._journal, config.seat, self._signer)
        self._view = self._follower.view
        self._floor = max(self._first_period, self._view.floor)
        self._begin()

    def _begin(self) -> None:
        """Take the chain's word for what the key has said before this journal's first start."""
        halted = self._journal.about("halted")
        if halted is not None:
            log.error("key used elsewhere", what=halted)
        if self._journal.about("since_block") is not None:
            return
        head = self._follower.look()
        sent = self._market.chain.raw("eth_getTransactionCount", self._account.address, "latest")
        used = int(sent, 16) > 0
        self._journal.note(since_block=head.number, since_at=head.at if used else 0)
        if used:
            log.warning("keeps quiet", until=head.at + self._schedule.round_length_s)

    def _reattach(self) -> None:
        """Forget what may not have become durable: what the journal holds is what counts."""
        self._journal.close()
        self._attach()
        self._readings = self._open_readings()

    def _open_readings(self) -> OwnReadings:
        return OwnReadings(self._journal, self._source, self._roster, lambda: self._head.at)

    @property
    def summary(self) -> str:
        """Who and where this node is, for its first line."""
        return f"seat={self._config.seat} signer={self._signer} block={self._follower.followed}"

    def sync(self) -> None:
        """Follow the chain to its head.

        Raises:
            ConfigError: If the seat is not, was not and will not be this key's.
        """
        self._head = self._follower.look()
        self._follow()
        self._check_seat()

    def run(self, stop: threading.Event) -> None:
        """Work until stopped.

        Args:
            stop: Set it, in a signal handler if you like, and the node stops soon.

        Raises:
            WrongChain: If the chain was reset meanwhile.
            DeploymentError: If the market is gone from it.
            JournalError: If the journal is damaged.
            sqlite3.Error: Likewise.
        """
        seen, backoff_s, broken = b"", 0.0, False
        while not stop.is_set():
            longest_s = LONGEST_BACKOFF_S
            try:
                if broken:
                    self._reattach()
                    log.info("journal is back")
                    broken = False
                head = self._follower.look()
                longest_s = FLAKY_POLLS * self._config.poll_s
                self._clocks.look(head.at)
                if head.hash != seen:
                    self._head = head
                    with monitor.TURN.time():
                        self._tick()
                    seen = b"" if self._sender.restless else head.hash
                if backoff_s:
                    log.info("chain is back", block=head.number)
                backoff_s = 0.0
                self._report()
            except (WrongChain, DeploymentError):
                raise
            except Exception as exc:  # whatever an endpoint answers, a node lives on
                seen = b""
                backoff_s = min(max(self._config.poll_s, 2 * backoff_s), longest_s)
                broken = broken or _is_of_journal(exc)
                self._tell(exc, backoff_s)
                self._pulse.beat(str(exc))
            stop.wait(backoff_s or self._pause_s())
        self._journal.close()
        log.info("stopped", seat=self._config.seat)

    def _pause_s(self) -> float:
        """Return how long to rest: what is due next waits for what is under way."""
        poll_s = self._config.poll_s
        return poll_s / EAGER_POLLS if self._sender.waiting else poll_s

    def _tell(self, exc: Exception, retry_in_s: float) -> None:
        """Log what keeps the node from going on, and make the best of it.

        Raises:
            sqlite3.Error: If it is a journal that will not heal by itself.
        """
        if _is_of_journal(exc):
            if is_damage(exc) or is_damage(exc.__cause__):
                raise exc
            log.error("journal fails", problem=exc, retry_in_s=retry_in_s)
            return
        known = isinstance(exc, (ChainError, Web3Exception))
        tell = log.warning if known else log.trace
        tell("chain fails", problem=exc if known else repr(exc), retry_in_s=retry_in_s)
        if not isinstance(exc, ChainUnreachable):
            self._endpoints.leave(exc)

    def _report(self) -> None:
        """Tell those who watch how the node is."""
        halted = self._journal.about("halted")
        self._pulse.beat("" if halted is None else f"key used elsewhere: {halted}")
        monitor.HEAD.set(self._head.number)
        monitor.HEAD_AT.set(self._head.at)
        monitor.FOLLOWED.set(self._follower.followed)
        monitor.LISTENED.set(self._witness.listened)
        monitor.FLOOR.set(self._floor)
        monitor.PERIODS.set(len(self._view.periods))
        monitor.UNREPORTED.set(self._quorums.unreported)
        monitor.QUERIES.set(len(self._follower.queries))
        monitor.WAITING.set(self._sender.waiting)
        monitor.PRICES_AGE.set(self._prices.age_s)
        monitor.PRICES_AHEAD.set(periods_ahead(self._prices, self._schedule, self._head.at))
        monitor.HALTED.set(halted is not None)
        monitor.JOURNAL.set(self._config.journal.stat().st_size)
        for number, endpoint in enumerate(self._endpoints.all):
            # Addresses may hold secrets.
            label = str(number)
            monitor.ENDPOINT_USED.labels(label).set(endpoint is self._endpoints.current)
            monitor.ENDPOINT_FAILURES.labels(label).set(endpoint.failures)
            monitor.ENDPOINT_HEAD.labels(label).set(endpoint.head)
            monitor.ENDPOINT_LATENCY.labels(label).set(endpoint.latency_s)

    def _tick(self) -> None:
        self._follow()
        self._witness.listen(self._follower.followed, self._view)
        if self._journal.about("halted") is None:
            self._sender.check(self._head, self._follower.followed)
        self._purse.look(self._head.number)
        self._prices.look()
        situation = self._situation()
        self._rounds.read(situation)
        self._quorums.look(situation)
        self._wants.look(situation)
        for duty in DUTIES:
            try:
                self._do(duty, situation)
            except (ChainUnreachable, sqlite3.Error):
                raise
            except Exception as exc:  # one duty must not keep the others from being done
                log.trace("duty failed", duty=f"{duty.__module__}.{duty.__name__}", problem=exc)

    def _do(self, duty: Duty, situation: Situation) -> None:
        sent = 0
        for action in duty(situation):
            try:
                sent += self._actor.do(action, self._view, self._head)
            except (ChainUnreachable, sqlite3.Error):
                raise
            except Exception as exc:  # one action must not keep the others from being done
                log.trace("action failed", action=action.purpose, problem=exc)
            if sent == MOST_ACTIONS:
                return

    def _follow(self) -> None:
        self._follower.sync(self._head)
        if self._view is not self._follower.view:
            self._view = self._follower.view
            self._floor = max(self._first_period, self._view.floor)
            self._sender.reload()

    def _situation(self) -> Situation:
        clock, now = self._schedule, self._head.at
        gated = (now + clock.gate_lead_s - clock.epoch_s) // clock.length_s
        self._forget(gated)
        patience_s = self._config.report.patience_s
        return Situation(
            now=now,
            block=self._head.number,
            seat=self._config.seat,
            signer=self._signer,
            schedule=clock,
            view=self._view,
            readings=self._readings,
            prices=self._prices,
            wires=self._wires,
            first_period=self._first_period,
            patience_s=clock.round_length_s // 2 if patience_s is None else patience_s,
            periods=range(self._floor, gated + 1),
            queries=self._follower.queries,
            terms=self._terms(),
            contradictions=self._witness.contradictions(self._floor),
            tolerance=self._config.tolerance,
        )

    def _terms(self) -> Terms:
        """Return on what terms queries are answered, as of the latest block."""
        wanted, earned_wei = self._config.queries, self._purse.earned_wei
        idle = not (earned_wei or len(self._follower.queries))
        return Terms(
            deliver=wanted.deliver,
            least_fee_percent=wanted.least_fee_percent,
            gas_price_wei=0 if idle else self._sender.gas_price_wei(self._head),
            gas_limit=min(TX_GAS_LIMIT, self._head.gas_limit),
            earned_wei=earned_wei,
        )

    def _forget(self, gated: int) -> None:
        """Drop the periods in which nothing can happen any more, up to one."""
        floor = self._floor
        while floor <= gated and self._is_done(floor):
            floor += 1
        if floor > self._floor:
            self._floor = floor
            self._journal.raise_floor(self._head.number, floor)
            self._view.forget(floor)
            self._quorums.forget(floor)
            self._rounds.forget(floor)

    def _is_done(self, period: int) -> bool:
        p = self._view.period(period)
        over = self._schedule.window_end(period) + REST_S
        if p.settled_version is None or self._head.at < over:
            return False
        return p.final or (p.version == p.settled_version and not p.flagged())

    def _check_seat(self) -> None:
        seat, signers = self._config.seat, self._view.signers(self._config.seat)
        if self._view.committee_size and not signers:
            raise ConfigError(
                f"seat = {seat}: the committee has {self._view.committee_size} seats, "
                f"give 0 to {self._view.committee_size - 1}"
            )
        if signers and self._signer not in signers:
            raise ConfigError(
                f"key: it is the key of {self._signer}, but seat {seat} is held by {signers[-1]}; "
                "give that account's key, or have the grid company rotate the seat"
            )


def _is_of_journal(exc: Exception) -> bool:
    return isinstance(exc, (sqlite3.Error, JournalError))
