"""The market's money: issuing, redeeming, and the standard ways to move it."""

from __future__ import annotations

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_account.signers.local import LocalAccount

from tests.unit.contracts.support import SECP256K1_ORDER, accepted, events, malleable, refused
from tests.world import YUAN, World

CAP_UYUAN = 2**64 - 1
ZERO = "0x" + "00" * 20


def permit_message(
    world: World, owner: str, spender: str, value: int, deadline: int
) -> SignableMessage:
    """Return what the owner signs to give an allowance (EIP-2612)."""
    token = world.market.token
    kinds = ("address", "address", "uint256", "uint256", "uint256")
    values = {
        "owner": owner,
        "spender": spender,
        "value": value,
        "nonce": world.chain.read(token.functions.nonces(owner)),
        "deadline": deadline,
    }
    fields = [{"name": f, "type": k} for f, k in zip(values, kinds, strict=True)]
    domain = {
        "name": world.chain.read(token.functions.name()),
        "version": "1",
        "chainId": world.market.domain.chain_id,
        "verifyingContract": token.address,
    }
    return encode_typed_data(domain, {"Permit": fields}, values)


def permit(world: World, owner: LocalAccount, spender: str, value: int, deadline: int) -> bytes:
    """Sign an allowance."""
    message = permit_message(world, owner.address, spender, value, deadline)
    return bytes(owner.sign_message(message).signature)


def vrs(signature: bytes) -> tuple[int, bytes, bytes]:
    """Split a signature."""
    return signature[64], signature[:32], signature[32:64]


def test_recharge__by_treasury__issues_with_its_reference(world: World) -> None:
    token = world.market.token
    call = token.functions.recharge(world.stranger.address, 5 * YUAN, "invoice 1")
    (event,) = events(world.chain.send(world.grid, call), token, "Recharged")
    assert (event["to"], event["amountUyuan"], event["reference_"]) == (
        world.stranger.address,
        5 * YUAN,
        "invoice 1",
    )
    assert world.chain.read(token.functions.balanceOf(world.stranger.address)) == 5 * YUAN
    assert world.chain.read(token.functions.decimals()) == 6


def test_recharge__by_stranger__is_refused(world: World) -> None:
    call = world.market.token.functions.recharge(world.stranger.address, 1, "")
    refused("SettlementToken.NotTreasury", call, world.stranger, world.stranger.address)


def test_recharge__up_to_the_cap__is_accepted_and_one_more_refused(world: World) -> None:
    recharge, to = world.market.token.functions.recharge, world.grid.address
    error = "SettlementToken.SupplyAboveCap"
    world.chain.send(world.grid, recharge(to, 1, ""))
    accepted(recharge(to, CAP_UYUAN - 1, ""), world.grid)
    refused(error, recharge(to, CAP_UYUAN, ""), world.grid, CAP_UYUAN, CAP_UYUAN)
    refused(error, recharge(to, 2**256 - 1, ""), world.grid, 2**256 - 1, CAP_UYUAN)


def test_redeem__what_one_has__burns_it(world: World) -> None:
    token, holder = world.market.token, world.stranger
    world.chain.send(world.grid, token.functions.recharge(holder.address, 3 * YUAN, ""))
    receipt = world.chain.send(holder, token.functions.redeem(YUAN, "account 7"))
    (event,) = events(receipt, token, "Redeemed")
    assert (event["holder"], event["amountUyuan"]) == (holder.address, YUAN)
    assert world.chain.read(token.functions.totalSupply()) == 2 * YUAN


def test_redeem__more_than_one_has__is_refused(world: World) -> None:
    call = world.market.token.functions.redeem(1, "")
    address = world.stranger.address
    refused("SettlementToken.ERC20InsufficientBalance", call, world.stranger, address, 0, 1)


def test_transfer__without_balance_allowance_or_receiver__is_refused(world: World) -> None:
    token, stranger, grid = world.market.token.functions, world.stranger, world.grid
    address = stranger.address
    refused("SettlementToken.ERC20InsufficientBalance", token.transfer(grid.address, 1), stranger,
            address, 0, 1)  # fmt: skip
    refused("SettlementToken.ERC20InvalidReceiver", token.transfer(ZERO, 0), stranger, ZERO)
    refused("SettlementToken.ERC20InvalidSpender", token.approve(ZERO, 1), stranger, ZERO)
    refused("SettlementToken.ERC20InsufficientAllowance",
            token.transferFrom(grid.address, address, 1), stranger, address, 0, 1)  # fmt: skip


def test_permit__signed_by_owner__allows_once(world: World) -> None:
    token, owner, spender = world.market.token.functions, world.grid, world.stranger.address
    deadline = world.now() + 1_000
    signature = permit(world, owner, spender, 7, deadline)
    call = token.permit(owner.address, spender, 7, deadline, *vrs(signature))
    world.chain.send(world.stranger, call)
    assert world.chain.read(token.allowance(owner.address, spender)) == 7

    # With the nonce used, the same bytes name somebody else.
    message = permit_message(world, owner.address, spender, 7, deadline)
    other = Account.recover_message(message, signature=signature)
    refused("SettlementToken.ERC2612InvalidSigner", call, world.stranger, other, owner.address)


def test_permit__expired__is_refused(world: World) -> None:
    owner, spender, deadline = world.grid, world.stranger.address, world.now() - 1
    signature = permit(world, owner, spender, 7, deadline)
    call = world.market.token.functions.permit(owner.address, spender, 7, deadline, *vrs(signature))
    refused("SettlementToken.ERC2612ExpiredSignature", call, world.stranger, deadline)


def test_permit__of_no_curve_point__is_refused(world: World) -> None:
    forged = world.market.token.functions.permit(
        world.grid.address, world.stranger.address, 7, 2**256 - 1, 27, b"\xff" * 32, b"\x01" * 32
    )
    refused("SettlementToken.ECDSAInvalidSignature", forged, world.stranger)


def test_permit__malleable__is_refused(world: World) -> None:
    owner, spender, deadline = world.grid, world.stranger.address, world.now() + 1_000
    v, r, s = vrs(malleable(permit(world, owner, spender, 7, deadline)))
    assert int.from_bytes(s, "big") > SECP256K1_ORDER // 2
    call = world.market.token.functions.permit(owner.address, spender, 7, deadline, v, r, s)
    refused("SettlementToken.ECDSAInvalidSignatureS", call, world.stranger, s)
