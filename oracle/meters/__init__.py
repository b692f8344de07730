"""Meters as the oracle sees them: the roster, the sources of readings and their simulator."""
