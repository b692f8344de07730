"""The demo: two stories on a private chain, settled by four oracle processes (`--help` tells)."""
