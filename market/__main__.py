"""`python -m market`."""

from market.cli import app

app()
