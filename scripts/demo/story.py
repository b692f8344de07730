"""The paper's story: A sells B 10 kWh, C is a reserve node (Peng, section V)."""

from __future__ import annotations

from dataclasses import dataclass

from market.messages import Declaration
from market.types import Options
from oracle.meters.roster import Meter, Role
from scripts.demo.ledger import Page
from scripts.demo.orders import OrderDesk
from scripts.demo.pairing import Pair
from scripts.demo.terms import STORY_BENCHMARK, STORY_PERIODS
from scripts.demo.village import Node, Readings

AGREED_WH = 10_000
CAPACITY_W = 80_000

A = Node(1, Meter("A", "seller of the story", 0, Role.PROSUMER, CAPACITY_W, CAPACITY_W))
B = Node(2, Meter("B", "buyer of the story", 0, Role.PROSUMER, CAPACITY_W, CAPACITY_W))
C = Node(3, Meter("C", "reserve of the story", 0, Role.PROSUMER, CAPACITY_W, CAPACITY_W))
NODES = [A, B, C]


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


def readings() -> Readings:
    """Return what the meters of A, B and C measure."""
    measured: Readings = {}
    for period, case in zip(STORY_PERIODS, CASES, strict=True):
        measured[A.name, period] = (0, case.delivered_wh)
        measured[B.name, period] = (case.taken_wh, 0)
        measured[C.name, period] = (0, case.reserve_wh)
    return measured


def place(desk: OrderDesk) -> None:
    """Place the agreement of A and B, and C's declaration, in each of the three periods."""
    price = STORY_BENCHMARK.planned_uyuan_per_kwh
    pair = Pair(A.id, B.id, AGREED_WH)
    desk.place([desk.agreement(p, pair, price, Options.OFFER, Options.TAKE) for p in STORY_PERIODS])
    desk.declare([Declaration(p, C.id, Options.RESERVE) for p in STORY_PERIODS])


def outcome(case: Case, page: Page) -> Outcome:
    """Compare a case with its settled period."""
    return Outcome(case, tuple(page.nets_uyuan.get(node.id, 0) for node in NODES))
