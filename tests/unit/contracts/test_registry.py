"""Who may trade: admission, suspension, pause, roles and their hand-over."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from market.deployment import DEFAULT_ADMIN_ROLE
from tests.unit.contracts.support import accepted, events, refused
from tests.world import PROSUMER, World, account

DAY_S = 86_400
METER = b"meter".ljust(32)
ZERO = "0x" + "00" * 20


def admission(
    who: LocalAccount | str, meter: bytes = METER, role: int = PROSUMER
) -> tuple[object, ...]:
    """Return what admission needs to know."""
    address = who if isinstance(who, str) else who.address
    return (address, meter, 7, role, 111, 222)


def test_admit__several__counts_ids_from_one_and_keeps_what_was_given(world: World) -> None:
    registry = world.market.registry
    first, second = account(20), account(21)
    call = registry.functions.admit([admission(first), admission(second, b"other".ljust(32), 4)])
    assert accepted(call, world.grid) == 1
    receipt = world.chain.send(world.grid, call)

    assert [e["node"] for e in events(receipt, registry, "Admitted")] == [1, 2]
    functions = registry.functions
    assert world.chain.read(functions.nodeCount()) == 2
    assert world.chain.read(functions.nodeOf(1)) == (first.address, 7, PROSUMER, False, 111, 222)
    assert world.chain.read(functions.nodeOf(2)) == (second.address, 7, 4, False, 111, 222)
    assert world.chain.read(functions.nodeOfMeter(METER)) == 1
    assert world.chain.read(functions.meterOf(1)) == METER
    assert world.chain.read(functions.nodeOfMeter(b"none".ljust(32))) == 0


def test_admit__without_account__is_refused(world: World) -> None:
    refused(
        "Registry.NoAccount", world.market.registry.functions.admit([admission(ZERO)]), world.grid
    )


def test_admit__without_meter__is_refused(world: World) -> None:
    call = world.market.registry.functions.admit([admission(account(20), bytes(32))])
    refused("Registry.NoMeter", call, world.grid)


def test_admit__meter_of_another_node__names_that_node(world: World) -> None:
    call = world.market.registry.functions.admit([admission(account(20)), admission(account(21))])
    refused("Registry.MeterTaken", call, world.grid, METER, 1)


@pytest.mark.parametrize("role", [0, 8, 255])
def test_admit__unknown_role__is_refused(world: World, role: int) -> None:
    call = world.market.registry.functions.admit([admission(account(20), role=role)])
    refused("Registry.UnknownRole", call, world.grid, role)


@pytest.mark.parametrize("node", [0, 2])
def test_node_of__nobody__is_refused(world: World, node: int) -> None:
    world.join(1)
    registry = world.market.registry.functions
    refused("Registry.UnknownNode", registry.nodeOf(node), world.stranger, node)
    refused("Registry.UnknownNode", registry.suspend(node, "why"), world.grid, node)
    refused("Registry.UnknownNode", registry.reinstate(node), world.grid, node)


def test_suspend__with_reason__bars_until_reinstated(world: World) -> None:
    (node,) = world.join(1)
    registry = world.market.registry
    receipt = world.chain.send(world.grid, registry.functions.suspend(node, "seal broken"))
    assert events(receipt, registry, "Suspended")[0]["reason"] == "seal broken"
    assert world.chain.read(registry.functions.nodeOf(node))[3]

    receipt = world.chain.send(world.grid, registry.functions.reinstate(node))
    assert events(receipt, registry, "Reinstated")[0]["node"] == node
    assert not world.chain.read(registry.functions.nodeOf(node))[3]


def test_suspend__without_reason__is_refused(world: World) -> None:
    (node,) = world.join(1)
    refused(
        "Registry.NoReason", world.market.registry.functions.suspend(node, ""), world.grid, node
    )


def test_pause__twice__is_refused_the_second_time(world: World) -> None:
    registry = world.market.registry.functions
    refused("Registry.ExpectedPause", registry.unpause(), world.grid)
    world.chain.send(world.grid, registry.pause())
    assert world.chain.read(registry.paused())
    refused("Registry.EnforcedPause", registry.pause(), world.grid)
    world.chain.send(world.grid, registry.unpause())
    assert not world.chain.read(registry.paused())


def test_market__as_deployed__commits_to_chain_registry_and_the_block_before(world: World) -> None:
    record = world.market.deployment
    before = world.chain.w3.eth.get_block(record.deployment_block)["hash"]
    expected = keccak(
        encode(
            ["uint256", "address", "bytes32"],
            [record.chain_id, record.addresses["Registry"], bytes(before)],
        )
    )
    assert bytes(world.chain.read(world.market.registry.functions.market())) == expected


def test_hand_over__accepted_after_its_delay__moves_the_administrator(world: World) -> None:
    registry = world.market.registry.functions
    heir = world.stranger
    world.chain.send(world.grid, registry.beginDefaultAdminTransfer(heir.address))
    _, ready_at = world.chain.read(registry.pendingDefaultAdmin())
    accept = registry.acceptDefaultAdminTransfer()

    world.warp(ready_at)
    refused("Registry.AccessControlEnforcedDefaultAdminDelay", accept, heir, ready_at)
    assert world.chain.read(registry.defaultAdmin()) == world.grid.address
    world.warp(ready_at + 1)
    refused("Registry.AccessControlInvalidDefaultAdmin", accept, world.deployer,
            world.deployer.address)  # fmt: skip
    world.chain.send(heir, accept)
    assert world.chain.read(registry.defaultAdmin()) == heir.address
    assert not world.chain.read(registry.hasRole(DEFAULT_ADMIN_ROLE, world.grid.address))


def test_hand_over__cancelled__cannot_be_accepted(world: World) -> None:
    registry = world.market.registry.functions
    world.chain.send(world.grid, registry.beginDefaultAdminTransfer(world.stranger.address))
    world.chain.send(world.grid, registry.cancelDefaultAdminTransfer())
    world.warp(world.now() + DAY_S + 2)
    refused(
        "Registry.AccessControlInvalidDefaultAdmin",
        registry.acceptDefaultAdminTransfer(),
        world.stranger,
        world.stranger.address,
    )


def test_grant_role__of_the_administrator__is_refused_outside_the_hand_over(world: World) -> None:
    grant = world.market.registry.functions.grantRole(DEFAULT_ADMIN_ROLE, world.stranger.address)
    refused("Registry.AccessControlEnforcedDefaultAdminRules", grant, world.grid)


def test_renounce_role__of_another__is_refused(world: World) -> None:
    role = keccak(text="PAUSER_ROLE")
    renounce = world.market.registry.functions.renounceRole(role, world.grid.address)
    refused("Registry.AccessControlBadConfirmation", renounce, world.stranger)


def test_role__given_and_taken__works_exactly_meanwhile(world: World) -> None:
    registry = world.market.registry.functions
    role = keccak(text="PAUSER_ROLE")
    error = "Registry.AccessControlUnauthorizedAccount"
    refused(error, registry.pause(), world.stranger, world.stranger.address, role)
    world.chain.send(world.grid, registry.grantRole(role, world.stranger.address))
    accepted(registry.pause(), world.stranger)
    world.chain.send(world.grid, registry.revokeRole(role, world.stranger.address))
    refused(error, registry.pause(), world.stranger, world.stranger.address, role)


def test_info_of__known_and_unknown_nodes__is_their_words(world: World) -> None:
    world.join(2, capacity_wh=77, role=5)
    registry = world.market.registry.functions
    world.chain.send(world.grid, registry.suspend(2, "seal broken"))
    words, _ = world.chain.read(registry.infoOf([3, 1, 2, 0]))
    none, word, suspended, grid = words
    assert (none, grid) == (0, 0)
    assert word == int(world.owner(1).address, 16) | 5 << 176 | 77 << 192 | 77 << 224
    account = int(world.owner(2).address, 16)
    assert suspended == account | 1 << 160 | 5 << 176 | 1 << 184 | 77 << 192 | 77 << 224
    assert world.chain.read(registry.infoOf([])) == [[], False]


def test_info_of__while_paused__tells_it(world: World) -> None:
    registry = world.market.registry.functions
    world.chain.send(world.grid, registry.pause())
    assert world.chain.read(registry.infoOf([])) == [[], True]
