"""What a DLMS/COSEM meter pushes on its serial line: HDLC frames around a data notification."""

from __future__ import annotations

from datetime import datetime

CLOCK = bytes([0, 0, 1, 0, 0, 255])
SERIAL_NUMBER = bytes([0, 0, 96, 1, 0, 255])
IMPORT = bytes([1, 0, 1, 8, 0, 255])
EXPORT = bytes([1, 0, 2, 8, 0, 255])

_FLAG = b"\x7e"
_ADDRESSES_AND_CONTROL = bytes.fromhex("ceff0313")
_LLC = bytes.fromhex("e6e700")


def push(meter: str, at: datetime, import_wh: int, export_wh: int) -> bytes:
    """Return the bytes of a push of two registers.

    Args:
        meter: Serial number of the meter.
        at: Its clock, UTC.
        import_wh: State of register 1.8.0.
        export_wh: State of register 2.8.0.
    """
    items = [
        *(_octets(CLOCK), _octets(_date_time(at))),
        *(_octets(SERIAL_NUMBER), b"\x0a" + bytes([len(meter)]) + meter.encode()),
        *(_octets(IMPORT), _unsigned(import_wh)),
        *(_octets(EXPORT), _unsigned(export_wh)),
    ]
    structure = b"\x02" + bytes([len(items)]) + b"".join(items)
    return _frame(_LLC + b"\x0f" + bytes(4) + b"\x00" + structure)


def _octets(value: bytes) -> bytes:
    return b"\x09" + bytes([len(value)]) + value


def _unsigned(value: int) -> bytes:
    return b"\x06" + value.to_bytes(4, "big")


def _date_time(at: datetime) -> bytes:
    day = bytes([at.month, at.day, at.isoweekday(), at.hour, at.minute, at.second])
    return at.year.to_bytes(2, "big") + day + bytes(4)


def _frame(information: bytes) -> bytes:
    length = 2 + len(_ADDRESSES_AND_CONTROL) + 2 + len(information) + 2
    header = (0xA000 | length).to_bytes(2, "big") + _ADDRESSES_AND_CONTROL
    body = header + _checksum(header) + information
    return _FLAG + body + _checksum(body) + _FLAG


def _checksum(data: bytes) -> bytes:
    """Return the frame check sequence of HDLC: CRC-16 as in X.25."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return (crc ^ 0xFFFF).to_bytes(2, "little")
