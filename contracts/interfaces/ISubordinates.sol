// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Leg} from "../types/Types.sol";

// The two slave contracts decide which energy meets which; they hold no money and no state. Nodes come in ascending order, a
// 32-byte `Deviation` each, possibly in several calls, each continuing the `Leg`s the last one returned (SPEC section 6). They
// answer with shares, packed as node (4 bytes), whether it supplied (1) and Wh (6), in the order of the nodes; who has no share
// has no record. Energies in Wh.

/// @title Slave contract 1: who compensates a shortage, at the compensation price (Peng, Table I)
interface ISubordinate_one {
    /// @notice Shortages bought reserve nodes' surplus at P_c.
    event Compensated(uint32 indexed period, uint16 indexed version, bytes shares);

    /// @notice Only the `Master` calls for a settlement.
    error NotMaster(address caller);

    /// @notice What these nodes are short of, and what the reserve nodes among them have over.
    function count(bytes calldata nodes) external pure returns (uint256 demandWh, uint256 supplyWh);

    /// @notice Serves these nodes.
    function serve(bytes calldata nodes, Leg calldata leg)
        external
        pure
        returns (bytes memory shares, Leg memory next);

    /// @notice Like `serve`, and tells the world. Only the `Master`.
    function compensate(uint32 period, uint16 version, bytes calldata nodes, Leg calldata leg)
        external
        returns (bytes memory shares, Leg memory next);
}

/// @title Slave contract 2: who takes a surplus, at the selling price (Peng, Table I)
/// @notice Its nodes come as compensation left them.
interface ISubordinate_two {
    /// @notice Offered surplus went to nodes that take it, at P_s.
    event Sold(uint32 indexed period, uint16 indexed version, bytes shares);
    /// @notice Surplus met open demand inside the grid; the demand pays P_c, the surplus gets P_s.
    event Balanced(uint32 indexed period, uint16 indexed version, bytes shares);

    /// @notice Only the `Master` calls for a settlement.
    error NotMaster(address caller);

    /// @notice What these nodes would take and offer at the selling price, and all they demand and have too much.
    function count(bytes calldata nodes)
        external
        pure
        returns (uint256 takeableWh, uint256 offeredWh, uint256 demandWh, uint256 surplusWh);

    /// @notice Serves these nodes, first at the selling price, then what is left of them locally.
    function serve(bytes calldata nodes, Leg calldata selling, Leg calldata local)
        external
        pure
        returns (bytes memory sold, bytes memory balanced, Leg memory nextSelling, Leg memory nextLocal);

    /// @notice Like `serve`, and tells the world. Only the `Master`.
    function sell(uint32 period, uint16 version, bytes calldata nodes, Leg calldata selling, Leg calldata local)
        external
        returns (bytes memory sold, bytes memory balanced, Leg memory nextSelling, Leg memory nextLocal);
}
