// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// How one node departed from its plan, in one word:
/// flagged 8 | node 32 | options 8 | takeable 40 | short 40 | extra 40 | over 40 | unused 40, energies in Wh (SPEC section 6).
type Deviation is uint256;

using DeviationFields for Deviation global;

/// @dev Packs a deviation. Every energy must be below 2^40 Wh.
function toDeviation(
    uint256 node,
    bool flagged,
    uint256 options,
    uint256 takeableWh,
    uint256 shortWh,
    uint256 extraWh,
    uint256 overWh,
    uint256 unusedWh
) pure returns (Deviation) {
    return Deviation.wrap(
        (flagged ? uint256(1) << 240 : 0) | (node << 208) | (options << 200) | (takeableWh << 160) | (shortWh << 120) | (extraWh << 80) | (overWh << 40)
            | unusedWh
    );
}

/// @dev Reads the deviation at an offset.
function deviationAt(bytes calldata nodes, uint256 offset) pure returns (Deviation d) {
    assembly ("memory-safe") {
        d := calldataload(add(nodes.offset, offset))
    }
}

/// @notice Reads and reduces the fields of a `Deviation`.
library DeviationFields {
    uint256 private constant WH = type(uint40).max;
    uint256 private constant EXTRA = 80;
    uint256 private constant OVER = 40;
    uint256 private constant SHORT = 120;
    uint256 private constant TAKEABLE = 160;

    /// @notice The node that deviated.
    function node(Deviation d) internal pure returns (uint256) {
        return uint32(Deviation.unwrap(d) >> 208);
    }

    /// @notice Whether the node's meter was not read.
    function flagged(Deviation d) internal pure returns (bool) {
        return Deviation.unwrap(d) >> 240 != 0;
    }

    /// @notice Whether the node's position carries an option.
    function has(Deviation d, uint8 option) internal pure returns (bool) {
        return (Deviation.unwrap(d) >> 200) & option != 0;
    }

    /// @notice Extra demand the node would cover at the selling price, Wh.
    function takeableWh(Deviation d) internal pure returns (uint256) {
        return (Deviation.unwrap(d) >> TAKEABLE) & WH;
    }

    /// @notice Sold but not delivered, Wh.
    function shortWh(Deviation d) internal pure returns (uint256) {
        return (Deviation.unwrap(d) >> SHORT) & WH;
    }

    /// @notice Taken beyond the plan, Wh.
    function extraWh(Deviation d) internal pure returns (uint256) {
        return (Deviation.unwrap(d) >> EXTRA) & WH;
    }

    /// @notice Delivered beyond the plan, Wh.
    function overWh(Deviation d) internal pure returns (uint256) {
        return (Deviation.unwrap(d) >> OVER) & WH;
    }

    /// @notice Demand not yet covered, Wh.
    function demandWh(Deviation d) internal pure returns (uint256) {
        unchecked {
            return d.shortWh() + d.extraWh(); // two 40-bit fields
        }
    }

    /// @notice Surplus not yet placed, Wh.
    function surplusWh(Deviation d) internal pure returns (uint256) {
        unchecked {
            return d.overWh() + (Deviation.unwrap(d) & WH); // two 40-bit fields
        }
    }

    /// @notice Covers part of the shortage. `energyWh` must not exceed it.
    function lessShort(Deviation d, uint256 energyWh) internal pure returns (Deviation) {
        unchecked {
            return Deviation.wrap(Deviation.unwrap(d) - (energyWh << SHORT));
        }
    }

    /// @notice Places part of what was over. `energyWh` must not exceed it.
    function lessOver(Deviation d, uint256 energyWh) internal pure returns (Deviation) {
        unchecked {
            return Deviation.wrap(Deviation.unwrap(d) - (energyWh << OVER));
        }
    }
}
