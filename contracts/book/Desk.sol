// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Clock} from "../Clock.sol";
import {IDesk} from "../interfaces/IDesk.sol";
import {IMaster} from "../interfaces/IMaster.sol";
import {IPriceBoard} from "../interfaces/IPriceBoard.sol";
import {IRegistry} from "../interfaces/IRegistry.sol";
import {IVault} from "../interfaces/IVault.sol";

/// @title Where members' messages are taken
/// @notice The rooms, and the approvals, that all kinds of messages share; documented in `IDesk`.
abstract contract Desk is IDesk, Clock, EIP712 {
    bytes32 internal immutable MARKET;
    IRegistry internal immutable REGISTRY;
    IVault internal immutable VAULT;
    IPriceBoard internal immutable PRICES;
    IMaster internal immutable MASTER;

    mapping(bytes32 digest => mapping(uint32 node => bool)) internal _approved;

    constructor(IRegistry registry, IVault vault, IPriceBoard prices, IMaster master) EIP712("Subgrid Book", "1") {
        MARKET = registry.market();
        REGISTRY = registry;
        VAULT = vault;
        PRICES = prices;
        MASTER = master;
    }

    /// @inheritdoc IDesk
    function approve(uint32 node, bytes32 digest) external {
        _checkAccount(node);
        _approved[digest][node] = true;
        emit Approved(node, digest);
    }

    /// @dev Every refusal has a reason. An entry without one ran out of gas, for which it must not be dropped; besides, a gas
    /// estimate would settle for the least gas that drops all entries.
    function _skip(uint256 index, bytes memory reason) internal {
        if (reason.length == 0) revert BatchOutOfGas(index);
        emit Skipped(index, reason);
    }

    function _checkAccount(uint32 node) internal view {
        if (REGISTRY.nodeOf(node).account != msg.sender) revert NotAccount(node, msg.sender);
    }
}
