// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Deviation} from "../types/Deviation.sol";
import {Leg} from "../types/Types.sol";

// The two slave contracts decide which energy meets which; they hold no money and no state. Nodes come in ascending order,
// possibly in several calls, each continuing the `Leg`s the last one returned (SPEC section 6). Energies in Wh.

/// @title Slave contract 1: who compensates a shortage, at the compensation price (Peng, Table I)
interface ISubordinate_one {
    /// @notice Shortages bought reserve nodes' surplus at P_c. `shares` packs node (4 bytes), whether it supplied (1) and Wh (6).
    event Compensated(uint32 indexed period, uint16 indexed version, bytes shares);

    /// @notice Only the `Master` calls for a settlement.
    error NotMaster(address caller);

    /// @notice What these nodes are short of, and what the reserve nodes among them have over.
    function count(Deviation[] calldata nodes) external pure returns (uint256 demandWh, uint256 supplyWh);

    /// @notice Serves these nodes and returns what of their deviations is left.
    function serve(Deviation[] calldata nodes, Leg calldata leg)
        external
        pure
        returns (Deviation[] memory left, Leg memory next);

    /// @notice Like `serve`, and tells the world. Only the `Master`.
    function compensate(uint32 period, uint16 version, Deviation[] calldata nodes, Leg calldata leg)
        external
        returns (Deviation[] memory left, Leg memory next);
}

/// @title Slave contract 2: who takes a surplus, at the selling price (Peng, Table I)
interface ISubordinate_two {
    /// @notice Offered surplus went to nodes that take it, at P_s. Packed as in `Compensated`.
    event Sold(uint32 indexed period, uint16 indexed version, bytes shares);
    /// @notice Surplus met open demand inside the grid; the demand pays P_c, the surplus gets P_s. Packed as in `Compensated`.
    event Balanced(uint32 indexed period, uint16 indexed version, bytes shares);

    /// @notice Only the `Master` calls for a settlement.
    error NotMaster(address caller);

    /// @notice What these nodes would take and offer at the selling price.
    function count(Deviation[] calldata nodes) external pure returns (uint256 demandWh, uint256 supplyWh);

    /// @notice Serves these nodes, first at the selling price, then locally, and returns what is left after each.
    function serve(Deviation[] calldata nodes, Leg calldata selling, Leg calldata local)
        external
        pure
        returns (Deviation[] memory afterSelling, Deviation[] memory left, Leg memory nextSelling, Leg memory nextLocal);

    /// @notice Like `serve`, and tells the world. Only the `Master`.
    function sell(
        uint32 period,
        uint16 version,
        Deviation[] calldata nodes,
        Leg calldata selling,
        Leg calldata local
    )
        external
        returns (Deviation[] memory afterSelling, Deviation[] memory left, Leg memory nextSelling, Leg memory nextLocal);
}
