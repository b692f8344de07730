"""The committee node: meters to journal to report to vote to settlement, one process per seat."""
