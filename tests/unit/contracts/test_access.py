"""Every function that changes state: either it refuses a stranger, or it is open for a reason."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from market.contracts import ARTIFACTS, artifact
from market.deployment import DEFAULT_ADMIN_ROLE
from tests.unit.contracts.support import refused
from tests.unit.contracts.test_ballots import closed
from tests.unit.contracts.voting import Voting
from tests.world import PENG, World

HERE = Path(__file__).parent
PRICES = (
    PENG.feed_in_uyuan_per_kwh,
    PENG.selling_uyuan_per_kwh,
    PENG.planned_uyuan_per_kwh,
    PENG.compensation_uyuan_per_kwh,
    PENG.retail_uyuan_per_kwh,
    0,
    0,
    0,
)
NO_LEG = (0, 0, 0, 0)
NO_ROLE = "Registry.AccessControlUnauthorizedAccount"

Try = Callable[[World], tuple[Any, ...]]


def role(name: str) -> bytes:
    """Return the id of a role."""
    return keccak(text=name)


def needs(name: str) -> Callable[[str], tuple[Any, ...]]:
    """Return the values of the registry's refusal for want of a role."""
    wanted = DEFAULT_ADMIN_ROLE if name == "DEFAULT_ADMIN_ROLE" else role(name)
    return lambda stranger: (stranger, wanted)


def for_role(name: str) -> Callable[[str], tuple[Any, ...]]:
    """Return the values of a room's refusal for want of a role in the registry."""
    return lambda stranger: (stranger, role(name))


def him(stranger: str) -> tuple[Any, ...]:
    """Return a refusal that names the caller."""
    return (stranger,)


def of_node(node: int) -> Callable[[str], tuple[Any, ...]]:
    """Return a refusal that names the node and the caller."""
    return lambda stranger: (node, stranger)


ADMIN = needs("DEFAULT_ADMIN_ROLE")
FOR_SOMEBODY = (role("PAUSER_ROLE"), "0x" + "11" * 20)

CLOSED: dict[str, tuple[tuple[Any, ...], str, Callable[[str], tuple[Any, ...]]]] = {
    "Registry.admit": (([],), NO_ROLE, needs("ADMISSION_ROLE")),
    "Registry.suspend": ((1, "why"), NO_ROLE, needs("ADMISSION_ROLE")),
    "Registry.reinstate": ((1,), NO_ROLE, needs("ADMISSION_ROLE")),
    "Registry.pause": ((), NO_ROLE, needs("PAUSER_ROLE")),
    "Registry.unpause": ((), NO_ROLE, needs("PAUSER_ROLE")),
    "Registry.grantRole": (FOR_SOMEBODY, NO_ROLE, ADMIN),
    "Registry.revokeRole": (FOR_SOMEBODY, NO_ROLE, ADMIN),
    "Registry.renounceRole": (FOR_SOMEBODY, "Registry.AccessControlBadConfirmation", lambda _: ()),
    "Registry.beginDefaultAdminTransfer": (("0x" + "11" * 20,), NO_ROLE, ADMIN),
    "Registry.cancelDefaultAdminTransfer": ((), NO_ROLE, ADMIN),
    "Registry.acceptDefaultAdminTransfer": (
        (), "Registry.AccessControlInvalidDefaultAdmin", him,
    ),
    "Registry.changeDefaultAdminDelay": ((0,), NO_ROLE, ADMIN),
    "Registry.rollbackDefaultAdminDelay": ((), NO_ROLE, ADMIN),
    "SettlementToken.recharge": (("0x" + "11" * 20, 1, ""), "SettlementToken.NotTreasury", him),
    "Oracle.setBenchmark": ((200, PRICES), "Oracle.NotAllowed", for_role("TARIFF_ROLE")),
    "Oracle.rotateSeat": (
        (0, "0x" + "11" * 20), "Oracle.NotAllowed", for_role("COMMITTEE_ROLE"),
    ),
    "MeterProofs.register": (
        (bytes(32), (0, 0, 0, 0)), "MeterProofs.NotAllowed", for_role("ADMISSION_ROLE"),
    ),
    "Grid.derate": ((1, 1, True, 0), "Grid.NotOracle", him),
    "Subordinate_one.compensate": ((1, 1, b"", NO_LEG), "Subordinate_one.NotMaster", him),
    "Subordinate_two.sell": ((1, 1, b"", NO_LEG, NO_LEG), "Subordinate_two.NotMaster", him),
    "Book.approve": ((1, bytes(32)), "Book.NotAccount", of_node(1)),
    "Book.revokeNonce": ((1, 0), "Book.NotAccount", of_node(1)),
    "Book.revoke": ((1, 0, 1), "Book.NotAccount", of_node(1)),
    "Vault.lock": ((1, 0), "Vault.NotBook", him),
    "Vault.enter": ((1, 1, b""), "Vault.NotBook", him),
    "Vault.leave": ((1, 1, 1, 0), "Vault.NotBook", him),
    "Master.authenticate": ((1, 0), "Master.OnlyOracle", him),
    "Master.reopen": ((1,), "Master.OnlyOracle", him),
    "Vault.settle": ((1, b"", True), "Vault.NotMaster", him),
    "Vault.withdraw": ((1, 0), "Vault.NotAccount", of_node(1)),
}  # fmt: skip
"""What a stranger must not do: arguments, the refusal, and its values by the stranger's address."""

PRIMARY_ONLY = {"Oracle.proposePrices", "Oracle.proposeReport", "Oracle.proposeHeadroom"}
"""Refused to strangers too, but by whoever is primary just then; see below."""

OPEN: dict[str, tuple[str, str]] = {
    "SettlementToken.approve": (
        "allows only over the caller's own tokens",
        "test_transfer__without_balance_allowance_or_receiver__is_refused",
    ),
    "SettlementToken.transfer": (
        "moves only the caller's own tokens",
        "test_transfer__without_balance_allowance_or_receiver__is_refused",
    ),
    "SettlementToken.transferFrom": (
        "moves only what its owner has allowed",
        "test_transfer__without_balance_allowance_or_receiver__is_refused",
    ),
    "SettlementToken.permit": (
        "relays what the owner has signed",
        "test_permit__of_no_curve_point__is_refused",
    ),
    "SettlementToken.redeem": (
        "burns only the caller's own tokens",
        "test_redeem__more_than_one_has__is_refused",
    ),
    "Oracle.vote": (
        "relays what seats have signed",
        "test_vote__with_anothers_signature__is_refused",
    ),
    "Oracle.fileEvidence": (
        "shows what a seat has signed",
        "test_evidence__forged__is_refused",
    ),
    "Oracle.fixPrices": (
        "writes down what a quorum accepted",
        "test_fix_prices__never_accepted__is_refused",
    ),
    "Oracle.fixHeadroom": (
        "writes down what a quorum accepted",
        "test_fix__of_others_than_were_accepted__is_refused",
    ),
    "Oracle.object": (
        "relays what seats have signed",
        "test_object__changed_by_the_relayer__is_refused",
    ),
    "Oracle.query": (
        "asks at the caller's own cost, for a contract's callback",
        "test_query__by_an_account__is_refused",
    ),
    "Oracle.deliver": (
        "brings only what the committee fixed",
        "test_deliver__other_bytes_than_reported__is_refused",
    ),
    "Oracle.refund": (
        "returns the fee to the consumer only",
        "test_refund__after_the_window__returns_the_fee_to_the_consumer",
    ),
    "Oracle.collectFees": (
        "pays out only what the caller earned",
        "test_collect_fees__none__is_refused",
    ),
    "MeterProofs.prove": (
        "shows what a meter has signed",
        "test_prove__with_another_meters_key__is_refused",
    ),
    "Book.agree": (
        "relays what both sides have signed",
        "test_agree__buyer_never_signed__is_refused",
    ),
    "Book.agreeBatch": (
        "relays what both sides have signed",
        "test_agree_batch__sent_by_a_side__is_no_approval",
    ),
    "Book.declare": (
        "relays what the node has signed",
        "test_declare__by_own_transaction__needs_no_signature",
    ),
    "Book.declareBatch": (
        "relays what the nodes have signed",
        "test_declare_batch__with_a_bad_entry__places_the_good_and_names_the_bad",
    ),
    "Book.place": (
        "relays what the node has signed",
        "test_place__signed_for_elsewhere__is_refused",
    ),
    "Book.placeOwn": (
        "orders for the sender's own nodes",
        "test_place_own__for_another_account__is_refused",
    ),
    "Book.placeBatch": (
        "relays what the nodes have signed",
        "test_place_batch__with_bad_entries__skips_each_for_the_reason_place_would_give",
    ),
    "Book.cancel": (
        "relays what the node has signed",
        "test_cancel__by_own_transaction__needs_no_signature",
    ),
    "Vault.deposit": (
        "gives the caller's own tokens",
        "test_deposit__without_allowance__is_refused",
    ),
    "Vault.collect": (
        "moves a node's claim to that node's balance, in the order of claims",
        "test_settle__grid_company_without_money__owes_in_order_and_pays_in_order",
    ),
    "Master.clear": (
        "fixes what the book holds once the gate has closed",
        "test_clear__again__does_nothing",
    ),
    "Master.settle": (
        "computes from what is fixed",
        "test_settle__bytes_of_another_hash__are_refused",
    ),
}
"""What anyone may do: why it is harmless, and the test that shows it."""


@pytest.mark.parametrize("function", CLOSED)
def test_closed_function__called_by_a_stranger__is_refused(world: World, function: str) -> None:
    world.join(1)
    contract, _, name = function.partition(".")
    arguments, error, values = CLOSED[function]
    handle = world.chain.contract(contract, world.market.deployment.addresses[contract])
    for who in (world.stranger, world.deployer):
        refused(error, handle.functions[name](*arguments), who, *values(who.address))


@pytest.mark.parametrize("function", sorted(PRIMARY_ONLY))
def test_proposal__by_a_stranger__is_refused(world: World, function: str) -> None:
    oracle, schedule = world.market.oracle.functions, world.market.schedule
    period = closed(world)
    if function == "Oracle.proposeReport":
        seat = schedule.report_primary(period, world.now(), 4)
        call = oracle.proposeReport(period, 1, [b""])
    elif function == "Oracle.proposeHeadroom":
        voting = Voting.on(world)
        period = voting.opening()
        seat = voting.primary(period)
        call = voting.propose_call(period, [bytes(24)])
    else:
        period += 20
        seat = schedule.price_primary(period, world.now(), 4)
        call = oracle.proposePrices(period, [PRICES])
    stranger, primary = world.stranger.address, world.seats[seat].address
    refused("Oracle.NotPrimary", call, world.stranger, stranger, seat, primary)


def test_functions__that_change_state__are_each_closed_or_open_for_a_reason() -> None:
    declared = {
        f"{contract}.{item['name']}"
        for contract in ARTIFACTS
        for item in artifact(contract).abi
        if item["type"] == "function" and item["stateMutability"] not in ("view", "pure")
    }
    groups = [set(CLOSED), PRIMARY_ONLY, set(OPEN)]
    assert set.union(*groups) == declared
    assert sum(map(len, groups)) == len(declared)


def test_reasons__for_being_open__are_each_shown_by_a_test() -> None:
    tests = {
        node.name
        for file in HERE.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert {shown_by for _, shown_by in OPEN.values()} <= tests
