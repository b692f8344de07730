// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// A node's fixed position in one word: exists 8 | options 8 | sold 40 | bought 40 | receive 72 | pay 72 | unused 16.
/// All zero if the node has no position. Energies in Wh, money in nano-yuan.
type Plan is uint256;

using PlanFields for Plan global;

/// @notice Reads the fields of a `Plan`.
library PlanFields {
    uint256 private constant WH = type(uint40).max;
    uint256 private constant NYUAN = type(uint72).max;
    uint256 private constant EXISTS = 1 << 248;
    uint256 private constant OPTIONS = uint256(0xff) << 240;

    /// @notice The plan in the first word of a packed position record, whose index gives way to the mark of existence.
    function fromRecord(uint256 head) internal pure returns (Plan) {
        return Plan.wrap((head & (EXISTS - 1)) | EXISTS);
    }

    /// @notice What is left of a plan in a void period: that it exists, and its options.
    function annulled(Plan p) internal pure returns (Plan) {
        return Plan.wrap(Plan.unwrap(p) & (EXISTS | OPTIONS));
    }

    function exists(Plan p) internal pure returns (bool) {
        return Plan.unwrap(p) >> 248 != 0;
    }

    function options(Plan p) internal pure returns (uint256) {
        return (Plan.unwrap(p) >> 240) & 0xff;
    }

    function soldWh(Plan p) internal pure returns (uint256) {
        return (Plan.unwrap(p) >> 200) & WH;
    }

    function boughtWh(Plan p) internal pure returns (uint256) {
        return (Plan.unwrap(p) >> 160) & WH;
    }

    function receiveNyuan(Plan p) internal pure returns (uint256) {
        return (Plan.unwrap(p) >> 88) & NYUAN;
    }

    function payNyuan(Plan p) internal pure returns (uint256) {
        return (Plan.unwrap(p) >> 16) & NYUAN;
    }
}
