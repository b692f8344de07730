// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMaster, Stage} from "../interfaces/IMaster.sol";
import {Roots} from "../libraries/Roots.sol";
import {Periods} from "./Periods.sol";

/// @title Fixing the positions of a period
/// @notice Documented in `IMaster`.
abstract contract Clearing is Periods {
    /// @inheritdoc IMaster
    function clear(uint32 period, uint32 most) external {
        Period storage p = _periods[period];
        if (period < firstPeriod) revert BeforeMarket(period, firstPeriod);
        if (block.timestamp < _gate(period)) revert GateOpen(period, _gate(period));
        if (p.stage >= Stage.Cleared) return;
        if (p.stage == Stage.Open) {
            p.stage = Stage.Clearing;
            p.buckets = (REGISTRY.nodeCount() >> 8) + 1;
        }
        (uint32 bucket, bytes32 root) = (p.cleared, p.positionsRoot);
        for (; most != 0 && bucket != p.buckets; (--most, ++bucket)) {
            bytes memory positions = BOOK.take(period, bucket);
            root = Roots.extend(root, keccak256(positions));
            if (positions.length != 0) emit PositionsFixed(period, bucket, positions);
        }
        (p.cleared, p.positionsRoot) = (bucket, root);
        if (bucket != p.buckets) return;
        p.isVoid = block.timestamp >= _start(period);
        p.stage = p.isVoid ? Stage.Void : Stage.Cleared;
        emit Cleared(period, bucket, p.isVoid);
    }
}
