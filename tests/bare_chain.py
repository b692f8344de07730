"""A chain over bare JSON-RPC, made for thousands of random examples.

Every call is one request, and what an example does to the chain is undone before the next one.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak

from market.contracts import artifact

ARTIFACTS = Path(__file__).parent / "artifacts"


class CallRefused(AssertionError):
    """A contract refused a call; `data` is what it refused with."""

    def __init__(self, message: str, data: str = "0x") -> None:
        """Keep the revert data, in hexadecimal."""
        super().__init__(message)
        self.data = bytes.fromhex(data[2:])


class Chain:
    """A chain of its own, which can forget what happened since its contracts were deployed."""

    def __init__(self, url: str) -> None:
        """Connect to a fresh chain."""
        host, port = url.removeprefix("http://").split(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=60)
        self.sender: str = self.rpc("eth_accounts")[0]
        self._snapshot = ""

    def rpc(self, method: str, *params: object) -> Any:  # noqa: ANN401
        """Call one JSON-RPC method over the connection that stays open."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return _result(self._post(body), method)

    def keep(self) -> None:
        """Let `reset` come back to how everything is now."""
        self._snapshot = self.rpc("evm_snapshot")

    def reset(self) -> None:
        """Forget everything since `keep`."""
        self.rpc("evm_revert", self._snapshot)
        self.keep()

    def send(self, to: str | None, data: bytes) -> dict[str, Any]:
        """Send a transaction that must succeed; return its receipt."""
        # A fixed limit spares the estimate; it is the largest a transaction may have.
        transaction = {"from": self.sender, "data": f"0x{data.hex()}", "gas": hex(2**24)}
        if to is not None:
            transaction["to"] = to
        receipt: dict[str, Any] = self.rpc("eth_sendTransactionSync", transaction)
        if receipt["status"] != "0x1":
            self.call(to or "", data)
            raise CallRefused("a transaction failed that succeeds as a call")
        return receipt

    def call(self, to: str, data: bytes) -> bytes:
        """Return what a contract answers."""
        call = {"from": self.sender, "to": to, "data": f"0x{data.hex()}"}
        return bytes.fromhex(self.rpc("eth_call", call, "latest")[2:])

    def calls(self, asked: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """Return what contracts answer to many calls, brought in one request."""
        batch = []
        for i, (to, data) in enumerate(asked):
            params = {"from": self.sender, "to": to, "data": f"0x{data.hex()}"}, "latest"
            batch.append({"jsonrpc": "2.0", "id": i, "method": "eth_call", "params": params})
        answers = sorted(self._post(batch), key=lambda answer: int(answer["id"]))
        return [bytes.fromhex(_result(answer, "eth_call")[2:]) for answer in answers]

    def deploy(self, code: bytes) -> str:
        """Return where a new contract is."""
        return str(self.send(None, code)["contractAddress"])

    def _post(self, body: object) -> Any:  # noqa: ANN401
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/", json.dumps(body), headers)
        return json.loads(self._connection.getresponse().read())


def with_arguments(name: str, arguments: list[Any], mock: str | None = None) -> bytes:
    """Return the code that deploys a contract, or its mock, with what its constructor takes."""
    constructor = next(e for e in artifact(name).abi if e["type"] == "constructor")
    types = [collapse_if_tuple(i) for i in constructor["inputs"]]
    code = artifact(name).bytecode if mock is None else code_of(mock)
    return code + encode(types, arguments)


@cache
def method_of(contract: str, name: str) -> tuple[bytes, list[str], list[str]]:
    """Return a method's selector, and the types it takes and returns."""
    entry = next(e for e in _abi(contract) if e.get("name") == name and e["type"] == "function")
    inputs = [collapse_if_tuple(i) for i in entry["inputs"]]
    outputs = [collapse_if_tuple(o) for o in entry["outputs"]]
    return keccak(text=f"{name}({','.join(inputs)})")[:4], inputs, outputs


def _result(answer: dict[str, Any], method: str) -> Any:  # noqa: ANN401
    if "error" in answer:
        error = answer["error"]
        raise CallRefused(f"{method}: {error}", error.get("data") or "0x")
    return answer["result"]


def _abi(name: str) -> list[dict[str, Any]]:
    file = ARTIFACTS / f"{name}.json"
    if not file.exists():
        return artifact(name).abi
    abi: list[dict[str, Any]] = json.loads(file.read_text())["abi"]
    return abi


def code_of(name: str) -> bytes:
    """Return the code that deploys a mock that takes nothing."""
    code: str = json.loads((ARTIFACTS / f"{name}.json").read_text())["bytecode"]
    return bytes.fromhex(code[2:])


def runtime_of(name: str) -> str:
    """Return the code of a mock as it stands on a chain, in hexadecimal."""
    return str(json.loads((ARTIFACTS / f"{name}.json").read_text())["deployedBytecode"])
