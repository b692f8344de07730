// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IGrid} from "./interfaces/IGrid.sol";
import {IHeadrooms} from "./interfaces/IHeadrooms.sol";
import {Lines} from "./libraries/Lines.sol";

/// @title The feeder and what its lines may carry
/// @notice Documented in `IGrid`.
contract Grid is IGrid {
    using Lines for bytes;

    /// A derate in storage: line 2, direction 1, limit 4.
    uint256 private constant DERATE = 7;

    IHeadrooms private immutable ORACLE;
    /// Its code carries the table, which is read far cheaper from there than from storage.
    address private immutable TABLE;
    uint256 private immutable BUSES;

    /// Four derates fit a slot, and few periods have one.
    mapping(uint32 period => bytes) private _derates;

    constructor(IHeadrooms oracle, bytes memory table_) {
        BUSES = table_.check();
        ORACLE = oracle;
        TABLE = Clones.cloneWithImmutableArgs(address(0), table_);
    }

    /// @inheritdoc IGrid
    function derate(uint32 period, uint16 line, bool up, uint32 limitWh) external {
        if (msg.sender != address(ORACLE)) revert NotOracle(msg.sender);
        _derates[period] = bytes.concat(_derates[period], abi.encodePacked(line, up, limitWh));
        emit Derated(period, line, up, limitWh);
    }

    /// @inheritdoc IGrid
    function linesOf(uint32 period, bytes calldata headroom) public view returns (bytes memory lines) {
        lines = table();
        bytes28 expected = BUSES == 1 ? bytes28(0) : ORACLE.headroomOf(period);
        bytes28 given = headroom.length == 0 ? bytes28(0) : bytes28(keccak256(headroom));
        if (given != expected) revert WrongHeadroom(period, expected);
        if (expected != 0) lines.replaceLimits(headroom);
        bytes memory derates = _derates[period];
        for (uint256 i; i < derates.length; i += DERATE) {
            lines.lower(derates, i);
        }
    }

    /// @inheritdoc IGrid
    function limitOf(uint32 period, uint16 line, bool up, bytes calldata headroom)
        external
        view
        returns (uint32 limitWh)
    {
        if (line == 0 || line >= BUSES) revert UnknownLine(line, BUSES - 1);
        return linesOf(period, headroom).limitAt(line, up);
    }

    /// @inheritdoc IGrid
    function checkHeadrooms(bytes[] calldata headrooms) external view {
        bytes memory lines = table();
        for (uint256 i; i < headrooms.length; ++i) {
            lines.checkHeadroom(headrooms[i]);
        }
    }

    /// @inheritdoc IGrid
    function table() public view returns (bytes memory) {
        return Clones.fetchCloneArgs(TABLE);
    }

    /// @inheritdoc IGrid
    function busCount() external view returns (uint256) {
        return BUSES;
    }
}
