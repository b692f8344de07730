// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ISubordinate_one} from "./interfaces/ISubordinates.sol";
import {Legs} from "./libraries/Legs.sol";
import {ShareLog} from "./libraries/ShareLog.sol";
import {Deviation} from "./types/Deviation.sol";
import {RESERVE} from "./types/Options.sol";
import {Leg} from "./types/Types.sol";

/// @title Slave contract 1: who compensates a shortage, at the compensation price (Peng, Table I)
/// @notice Documented in `ISubordinate_one`.
contract Subordinate_one is ISubordinate_one {
    using Legs for Leg;
    using ShareLog for bytes;

    address private immutable MASTER;

    constructor(address master) {
        MASTER = master;
    }

    /// @inheritdoc ISubordinate_one
    function count(Deviation[] calldata nodes) external pure returns (uint256 demandWh, uint256 supplyWh) {
        for (uint256 i; i < nodes.length; ++i) {
            unchecked {
                demandWh += nodes[i].shortWh(); // sums of 40-bit energies
                supplyWh += _reserveWh(nodes[i]);
            }
        }
    }

    /// @inheritdoc ISubordinate_one
    function serve(Deviation[] calldata nodes, Leg calldata leg)
        external
        pure
        returns (Deviation[] memory left, Leg memory next)
    {
        (left, next,) = _serve(nodes, leg);
    }

    /// @inheritdoc ISubordinate_one
    function compensate(uint32 period, uint16 version, Deviation[] calldata nodes, Leg calldata leg)
        external
        returns (Deviation[] memory left, Leg memory next)
    {
        if (msg.sender != MASTER) revert NotMaster(msg.sender);
        bytes memory shares;
        (left, next, shares) = _serve(nodes, leg);
        if (shares.length != 0) emit Compensated(period, version, shares);
    }

    function _serve(Deviation[] calldata nodes, Leg memory leg)
        private
        pure
        returns (Deviation[] memory left, Leg memory next, bytes memory shares)
    {
        (left, next) = (nodes, leg);
        if (leg.tradedWh() == 0) return (left, next, shares);
        shares = ShareLog.open(nodes.length);
        for (uint256 i; i < left.length; ++i) {
            Deviation d = left[i];
            uint256 bought = next.serveDemand(d.shortWh());
            uint256 sold = next.serveSupply(_reserveWh(d));
            if (bought | sold == 0) continue;
            shares.add(d.node(), sold != 0, bought | sold); // a node is short or over, never both
            left[i] = d.lessShort(bought).lessSurplus(sold);
        }
    }

    function _reserveWh(Deviation d) private pure returns (uint256) {
        return d.has(RESERVE) ? d.overWh() : 0;
    }
}
