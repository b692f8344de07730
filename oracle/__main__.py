"""`python -m oracle`."""

from oracle.cli import app

app()
