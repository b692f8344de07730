"""A SunSpec meter on Modbus TCP whose counters run with the clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from sunspec2.device import get_model_def

from tests.brokers import free_port

BASE = 40_000
END_MODEL = [0xFFFF, 0]

Totals = Callable[[], dict[str, int]]
"""Returns the values of named points, as they are now."""


def _image(model: int, totals: Totals) -> list[int]:
    """Return the registers of a device: a mark, the common model, one model and the end."""
    common = [1, 66, *[0] * 66]
    return [*(0x5375, 0x6E53), *common, *model_registers(model, totals()), *END_MODEL]


def model_registers(model: int, values: dict[str, int]) -> list[int]:
    """Return the registers of a model with some points set and the others 0."""
    points = get_model_def(model)["group"]["points"]
    registers: list[int] = []
    for point in points:
        value = values.get(point["name"], 0)
        registers += [value >> 16 * n & 0xFFFF for n in reversed(range(point["size"]))]
    registers[0], registers[1] = model, len(registers) - 2
    return registers


@contextmanager
def sunspec_device(model: int, totals: Totals) -> Iterator[int]:
    """Run a device and yield its port."""
    loop, ready, port = asyncio.new_event_loop(), threading.Event(), free_port()
    servers: list[ModbusTcpServer] = []

    async def renew(
        _function: int,
        _start: int,
        _address: int,
        _count: int,
        registers: list[int],
        _values: object,
    ) -> None:
        registers[:] = _image(model, totals)

    async def serve() -> None:
        block = SimData(BASE, values=_image(model, totals), datatype=DataType.REGISTERS)
        device = SimDevice(1, [block], action=renew)
        server = ModbusTcpServer(device, address=("127.0.0.1", port))
        servers.append(server)
        await server.serve_forever(background=True)
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield port
    finally:
        stopping = servers[0].shutdown()  # type: ignore[no-untyped-call]
        asyncio.run_coroutine_threadsafe(stopping, loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
