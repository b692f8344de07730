"""Whatever meters sent, a prune changes no reading of a period that is kept, now or later."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.meters import keeping
from oracle.meters.roster import Meter, Role, Roster
from oracle.meters.sample import Fidelity, Register, Sample
from oracle.meters.service import MeterService
from oracle.meters.settings import LiveConfig
from oracle.meters.source import Reading
from oracle.meters.store import SampleStore

MINUTE_MS = 60_000
PERIOD_MIN = 15
PERIODS = 8
BRIDGE_MIN = 45
EPOCH_MS = 1_800_000_000_000
ROSTER = Roster(
    [
        Meter("home", "", 0, Role.PROSUMER, 20_000, 20_000),
        Meter("shop", "", 0, Role.CONSUMER, 20_000, 0),
    ],
    60 * PERIOD_MIN,
)

instants_min = st.integers(-60, PERIODS * PERIOD_MIN + 60)


REGISTERS = [
    ("home", Register.IMPORT),
    ("home", Register.EXPORT),
    ("shop", Register.IMPORT),
]


def sample(meter: str, register: Register, at_min: int, value_wh: int, **more: Any) -> Sample:  # noqa: ANN401
    at_ms = EPOCH_MS + at_min * MINUTE_MS
    return replace(Sample(meter, register, value_wh, at_ms, "test", bytes(32)), **more)


@st.composite
def rising(draw: st.DrawFn) -> list[Sample]:
    """Return samples of registers that rise evenly, some of them missing."""
    step_min = draw(st.sampled_from([5, 7, 15, 20]))
    instants = range(draw(st.integers(-60, -50)), PERIODS * PERIOD_MIN + 60, step_min)
    missing = draw(st.sets(st.sampled_from(instants), max_size=6))
    return [
        sample(*register, at_min, 10 * (at_min + 60))
        for register in REGISTERS
        for at_min in instants
        if at_min not in missing
    ]


@st.composite
def odd(draw: st.DrawFn) -> Sample:
    """Return anything: a dip, a spike, a contradiction, another device, an interval of a file."""
    at_min = draw(instants_min)
    length_min = draw(st.sampled_from([None, None, 5, 15, 30]))
    since_ms = None if length_min is None else EPOCH_MS + (at_min - length_min) * MINUTE_MS
    return sample(
        *draw(st.sampled_from(REGISTERS)),
        at_min,
        draw(st.just(10 * (at_min + 60)) | st.integers(0, 2_000)),
        since_ms=since_ms,
        fidelity=draw(st.sampled_from(Fidelity)),
        device=draw(st.sampled_from(["", "", "A", "B"])),
    )


def answers(path: Path, first: int) -> list[object]:
    config = LiveConfig(store=path, bridge_s=60 * BRIDGE_MIN)
    service = MeterService(config, ROSTER, EPOCH_MS // 1000, lambda *_: [])
    found = [answer for period in range(first, PERIODS) for answer in service.read(period)]
    return [a if isinstance(a, Reading) else (a.meter, a.period, a.why) for a in found]


@settings(deadline=None, max_examples=60)
@given(
    rising(),
    st.lists(odd(), max_size=10),
    st.lists(odd(), max_size=6),
    st.integers(0, PERIODS - 1),
)
def test_prune__before_a_period__changes_no_reading_from_it_on(
    plain: list[Sample], early: list[Sample], late: list[Sample], first: int
) -> None:
    before_ms = EPOCH_MS + first * PERIOD_MIN * MINUTE_MS
    with tempfile.TemporaryDirectory() as folder:
        whole, pruned = Path(folder) / "whole", Path(folder) / "pruned"
        for path in (whole, pruned):
            SampleStore(path).add([*plain, *early], [], 0)
        keeping.prune(pruned, before_ms)
        assert answers(pruned, first) == answers(whole, first)

        # What comes later counts in both alike, unless it is of before what is kept at all.
        heard = [sample for sample in late if sample.at_ms >= before_ms]
        SampleStore(whole).add(heard, [], 0)
        _, refused = SampleStore(pruned).add(late, [], 0)
        assert len(refused) == len(late) - len(heard)
        assert answers(pruned, first) == answers(whole, first)
