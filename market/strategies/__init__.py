"""How a member turns what it expects into the steps of an order.

A strategy sees one member and one period and knows nothing of the others. Situation and generator
alone decide, so the same seed gives the same orders.
"""

from market.strategies.arbitrage import Arbitrage
from market.strategies.situation import (
    Battery,
    Situation,
    Strategy,
    StrategyError,
    tidy,
)
from market.strategies.truthful import Truthful
from market.strategies.zero_intelligence import ZeroIntelligence

__all__ = [
    "Arbitrage",
    "Battery",
    "Situation",
    "Strategy",
    "StrategyError",
    "Truthful",
    "ZeroIntelligence",
    "tidy",
]
