"""The EIP-712 messages of the market: what members and oracle seats sign, and how.

Every message carries the market's id, which a reset chain does not share, so a signature is good
for one market on one chain only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from market.types import Options

NO_DEADLINE = 2**64 - 1
"""Deadline of a message that never expires by itself; the gate still ends it."""

NO_ORDER_DEADLINE = 2**40 - 1
"""The same for orders and cancels, whose deadlines have 40 bits."""


class Topic(IntEnum):
    """What the committee votes on."""

    PRICES = 0
    REPORT = 1
    HEADROOM = 2
    CLEARING = 3


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a signature is good.

    Attributes:
        chain_id: The chain.
        book: Address of the `Book`, for members' messages.
        oracle: Address of the `Oracle`, for votes.
        market: The market's id, 32 bytes.
    """

    chain_id: int
    book: str
    oracle: str
    market: bytes


@dataclass(frozen=True, slots=True)
class Agreement:
    """A bilateral agreement on planned energy; both sides sign it.

    Attributes:
        period: Period of delivery.
        seller: Node that generates.
        buyer: Node that consumes.
        energy_wh: Planned energy.
        price_uyuan_per_kwh: Agreed price.
        seller_nonce: An unused nonce of the seller.
        buyer_nonce: An unused nonce of the buyer.
        seller_options: Options the seller adds to its position.
        buyer_options: Options the buyer adds to its position.
        deadline: Last second the agreement may be placed.
    """

    period: int
    seller: int
    buyer: int
    energy_wh: int
    price_uyuan_per_kwh: int
    seller_nonce: int
    buyer_nonce: int
    seller_options: Options = Options.NONE
    buyer_options: Options = Options.NONE
    deadline: int = NO_DEADLINE

    def as_tuple(self, domain: Domain) -> tuple[Any, ...]:
        """Return the struct the `Book` takes."""
        return (
            domain.market,
            self.period,
            self.seller,
            self.buyer,
            self.energy_wh,
            self.price_uyuan_per_kwh,
            int(self.seller_options),
            int(self.buyer_options),
            self.seller_nonce,
            self.buyer_nonce,
            self.deadline,
        )

    def sign(self, account: LocalAccount, domain: Domain) -> bytes:
        """Sign for one side."""
        return _sign(
            account, "Subgrid Book", domain.book, domain, _AGREEMENT, self.as_tuple(domain)
        )


@dataclass(frozen=True, slots=True)
class Declaration:
    """Options a node adds to its position of a period, without energy.

    Attributes:
        period: The period.
        node: The node.
        options: What it lets happen to its deviation.
        deadline: Last second the declaration may be placed.
    """

    period: int
    node: int
    options: Options
    deadline: int = NO_DEADLINE

    def as_tuple(self, domain: Domain) -> tuple[Any, ...]:
        """Return the struct the `Book` takes."""
        return (domain.market, self.period, self.node, int(self.options), self.deadline)

    def sign(self, account: LocalAccount, domain: Domain) -> bytes:
        """Sign for the node."""
        return _sign(
            account, "Subgrid Book", domain.book, domain, _DECLARATION, self.as_tuple(domain)
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an order: a quantity on one side up to a limit.

    Attributes:
        sells: Whether it is an ask; a bid otherwise.
        energy_wh: Energy.
        limit_uyuan_per_kwh: The least a seller takes, the most a buyer pays.
    """

    sells: bool
    energy_wh: int
    limit_uyuan_per_kwh: int

    def as_tuple(self) -> tuple[Any, ...]:
        """Return the struct the `Book` takes."""
        return (self.sells, self.energy_wh, self.limit_uyuan_per_kwh)


@dataclass(frozen=True, slots=True)
class Order:
    """What a node wants of each of some periods; good for one of them per relay.

    Attributes:
        node: The node.
        first_period: First period it is good for.
        last_period: Last period it is good for.
        steps: One to four steps; every bid limit below every ask limit.
        nonce: Dead once the node's least nonce is above it.
        options: Options for the node's position.
        deadline: Last second it may be placed.
    """

    node: int
    first_period: int
    last_period: int
    steps: tuple[Step, ...]
    nonce: int = 0
    options: Options = Options.NONE
    deadline: int = NO_ORDER_DEADLINE

    def as_tuple(self, domain: Domain) -> tuple[Any, ...]:
        """Return the struct the `Book` takes."""
        return (
            domain.market,
            self.node,
            self.first_period,
            self.last_period,
            int(self.options),
            self.nonce,
            self.deadline,
            [step.as_tuple() for step in self.steps],
        )

    def sign(self, account: LocalAccount, domain: Domain) -> bytes:
        """Sign for the node."""
        return _sign(account, "Subgrid Book", domain.book, domain, _ORDER, self.as_tuple(domain))


@dataclass(frozen=True, slots=True)
class Cancel:
    """The withdrawal of a node's order in a period.

    Attributes:
        node: The node.
        period: The period.
        least_nonce: What later orders of the node for the period need as nonce at least; one more
            than the cancelled order's, or its signature stays good.
        deadline: Last second the cancel may be relayed.
    """

    node: int
    period: int
    least_nonce: int
    deadline: int = NO_ORDER_DEADLINE

    def as_tuple(self, domain: Domain) -> tuple[Any, ...]:
        """Return the struct the `Book` takes."""
        return (domain.market, self.node, self.period, self.least_nonce, self.deadline)

    def sign(self, account: LocalAccount, domain: Domain) -> bytes:
        """Sign for the node."""
        return _sign(account, "Subgrid Book", domain.book, domain, _CANCEL, self.as_tuple(domain))


def compact(signature: bytes) -> bytes:
    """Return the 64-byte form (EIP-2098) of a signature of 65 bytes: the parity in s's top bit.

    Raises:
        ValueError: If it is not a key's signature of 65 bytes.
    """
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise ValueError(
            f"only a key's signature of 65 bytes has a compact form, this one has {len(signature)}"
        )
    return signature[:32] + bytes([signature[32] | (signature[64] - 27) << 7]) + signature[33:64]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Names one proposal to the committee.

    Attributes:
        topic: What is decided.
        period: The period; for prices and headroom the first of the range.
        version: Version of the report, attempt of the clearing; 0 for prices and headroom.
        round: Round the proposal was made in; 0 for clearings.
        digest: What exactly is proposed, 32 bytes.
    """

    topic: Topic
    period: int
    version: int
    round: int
    digest: bytes

    def as_tuple(self) -> tuple[Any, ...]:
        """Return the struct the `Oracle` takes."""
        return (int(self.topic), self.period, self.version, self.round, self.digest)

    def sign(self, account: LocalAccount, domain: Domain, *, support: bool) -> bytes:
        """Sign a seat's vote for or against."""
        values = (domain.market, *self.as_tuple(), support)
        return _sign(account, "Subgrid Oracle", domain.oracle, domain, _VOTE, values)

    def voter(self, signature: bytes, domain: Domain, *, support: bool) -> str | None:
        """Return who has signed a vote, None if the contract would not take the signature."""
        if len(signature) != _SIGNATURE_BYTES or int.from_bytes(signature[32:64]) > _HIGHEST_S:
            return None
        values = (domain.market, *self.as_tuple(), support)
        data = _signable("Subgrid Oracle", domain.oracle, domain, _VOTE, values)
        try:
            return str(Account.recover_message(data, signature=signature))
        except (BadSignature, ValidationError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a checked clearing must not stand, and what would mend it.

    Attributes:
        clearing: The clearing, as the proposal that it is.
        line: The line that carries too much.
        up: Which way: towards the root or away from it.
        limit_wh: What it should carry at most, Wh of the period.
    """

    clearing: Proposal
    line: int
    up: bool
    limit_wh: int

    def sign(self, account: LocalAccount, domain: Domain) -> bytes:
        """Sign for a seat."""
        c = self.clearing
        values = (domain.market, c.period, c.version, c.digest, self.line, self.up, self.limit_wh)
        return _sign(account, "Subgrid Oracle", domain.oracle, domain, _OBJECTION, values)

    def as_tuple(self, seat: int, signature: bytes) -> tuple[Any, ...]:
        """Return the `SeatObjection` the `Oracle` takes."""
        return (seat, self.line, self.up, self.limit_wh, signature)


_AGREEMENT = (
    "Agreement",
    "bytes32 market,uint32 period,uint32 seller,uint32 buyer,uint40 energyWh,"
    "uint32 priceUyuanPerKwh,uint8 sellerOptions,uint8 buyerOptions,uint64 sellerNonce,"
    "uint64 buyerNonce,uint64 deadline",
)
_DECLARATION = (
    "Declaration",
    "bytes32 market,uint32 period,uint32 node,uint8 options,uint64 deadline",
)
_STEP = ("Step", "bool sells,uint40 energyWh,uint32 limitUyuanPerKwh")
_ORDER = (
    "Order",
    "bytes32 market,uint32 node,uint32 firstPeriod,uint32 lastPeriod,uint8 options,uint32 nonce,"
    "uint40 deadline,Step[] steps",
)
_CANCEL = (
    "Cancel",
    "bytes32 market,uint32 node,uint32 period,uint32 leastNonce,uint40 deadline",
)
_SIGNATURE_BYTES = 65
_HIGHEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Half the order of secp256k1; contracts refuse the other half."""
_VOTE = (
    "Vote",
    "bytes32 market,uint8 topic,uint32 period,uint16 version,uint32 round,bytes32 digest,"
    "bool support",
)
_OBJECTION = (
    "Objection",
    "bytes32 market,uint32 period,uint16 attempt,bytes32 root,uint16 line,bool up,uint32 limitWh",
)


_STRUCTS = {_STEP[0]: _STEP[1]}
"""Structs inside of messages."""


def _sign(
    account: LocalAccount,
    name: str,
    contract: str,
    domain: Domain,
    message: tuple[str, str],
    values: tuple[Any, ...],
) -> bytes:
    """Sign a struct given as its name, its fields as Solidity writes them, and its values."""
    data = _signable(name, contract, domain, message, values)
    return bytes(Account.sign_message(data, account.key).signature)


def _signable(
    name: str,
    contract: str,
    domain: Domain,
    message: tuple[str, str],
    values: tuple[Any, ...],
) -> SignableMessage:
    primary, declared = message
    fields = _fields(declared)
    nested = {f["type"].removesuffix("[]") for f in fields} & _STRUCTS.keys()
    return encode_typed_data(
        domain_data={
            "name": name,
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": contract,
        },
        message_types={primary: fields, **{inner: _fields(_STRUCTS[inner]) for inner in nested}},
        message_data={
            f["name"]: _named(f["type"], value) for f, value in zip(fields, values, strict=True)
        },
    )


def _fields(declared: str) -> list[dict[str, str]]:
    return [
        dict(zip(("type", "name"), field.split(" "), strict=True)) for field in declared.split(",")
    ]


def _named(kind: str, value: Any) -> Any:  # noqa: ANN401
    """Give the values of a list of structs their names."""
    declared = _STRUCTS.get(kind.removesuffix("[]"))
    if declared is None:
        return value
    names = [field["name"] for field in _fields(declared)]
    return [dict(zip(names, struct, strict=True)) for struct in value]
