"""A broker inside the node, so that a demo needs no server: no access control, nothing kept."""

from __future__ import annotations

import asyncio
import logging
import threading
from types import TracebackType

from amqtt.broker import Broker

from oracle.meters.source import SourceError


class EmbeddedBroker:
    """An MQTT 3.1.1 broker in a thread of its own; for anything real run mosquitto."""

    def __init__(self, host: str = "127.0.0.1", port: int = 1883) -> None:
        """Prepare a broker for an address."""
        self.host, self.port = host, port
        self._ready = threading.Event()
        self._problem: Exception | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="mqtt broker", daemon=True)

    def start(self) -> None:
        """Listen.

        Raises:
            SourceError: If the address cannot be used.
        """
        for noisy in ("amqtt", "transitions"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        self._thread.start()
        self._ready.wait()
        if self._problem is not None:
            where = f"{self.host}:{self.port}"
            fix = "Stop what uses the port, or give another one"
            raise SourceError(where, f"no broker can listen there ({self._problem})", fix)

    def stop(self) -> None:
        """Hang up on everybody and end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join()

    def __enter__(self) -> EmbeddedBroker:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        self._ended = asyncio.Event()
        config = {
            "listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {}},
        }
        broker = Broker(config, loop=self._loop)
        try:
            await broker.start()
        except Exception as exc:  # whatever keeps it from listening is told to who started it
            self._problem = exc
            self._ready.set()
            return
        self._ready.set()
        await self._ended.wait()
        await broker.shutdown()
