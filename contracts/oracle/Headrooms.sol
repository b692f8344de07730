// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Topic} from "../interfaces/IBallots.sol";
import {IGrid} from "../interfaces/IGrid.sol";
import {IHeadrooms} from "../interfaces/IHeadrooms.sol";
import {Ballots} from "./Ballots.sol";

/// @title What the market may use of every line
/// @notice Documented in `IHeadrooms`.
abstract contract Headrooms is IHeadrooms, Ballots {
    IGrid internal immutable GRID;

    mapping(uint32 fromPeriod => bytes32 digest) private _accepted;
    /// Hash 224 | period 32.
    mapping(uint256 slot => bytes32) private _headrooms;

    constructor(IGrid grid) {
        GRID = grid;
    }

    /// @inheritdoc IHeadrooms
    function proposeHeadroom(uint32 fromPeriod, bytes[] calldata headrooms) external {
        _checkRange(fromPeriod, headrooms.length, _gate(fromPeriod));
        GRID.checkHeadrooms(headrooms);
        bytes32[] memory hashes = new bytes32[](headrooms.length);
        for (uint256 i; i < hashes.length; ++i) {
            hashes[i] = keccak256(headrooms[i]);
        }
        bytes32 digest = keccak256(abi.encode(hashes));
        (uint32 round, uint8 proposer) = _open(Topic.Headroom, fromPeriod, 0, _priceOpening(fromPeriod), digest);
        emit HeadroomProposed(fromPeriod, round, proposer, digest, headrooms);
    }

    /// @inheritdoc IHeadrooms
    function fixHeadroom(uint32 fromPeriod, bytes32[] calldata hashes) external {
        bytes32 digest = keccak256(abi.encode(hashes));
        if (_accepted[fromPeriod] != digest) revert NotAccepted(fromPeriod, digest);
        for (uint32 i; i < hashes.length; ++i) {
            uint32 period = fromPeriod + i;
            if (block.timestamp >= _gate(period) || headroomOf(period) != 0) continue;
            bytes28 hash = bytes28(hashes[i]);
            _headrooms[_ringSlot(period)] = hash | bytes32(uint256(period));
            emit HeadroomFixed(period, hash);
        }
    }

    /// @inheritdoc IHeadrooms
    function headroomOf(uint32 period) public view returns (bytes28) {
        bytes32 word = _headrooms[_ringSlot(period)];
        return uint32(uint256(word)) == period ? bytes28(word) : bytes28(0);
    }

    function _acceptHeadroom(uint32 fromPeriod, bytes32 digest) internal {
        _accepted[fromPeriod] = digest;
    }

    function _isHeadroomAccepted(uint32 fromPeriod) internal view returns (bool) {
        return _accepted[fromPeriod] != 0;
    }
}
