// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../interfaces/IVault.sol";
import {Records} from "../libraries/Records.sol";
import {Limits, Prices} from "../types/Types.sol";

/// @title Registry, book, oracle and token around a real `Master` and `Vault`
/// @notice Hands them what a test gives, so that periods reach values no front door lets through: energies of 2^40 - 1 Wh,
/// prices of 2^32 - 1. Node 0 stays the grid company's account; any amount of token is there for the asking.
contract MockRooms {
    /// What a node owns at first, micro-yuan.
    struct Holder {
        uint32 node;
        uint64 freeUyuan;
        uint64 lockedUyuan;
    }

    /// Everything the vault says of a node, micro-yuan.
    struct Balance {
        uint256 freeUyuan;
        uint256 lockedUyuan;
        bool inDebt;
        uint256 debtUyuan;
        uint256 claimsUyuan;
        uint256 heldUyuan;
    }

    /// Highest node id.
    uint32 public nodeCount;

    Prices private _prices;
    bytes[] private _positions;
    bytes32[] private _roots;

    /// @notice Sets a period up.
    function arrange(IVault vault, Prices calldata prices, bytes[] calldata positions, Holder[] calldata holders)
        external
    {
        (_prices, _positions) = (prices, positions);
        for (uint256 i; i < holders.length; ++i) {
            Holder calldata h = holders[i];
            vault.deposit(h.node, uint256(h.freeUyuan) + h.lockedUyuan);
            vault.lock(h.node, h.lockedUyuan);
        }
    }

    /// @notice Sets the highest node id.
    function admit(uint32 nodes) external {
        nodeCount = nodes;
    }

    /// @notice Accepts the next version of a report.
    function report(bytes32 root) external {
        _roots.push(root);
    }

    /// @notice Deposits for a node.
    function fund(IVault vault, uint32 node, uint256 amountUyuan) external {
        vault.deposit(node, amountUyuan);
    }

    /// @notice Collects all funded claims of nodes.
    function collect(IVault vault, uint32[] calldata nodes) external {
        for (uint256 i; i < nodes.length; ++i) {
            vault.collect(nodes[i], type(uint256).max);
        }
    }

    /// @notice What the vault says of nodes, and of all claims.
    function look(IVault vault, uint32 period, uint32[] calldata nodes)
        external
        view
        returns (Balance[] memory balances, uint256 arose, uint256 funded, uint256 collected)
    {
        balances = new Balance[](nodes.length);
        for (uint256 i; i < nodes.length; ++i) {
            uint32 node = nodes[i];
            IVault.Account memory a = vault.accountOf(node);
            balances[i] = Balance({
                freeUyuan: a.freeUyuan,
                lockedUyuan: a.lockedUyuan,
                inDebt: a.debtUyuan != 0,
                debtUyuan: vault.debtOf(node),
                claimsUyuan: vault.claimsOf(node),
                heldUyuan: vault.heldOf(period, node)
            });
        }
        (arose, funded, collected) = vault.claimTotals();
    }

    // The book.

    function agreedOf(uint32, uint32 bucket) external view returns (bytes memory positions, bytes memory buses) {
        if (bucket < _positions.length) positions = _positions[bucket];
        buses = new bytes(positions.length / Records.POSITION * 2);
    }

    function chainOf(uint32, uint32) external pure returns (bytes24 hash, uint32 records) {}

    function ordersOf(uint32) external pure returns (uint32 orders, uint32 cancelled) {}

    function cancelledOf(uint32) external pure returns (bytes memory bitmap) {}

    // The oracle.

    function limits() external pure returns (Limits memory) {
        return Limits(type(uint32).max, type(uint32).max, 0, type(uint32).max);
    }

    function pricesOf(uint32) external view returns (Prices memory) {
        return _prices;
    }

    function latestReport(uint32 period) external view returns (uint16 version, bytes32 root) {
        version = uint16(_roots.length);
        root = reportRoot(period, version);
    }

    function reportRoot(uint32, uint16 version) public view returns (bytes32) {
        return version == 0 ? bytes32(0) : _roots[version - 1];
    }

    // The token.

    function transferFrom(address, address, uint256) external pure returns (bool) {
        return true;
    }
}
