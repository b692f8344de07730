"""One JSON-RPC endpoint: sends transactions, waits for them, and says in words why one failed.

Assumes nothing but the standard methods of an Ethereum node, with or without EIP-1559 fees, with or
without a gas price.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, NoReturn, TypeVar

from eth_abi.exceptions import DecodingError
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils.abi import get_abi_output_types
from eth_utils.address import to_checksum_address
from requests.exceptions import RequestException
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.contract.contract import ContractConstructor, ContractFunction
from web3.exceptions import (
    ContractCustomError,
    ContractLogicError,
    ContractPanicError,
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)
from web3.providers import BaseProvider
from web3.types import EventData, RPCEndpoint, TxParams, TxReceipt, Wei

from market.contracts import artifact, decode_error

T = TypeVar("T")

Call = ContractFunction | ContractConstructor
"""What a transaction does: calls a contract or creates one."""

POLL_S = 0.02
"""Pause between two looks at whether a transaction is in a block."""

GAS_HEADROOM_PERCENT = 25
"""Added to a gas estimate, because another transaction may come in between."""

NOBODY = "0x" + 40 * "0"
"""The address of a sender that does not matter."""

TX_GAS_LIMIT = 2**24
"""No transaction may ask for more gas (EIP-7825)."""


class ChainError(Exception):
    """Something about the chain keeps us from going on; the message says what to do."""


class ChainUnreachable(ChainError):
    """The endpoint does not answer."""

    def __init__(self, url: str, cause: object) -> None:
        """Name the endpoint and the cause."""
        super().__init__(
            f"no answer from the chain at {url} ({cause}); is the node running, is the URL right?"
        )


class WrongChain(ChainError):
    """The endpoint serves another chain than expected, or the same one after a reset."""


class OutOfFunds(ChainError):
    """The sender cannot pay for the transaction's gas."""

    def __init__(self, sender: str, cause: object) -> None:
        """Name the sender."""
        super().__init__(f"account {sender} cannot pay for gas ({cause}); fund it and try again")


class Reverted(ChainError):
    """A contract refused a call.

    Attributes:
        error: Name of the contract's error, `Panic` or `Error`.
        arguments: Its values.
    """

    def __init__(self, call: str, error: str, arguments: Sequence[object]) -> None:
        """Name the call, the error and its values."""
        self.error = error
        self.arguments = tuple(arguments)
        values = ", ".join(str(a) for a in arguments)
        super().__init__(f"{call} was refused: {error}({values})")


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one chain from another, and from itself before a reset."""

    chain_id: int
    genesis_hash: str


class Chain:
    """A connection to one chain.

    Attributes:
        url: The endpoint.
        w3: The web3 object behind it.
    """

    def __init__(
        self, url: str, timeout_s: float = 10.0, provider: BaseProvider | None = None
    ) -> None:
        """Connect; nothing is sent before the first use.

        Args:
            url: The endpoint, for messages only if there is a provider.
            timeout_s: Longest wait for an answer, without a provider.
            provider: What sends requests, in place of plain HTTP.
        """
        self.url = url
        self.w3 = Web3(provider or HTTPProvider(url, request_kwargs={"timeout": timeout_s}))
        # It would ask for the chain's id before every call.
        self.w3.middleware_onion.remove("validation")
        self._chain_id: int | None = None

    def guarded(self, what: Callable[[], T]) -> T:
        """Run a read and turn transport failures into `ChainUnreachable`."""
        try:
            return what()
        except (RequestException, ConnectionError, TimeoutError, JSONDecodeError) as exc:
            raise ChainUnreachable(self.url, _short(exc)) from exc

    def raw(self, method: str, *params: object) -> Any:  # noqa: ANN401
        """Call a JSON-RPC method and return its result as it comes.

        Raises:
            ChainUnreachable: If the endpoint does not answer.
            ChainError: If it answers with an error.
        """
        provider = self.w3.provider
        answer = self.guarded(lambda: provider.make_request(RPCEndpoint(method), list(params)))
        if "error" in answer:
            raise ChainError(f"{self.url} refuses {method}: {answer['error']}")
        return answer["result"]

    @property
    def chain_id(self) -> int:
        """The chain's id, asked for once."""
        if self._chain_id is None:
            self._chain_id = self.guarded(lambda: self.w3.eth.chain_id)
        return self._chain_id

    def identity(self) -> Identity:
        """Return the chain's id and genesis hash."""

        def read() -> Identity:
            genesis = self.w3.eth.get_block(0)
            return Identity(self.w3.eth.chain_id, genesis["hash"].to_0x_hex())

        try:
            return self.guarded(read)
        except (Web3Exception, LookupError, TypeError, ValueError, AttributeError) as exc:
            raise ChainError(
                f"{self.url} answers, but not as an Ethereum node does ({_short(exc)}); "
                "check the RPC URL"
            ) from exc

    def now(self) -> int:
        """Return the latest block's time, Unix seconds: the only clock the contracts know."""
        return int(self.guarded(lambda: self.w3.eth.get_block("latest"))["timestamp"])

    def block_number(self) -> int:
        """Return the latest block's number."""
        return self.guarded(lambda: self.w3.eth.block_number)

    def contract(self, name: str, address: str) -> Contract:
        """Return a handle to a deployed contract of the package."""
        return self.w3.eth.contract(address=to_checksum_address(address), abi=artifact(name).abi)

    def read(self, call: ContractFunction, block: int | str = "latest") -> Any:  # noqa: ANN401
        """Call a view.

        Raises:
            Reverted: If the contract refuses.
            ChainUnreachable: If the endpoint does not answer.
        """
        answered = self._read_plain(call, block)
        if answered is not None:
            return answered[0] if len(answered) == 1 else answered
        try:
            return self.guarded(lambda: call.call(block_identifier=block))  # type: ignore[arg-type]
        except (ContractLogicError, ContractCustomError, ContractPanicError) as exc:
            raise reverted(_name(call), exc) from exc

    def rehearse(self, call: ContractFunction, sender: str, gas: int) -> None:
        """Try a call as of the latest block, without sending it.

        Args:
            call: The contract call.
            sender: Who would send it.
            gas: Its gas limit.

        Raises:
            Reverted: If the contract would refuse.
            ChainUnreachable: If the endpoint does not answer.
        """
        try:
            self.guarded(lambda: call.call({"from": checksum(sender), "gas": gas}))
        except (ContractLogicError, ContractCustomError, ContractPanicError) as exc:
            raise reverted(_name(call), exc) from exc

    def _read_plain(self, call: ContractFunction, block: int | str) -> list[Any] | None:
        """Return what a view answers if that is plain values, as web3 does in twice the time."""
        types = get_abi_output_types(call.abi)
        if any(word in kind for kind in types for word in ("address", "[")):
            return None
        where = hex(block) if isinstance(block, int) else block
        question = {"to": call.address, "data": call._encode_transaction_data()}
        provider, method = self.w3.provider, RPCEndpoint("eth_call")
        answer = self.guarded(lambda: provider.make_request(method, [question, where]))
        try:
            return [*self.w3.codec.decode(types, bytes.fromhex(answer["result"][2:]))]
        except (LookupError, TypeError, ValueError, DecodingError):
            return None  # web3 finds the words for it

    def estimate(self, call: Call, sender: str = NOBODY, value_wei: int = 0) -> int | None:
        """Return a gas limit that holds for a call, or None if no transaction could have enough.

        Args:
            call: The contract call.
            sender: Who would send it.
            value_wei: Native money to send along.

        Raises:
            Reverted: If the contract refuses.
            OutOfFunds: If the sender cannot pay for the gas.
            ChainUnreachable: If the endpoint does not answer.
        """
        # Asking with the most a transaction may have makes the answer the same on every chain.
        tx: TxParams = {"from": checksum(sender), "value": Wei(value_wei), "gas": TX_GAS_LIMIT}
        try:
            estimate = self.guarded(lambda: call.estimate_gas(tx))
        except (ContractLogicError, ContractCustomError, ContractPanicError) as exc:
            if _lacks_gas(exc):
                return None
            raise reverted(_name(call), exc) from exc
        except Web3RPCError as exc:
            if _lacks_gas(exc):
                return None
            raise _rpc_failure(sender, exc) from exc
        return min(estimate * (100 + GAS_HEADROOM_PERCENT) // 100, TX_GAS_LIMIT)

    def send(
        self,
        account: LocalAccount,
        call: Call,
        *,
        value_wei: int = 0,
        gas: int | None = None,
        nonce: int | None = None,
    ) -> TxReceipt:
        """Send a transaction and wait until it is in a block.

        Args:
            account: Who signs and pays.
            call: The contract call.
            value_wei: Native money to send along.
            gas: Gas limit; estimated if not given.
            nonce: The transaction's nonce; the next one if not given.

        Raises:
            Reverted: If the contract refuses.
            OutOfFunds: If the account cannot pay for the gas.
            ChainUnreachable: If the endpoint does not answer.
        """
        tx_hash = self.submit(account, call, value_wei=value_wei, gas=gas, nonce=nonce)
        receipt = self.wait(tx_hash)
        if receipt["status"] != 1:
            _explain(account, call, value_wei, receipt)
        return receipt

    def submit(
        self,
        account: LocalAccount,
        call: Call,
        *,
        value_wei: int = 0,
        gas: int | None = None,
        nonce: int | None = None,
    ) -> bytes:
        """Send a transaction without waiting and return its hash. Errors as in `send`."""
        sender = account.address
        try:
            tx: TxParams = {**_from(account, value_wei), **self.fees()}
            if gas is None:
                gas = self.estimate(call, sender, value_wei)
            tx["gas"] = TX_GAS_LIMIT if gas is None else gas
            if nonce is None:
                nonce = self.nonce(sender)
            tx["nonce"] = nonce  # type: ignore[typeddict-item]
            tx["chainId"] = self.chain_id
            signed = account.sign_transaction(call.build_transaction(tx))  # type: ignore[arg-type]
        except (ContractLogicError, ContractCustomError, ContractPanicError) as exc:
            raise reverted(_name(call), exc) from exc
        except Web3RPCError as exc:
            raise _rpc_failure(sender, exc) from exc
        return self.send_raw(sender, bytes(signed.raw_transaction))

    def send_raw(self, sender: str, raw: bytes) -> bytes:
        """Send a signed transaction and return its hash.

        Args:
            sender: Who signed it, for the message of an error.
            raw: The signed bytes.

        Raises:
            OutOfFunds: If the account cannot pay for the gas.
            ChainUnreachable: If the endpoint does not answer.
            ChainError: If the endpoint refuses for another reason.
        """
        try:
            return bytes(self.guarded(lambda: self.w3.eth.send_raw_transaction(raw)))
        except Web3RPCError as exc:
            raise _rpc_failure(sender, exc) from exc

    def why_reverted(self, tx_hash: bytes) -> Reverted:
        """Return why a transaction failed, by asking for it again as of its block.

        The error is `ReasonUnknown` if the endpoint has that block's state no more: most nodes
        forget it after some hundred blocks.
        """
        sent = self.guarded(lambda: self.w3.eth.get_transaction(tx_hash))  # type: ignore[arg-type]
        again: TxParams = {key: sent[key] for key in ("from", "to", "value", "gas")}  # type: ignore
        again["data"] = sent["input"]
        try:
            self.guarded(lambda: self.w3.eth.call(again, sent["blockNumber"]))
        except (ContractLogicError, ContractCustomError, ContractPanicError) as exc:
            return reverted("the transaction", exc)
        except Web3RPCError as exc:
            return Reverted("the transaction", "ReasonUnknown", (_short(exc),))
        # It lacked gas, or another one in its block was faster.
        return Reverted("the transaction", "OutOfGasOrRaced", ())

    def wait(self, tx_hash: bytes, timeout_s: float = 60.0) -> TxReceipt:
        """Wait for a transaction's receipt.

        Raises:
            ChainError: If it is in no block in time.
        """
        give_up = time.monotonic() + timeout_s
        while time.monotonic() < give_up:
            try:
                return self.guarded(lambda: self.w3.eth.get_transaction_receipt(tx_hash))  # type: ignore[arg-type]
            except TransactionNotFound:
                time.sleep(POLL_S)
        raise ChainError(
            f"transaction 0x{tx_hash.hex()} is in no block after {timeout_s:.0f} s; "
            "is the chain producing blocks, is the gas price too low?"
        )

    def nonce(self, address: str) -> int:
        """Return the next nonce of an account, pending transactions counted."""
        checksum = to_checksum_address(address)
        return self.guarded(lambda: self.w3.eth.get_transaction_count(checksum, "pending"))

    def fees(self) -> TxParams:
        """Return the fee fields the chain expects: EIP-1559 if it has a base fee, else legacy."""
        base_fee = self.guarded(lambda: self.w3.eth.get_block("latest")).get("baseFeePerGas")
        if base_fee is None:
            return {"gasPrice": self.guarded(lambda: self.w3.eth.gas_price)}
        tip = self.guarded(lambda: self.w3.eth.max_priority_fee)
        return {"maxPriorityFeePerGas": tip, "maxFeePerGas": Wei(2 * base_fee + tip)}

    def has_code(self, address: str) -> bool:
        """Return whether a contract stands at an address."""
        return bool(self.code(address))

    def code(self, address: str) -> bytes:
        """Return the code at an address."""
        checksum = to_checksum_address(address)
        return bytes(self.guarded(lambda: self.w3.eth.get_code(checksum)))

    def events(
        self,
        contract: Contract,
        name: str,
        *,
        from_block: int,
        to_block: int | None = None,
        **arguments: object,
    ) -> list[EventData]:
        """Return a contract's events of one kind, oldest first, filtered by indexed arguments."""
        event = contract.events[name]
        return list(
            self.guarded(
                lambda: event.get_logs(
                    argument_filters=arguments or None,
                    from_block=from_block,
                    to_block="latest" if to_block is None else to_block,
                )
            )
        )


def reverted(call: str, exc: Exception) -> Reverted:
    """Turn a web3 exception into one that names the contract's error and its values."""
    data = getattr(exc, "data", None)
    if isinstance(data, str) and data.startswith("0x"):
        name, arguments = decode_error(bytes.fromhex(data[2:]))
        return Reverted(call, name, arguments)
    return Reverted(call, "Error", (_short(exc),))


def checksum(address: str) -> ChecksumAddress:
    """Return an address in its checksummed form."""
    return to_checksum_address(address)


def _explain(account: LocalAccount, call: Call, value_wei: int, receipt: TxReceipt) -> NoReturn:
    """Find out why a transaction failed by asking for it again as of its block; raise that."""
    try:
        if isinstance(call, ContractFunction):
            call.call(_from(account, value_wei), receipt["blockNumber"])
    except (ContractLogicError, ContractCustomError, ContractPanicError) as exc:
        raise reverted(_name(call), exc) from exc
    raise Reverted(_name(call), "OutOfGasOrRaced", (receipt["gasUsed"],))


def _from(account: LocalAccount, value_wei: int) -> TxParams:
    return {"from": account.address, "value": Wei(value_wei)}


def _lacks_gas(exc: Exception) -> bool:
    """Return whether a call ran out of gas; each client has its own words for it.

    Our contracts never refuse without an error of their own, so a refusal without data is an inner
    call that ran dry.
    """
    if isinstance(exc, ContractLogicError) and getattr(exc, "data", None) in (None, "", "0x"):
        return True
    text = str(exc).lower()
    words = ("out of gas", "outofgas", "gas required exceeds", "exceeds allowance", "gas limit")
    return any(word in text for word in words)


def _name(call: Call) -> str:
    return getattr(call, "fn_name", "deployment")


def _rpc_failure(sender: str, exc: Web3RPCError) -> ChainError:
    text = str(exc).lower()
    if "insufficient funds" in text or "insufficient balance" in text:
        return OutOfFunds(sender, _short(exc))
    return ChainError(f"the node refused a transaction of {sender}: {_short(exc)}")


def _short(exc: BaseException) -> str:
    first = exc.args[0] if exc.args else exc
    # What requests and urllib3 wrap around the system's own words tells nobody more.
    reason = getattr(first, "reason", None)
    text = str(first) if isinstance(exc, Web3Exception) else str(reason or exc)
    return text if len(text) <= 200 else text[:200] + "..."
