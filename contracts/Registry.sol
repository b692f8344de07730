// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {
    IRegistry,
    ADMISSION_ROLE,
    TREASURY_ROLE,
    TARIFF_ROLE,
    COMMITTEE_ROLE,
    PAUSER_ROLE,
    GENERATOR,
    CONSUMER,
    STORAGE
} from "./interfaces/IRegistry.sol";

/// @title Who may trade
/// @notice Documented in `IRegistry`.
contract Registry is IRegistry, AccessControlDefaultAdminRules, Pausable {
    /// How long a hand-over of the administrator waits before it can be accepted.
    uint48 private constant HAND_OVER_DELAY = 1 days;

    /// @inheritdoc IRegistry
    bytes32 public immutable market;

    /// @inheritdoc IRegistry
    uint32 public nodeCount;

    mapping(uint32 node => Node) private _nodes;
    /// @inheritdoc IRegistry
    mapping(bytes32 meter => uint32 node) public nodeOfMeter;
    /// @inheritdoc IRegistry
    mapping(uint32 node => bytes32 meter) public meterOf;

    /// @param gridCompany Holds every role from the start, so that no one has to hand any over.
    constructor(address gridCompany) AccessControlDefaultAdminRules(HAND_OVER_DELAY, gridCompany) {
        unchecked {
            // At block 0 there is none before; a node that estimates gas for its first block asks for exactly that.
            market = keccak256(abi.encode(block.chainid, this, blockhash(block.number - 1)));
        }
        _grantRole(ADMISSION_ROLE, gridCompany);
        _grantRole(TREASURY_ROLE, gridCompany);
        _grantRole(TARIFF_ROLE, gridCompany);
        _grantRole(COMMITTEE_ROLE, gridCompany);
        _grantRole(PAUSER_ROLE, gridCompany);
    }

    /// @inheritdoc IRegistry
    function admit(Admission[] calldata admissions) external onlyRole(ADMISSION_ROLE) returns (uint32 first) {
        first = nodeCount + 1;
        uint32 node = nodeCount;
        for (uint256 i; i < admissions.length; ++i) {
            _admit(++node, admissions[i]);
        }
        nodeCount = node;
    }

    /// @inheritdoc IRegistry
    function suspend(uint32 node, string calldata reason) external onlyRole(ADMISSION_ROLE) {
        if (bytes(reason).length == 0) revert NoReason(node);
        _existing(node).suspended = true;
        emit Suspended(node, reason);
    }

    /// @inheritdoc IRegistry
    function reinstate(uint32 node) external onlyRole(ADMISSION_ROLE) {
        _existing(node).suspended = false;
        emit Reinstated(node);
    }

    /// @inheritdoc IRegistry
    function pause() external onlyRole(PAUSER_ROLE) {
        _pause();
    }

    /// @inheritdoc IRegistry
    function unpause() external onlyRole(PAUSER_ROLE) {
        _unpause();
    }

    /// @inheritdoc IRegistry
    function nodeOf(uint32 node) external view returns (Node memory) {
        return _existing(node);
    }

    /// @inheritdoc IRegistry
    function infoOf(uint32[] calldata nodes) external view returns (uint256[] memory words, bool isPaused) {
        isPaused = Pausable.paused();
        // The book asks for every order's node: the words are returned from where they are gathered.
        assembly ("memory-safe") {
            words := mload(0x40)
            mstore(words, 0x40)
            mstore(add(words, 0x20), isPaused)
            mstore(add(words, 0x40), nodes.length)
            let end := add(words, 0x60)
            let from := nodes.offset
            mstore(0x20, _nodes.slot)
            for { let last := add(from, shl(5, nodes.length)) } lt(from, last) { from := add(from, 0x20) } {
                mstore(0, calldataload(from))
                mstore(end, sload(keccak256(0, 0x40)))
                end := add(end, 0x20)
            }
            return(words, sub(end, words))
        }
    }

    /// @inheritdoc IRegistry
    function paused() public view override(IRegistry, Pausable) returns (bool) {
        return Pausable.paused();
    }

    /// @inheritdoc IRegistry
    function hasRole(bytes32 role, address account)
        public
        view
        override(IRegistry, AccessControl, IAccessControl)
        returns (bool)
    {
        return AccessControl.hasRole(role, account);
    }

    function _admit(uint32 node, Admission calldata a) private {
        if (a.account == address(0)) revert NoAccount();
        if (a.meter == 0) revert NoMeter();
        if (nodeOfMeter[a.meter] != 0) revert MeterTaken(a.meter, nodeOfMeter[a.meter]);
        if (a.role == 0 || a.role & ~(GENERATOR | CONSUMER | STORAGE) != 0) revert UnknownRole(a.role);
        _nodes[node] = Node({
            account: a.account,
            bus: a.bus,
            role: a.role,
            suspended: false,
            importCapacityWh: a.importCapacityWh,
            exportCapacityWh: a.exportCapacityWh
        });
        nodeOfMeter[a.meter] = node;
        meterOf[node] = a.meter;
        emit Admitted(node, a.account, a.meter, a.bus, a.role, a.importCapacityWh, a.exportCapacityWh);
    }

    function _existing(uint32 node) private view returns (Node storage existing) {
        existing = _nodes[node];
        if (existing.account == address(0)) revert UnknownNode(node);
    }
}
