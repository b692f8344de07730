"""The paper's story: A sells B 10 kWh, C is a reserve node (Peng, section V)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from market.messages import Agreement, Declaration
from market.types import Options
from scripts.demo.ledger import Page
from scripts.demo.orders import AgreementDesk
from scripts.demo.terms import STORY_BENCHMARK, STORY_PERIODS
from scripts.demo.village import Node, Readings, Village

AGREED_WH = 10_000
CAPACITY_W = 80_000

NAMES = ("A", "B", "C")


@dataclass(frozen=True, slots=True)
class Case:
    """One period of the story.

    Attributes:
        title: What happens.
        delivered_wh: What A feeds in.
        taken_wh: What B draws.
        reserve_wh: What C feeds in.
        expected_uyuan: What A, B and C get without a fee, as SPEC.md section 6 works out.
    """

    title: str
    delivered_wh: int
    taken_wh: int
    reserve_wh: int
    expected_uyuan: tuple[int, int, int]


CASES = (
    Case("as planned: A 10, B 10", 10_000, 10_000, 0, (4_379_000, -4_379_000, 0)),
    Case("short: A 8, C 2 over", 8_000, 10_000, 2_000, (3_307_200, -4_379_000, 1_071_800)),
    Case("over: A 12, B 12", 12_000, 12_000, 0, (5_038_400, -5_038_400, 0)),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a case came to.

    Attributes:
        case: The case.
        paid_uyuan: What A, B and C got on chain.
    """

    case: Case
    paid_uyuan: tuple[int, ...]

    @property
    def as_expected(self) -> bool:
        """Whether everybody got what the paper says, to the unit."""
        return self.paid_uyuan == self.case.expected_uyuan


def cast(village: Village, first_node: int) -> list[Node]:
    """Return A, B and C; they are at the feed, so no line comes between them."""
    return [
        village.at_the_feed(first_node + i, name, "of the story", CAPACITY_W, CAPACITY_W)
        for i, name in enumerate(NAMES)
    ]


def readings() -> Readings:
    """Return what the meters of A, B and C measure."""
    measured: Readings = {}
    for period, case in zip(STORY_PERIODS, CASES, strict=True):
        measured["A", period] = (0, case.delivered_wh)
        measured["B", period] = (case.taken_wh, 0)
        measured["C", period] = (0, case.reserve_wh)
    return measured


def place(desk: AgreementDesk, nodes: Sequence[Node]) -> None:
    """Place the agreement of A and B, and C's declaration, in each of the three periods."""
    price = STORY_BENCHMARK.planned_uyuan_per_kwh
    seller, buyer, reserve = (node.id for node in nodes)
    options = (Options.OFFER, Options.TAKE)
    desk.place(
        [
            Agreement(period, seller, buyer, AGREED_WH, price, nonce, nonce, *options)
            for nonce, period in enumerate(STORY_PERIODS)
        ]
    )
    desk.declare([Declaration(period, reserve, Options.RESERVE) for period in STORY_PERIODS])


def outcome(case: Case, page: Page, nodes: Sequence[Node]) -> Outcome:
    """Compare a case with its settled period."""
    return Outcome(case, tuple(page.nets_uyuan.get(node.id, 0) for node in nodes))
