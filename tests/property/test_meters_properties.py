"""What holds for every profile file, however it was damaged."""

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from oracle.meters.profile import ProfileSource
from oracle.meters.roster import Meter, Role, Roster, capacity_wh_per_period
from oracle.meters.source import Reading, Refusal, SourceError

ROSTER = Roster(
    [
        Meter("house", "Load 1", 3, Role.PROSUMER, 4000, 2000),
        Meter("roof", "SGen 1", 4, Role.GENERATOR, 0, 10_000),
    ]
)
TRUTH = {
    (meter, row): (import_wh, export_wh)
    for row in range(12)
    for meter, import_wh, export_wh in (("house", 90 + row, row), ("roof", 0, 100 * row))
}
TEXT = "meter,row,import_wh,export_wh\n" + "".join(
    f"{meter},{row},{import_wh},{export_wh}\n"
    for (meter, row), (import_wh, export_wh) in TRUTH.items()
)


def play(raw: bytes) -> list[Reading | Refusal] | SourceError:
    """Return all answers of a file, or the error it is refused with."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile.csv"
        path.write_bytes(raw)
        try:
            source = ProfileSource(path, ROSTER)
        except SourceError as error:
            return error
        return [answer for period in range(12) for answer in source.read(period)]


@given(st.integers(0, len(TEXT)))
def test_file_cut_anywhere__never_gives_a_false_reading(length: int) -> None:
    answers = play(TEXT[:length].encode())
    if isinstance(answers, SourceError):
        # Not even one whole row is left.
        assert TEXT[:length].count("\n") < 2
        return
    readings = [answer for answer in answers if isinstance(answer, Reading)]
    assert all((r.import_wh, r.export_wh) == TRUTH[r.meter, r.period] for r in readings)
    assert len(readings) == TEXT[:length].count("\n") - 1


JUNK = st.one_of(st.binary(max_size=6), st.text('09.,-"\n\rhouserf', max_size=6).map(str.encode))


@given(st.integers(0, len(TEXT) - 1), JUNK)
def test_bytes_written_over__spoil_only_the_rows_they_touch(place: int, junk: bytes) -> None:
    damaged = TEXT.encode()[:place] + junk + TEXT.encode()[place + len(junk) :]
    answers = play(damaged)
    if isinstance(answers, SourceError):
        assert answers.where
        assert answers.fix
        return
    read = {(a.meter, a.period): a for a in answers if isinstance(a, Reading)}
    refused = Counter((a.meter, a.period) for a in answers if isinstance(a, Refusal))
    lines = set(damaged.split(b"\n"))
    for (meter, row), energies in TRUTH.items():
        assert (meter, row) in read or (meter, row) in refused
        if f"{meter},{row},{energies[0]},{energies[1]}".encode() not in lines:
            continue
        # A row that was not touched stands, unless a damaged one now contradicts it.
        if (meter, row) in read:
            reading = read[meter, row]
            assert (reading.import_wh, reading.export_wh) == energies
        else:
            assert refused[meter, row] > 1


RAW = st.one_of(
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.none(),
    st.booleans(),
    st.binary(max_size=4),
)


@given(st.sampled_from(["house", "roof", "barn"]), RAW, RAW)
def test_admit__any_raw_value__is_a_reading_within_capacity_or_a_refusal(
    meter: str, import_wh: object, export_wh: object
) -> None:
    answer = ROSTER.admit(meter, 5, import_wh, export_wh, "here")
    if isinstance(answer, Refusal):
        assert answer.why
        assert answer.fix
        return
    known = ROSTER[answer.meter]
    assert 0 <= answer.import_wh <= known.import_capacity_w * 900 // 3600
    assert 0 <= answer.export_wh <= known.export_capacity_w * 900 // 3600


@given(st.integers(0, 2**50), st.integers(1, 86_400))
def test_capacity__is_the_largest_energy_that_fits(capacity_w: int, period_s: int) -> None:
    energy_wh = capacity_wh_per_period(capacity_w, period_s)
    assert energy_wh * 3600 <= capacity_w * period_s < (energy_wh + 1) * 3600
