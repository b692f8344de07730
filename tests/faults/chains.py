"""A chain that can be frozen, ended and killed, and comes back on its port with what it had saved.

What anvil 1.7 saves: every block under its hash, with transactions, receipts and logs; of the
state only the latest, so it cannot say any more why an old transaction was refused.
"""

from __future__ import annotations

import gzip
import json
import signal
import time
from pathlib import Path

from market.devnet import Anvil, rpc
from tests.brokers import free_port
from tests.committee import paused

SAVE_TIMEOUT_S = 60.0


class MortalChain(Anvil):
    """An anvil with a past."""

    def __init__(self, folder: Path, genesis_s: int, accounts: int = 80) -> None:
        """Describe a chain; nothing is started yet."""
        self._saved = folder / "chain.json"
        super().__init__(
            accounts=accounts, genesis_timestamp=genesis_s, state=self._saved, port=free_port()
        )

    def freeze(self, seconds: float) -> None:
        """Stand still for a while, with every connection open."""
        with paused(self.pid):
            time.sleep(seconds)

    def restart(self) -> None:
        """End in order, which saves all but a block that comes just then, and come back."""
        last = self._last()
        self._end(signal.SIGTERM)
        self.start()
        assert self._last() >= last

    def save(self) -> int:
        """Save everything up to here, as a disk would have it in a crash; return the last block."""
        state = gzip.decompress(bytes.fromhex(rpc(self.url, "anvil_dumpState")[2:]))
        self._saved.write_bytes(state)
        return int(json.loads(state)["best_block_number"])

    def crash(self) -> None:
        """Lose everything since the last save, and come back."""
        self._end(signal.SIGKILL)
        self.start()

    def _last(self) -> int:
        return int(rpc(self.url, "eth_blockNumber"), 16)

    def _end(self, how: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(how)
        self._process.wait(SAVE_TIMEOUT_S)
        self.stop()
