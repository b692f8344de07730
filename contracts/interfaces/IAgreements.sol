// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Agreement, Declaration} from "../types/Types.sol";
import {IDesk} from "./IDesk.sol";

/// @title What two members agree on, until the gate closes
/// @notice Takes bilateral agreements and declarations for coming periods and adds them up to one position per node and
/// period (SPEC section 5). Energies in Wh, prices in micro-yuan per kWh, money in micro-yuan unless named otherwise.
/// @dev A signature is EIP-712 over `Agreement` or `Declaration`, 65 or 64 (EIP-2098) bytes, by the node's account. Empty
/// bytes stand for an approval by the account's own transaction: the sender's, or an earlier `approve`.
interface IAgreements is IDesk {
    /// An agreement with its two signatures, for a batch.
    struct SignedAgreement {
        Agreement agreement;
        bytes sellerSignature;
        bytes buyerSignature;
    }

    /// A declaration with its signature, for a batch.
    struct SignedDeclaration {
        Declaration declaration;
        bytes signature;
    }

    /// @notice Two nodes agreed on planned energy; funds of both are locked.
    event Agreed(
        uint32 indexed period,
        uint32 indexed seller,
        uint32 indexed buyer,
        uint256 energyWh,
        uint256 priceUyuanPerKwh,
        bytes32 digest
    );
    /// @notice A node added options to its position of a period.
    event Declared(uint32 indexed period, uint32 indexed node, uint8 options);
    /// @notice A node made one of its unused nonces worthless.
    event NonceRevoked(uint32 indexed node, uint64 nonce);

    /// @notice The period takes no orders yet; its book opens with its price proposals.
    error BookNotOpen(uint32 period, uint256 opensAt);
    /// @notice A node cannot trade with itself, nor an account with itself.
    error SelfTrade(uint32 seller, uint32 buyer);
    /// @notice An agreement must carry energy.
    error NoEnergy();
    /// @notice The price leaves the period's band, which would reward planned deviations.
    error PriceOutOfBand(uint256 priceUyuanPerKwh, uint256 lowest, uint256 highest);
    /// @notice The nonce was used or revoked.
    error NonceSpent(uint32 node, uint64 nonce);

    /// @notice Places an agreement. Reverts if anything about it is wrong.
    function agree(Agreement calldata agreement, bytes calldata sellerSignature, bytes calldata buyerSignature) external;

    /// @notice Places agreements; a bad one is skipped with an event. Signatures or approvals only.
    function agreeBatch(SignedAgreement[] calldata entries) external;

    /// @notice Adds options to a node's position.
    function declare(Declaration calldata declaration, bytes calldata signature) external;

    /// @notice Places declarations; a bad one is skipped with an event. Signatures or approvals only.
    function declareBatch(SignedDeclaration[] calldata entries) external;

    /// @notice Makes an unused nonce of the caller's node worthless, and so every unplaced agreement that carries it.
    function revokeNonce(uint32 node, uint64 nonce) external;

    /// @notice The packed positions of a bucket (SPEC section 8) and the bus of each, 2 bytes. Empty if there are none, and
    /// when the storage has gone to a later period.
    function agreedOf(uint32 period, uint32 bucket) external view returns (bytes memory positions, bytes memory buses);

    /// @notice The packed positions of a bucket (SPEC section 8).
    function positionsOf(uint32 period, uint32 bucket) external view returns (bytes memory positions);

    /// @notice The EIP-712 digest both sides of an agreement sign.
    function agreementDigest(Agreement calldata agreement) external view returns (bytes32);

    /// @notice The EIP-712 digest a node signs for a declaration.
    function declarationDigest(Declaration calldata declaration) external view returns (bytes32);

    /// @notice Whether a node's nonce is used or revoked.
    function isSpent(uint32 node, uint64 nonce) external view returns (bool);
}
