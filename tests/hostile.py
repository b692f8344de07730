"""Hypothesis strategies of what a parser must withstand: odd values, odd trees, spoilt examples."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["1e999999999", "1E-99999", "NaN", "-0", "²", "0x10", "9" * 5000, "\ud800"])
)


def trees_of(keys: Sequence[str]) -> st.SearchStrategy[object]:
    """Return values that nest lists and objects with some keys."""
    return st.recursive(
        scalars, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(keys), inner)
    )


def mutated(*examples: bytes) -> st.SearchStrategy[bytes]:
    """Return bytes, and examples with something in them changed, cut out or repeated."""

    @st.composite
    def mutate(draw: st.DrawFn) -> bytes:
        raw = bytearray(draw(st.sampled_from(examples)))
        for _ in range(draw(st.integers(1, 4))):
            start = draw(st.integers(0, len(raw)))
            end = min(len(raw), start + draw(st.integers(0, 12)))
            raw[start:end] = draw(
                st.binary(max_size=12)
                | st.sampled_from(
                    [b"", b"9" * 400, b"-1", b",,", b"\x00", b"}", b"<a>", b"1e99999"]
                )
            )
        return bytes(raw)

    return st.binary(max_size=200) | mutate()
