// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ISubordinate_one} from "./interfaces/ISubordinates.sol";
import {Legs} from "./libraries/Legs.sol";
import {Packed} from "./libraries/Packed.sol";
import {ShareLog} from "./libraries/ShareLog.sol";
import {Deviation, deviationAt} from "./types/Deviation.sol";
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
    function count(bytes calldata nodes) external pure returns (uint256 demandWh, uint256 supplyWh) {
        unchecked {
            // Sums of 40-bit energies.
            for (uint256 i; i < nodes.length; i += Packed.WORD) {
                Deviation d = deviationAt(nodes, i);
                demandWh += d.shortWh();
                supplyWh += _reserveWh(d);
            }
        }
    }

    /// @inheritdoc ISubordinate_one
    function serve(bytes calldata nodes, Leg calldata leg)
        external
        pure
        returns (bytes memory shares, Leg memory next)
    {
        return _serve(nodes, leg);
    }

    /// @inheritdoc ISubordinate_one
    function compensate(uint32 period, uint16 version, bytes calldata nodes, Leg calldata leg)
        external
        returns (bytes memory shares, Leg memory next)
    {
        if (msg.sender != MASTER) revert NotMaster(msg.sender);
        (shares, next) = _serve(nodes, leg);
        if (shares.length != 0) emit Compensated(period, version, shares);
    }

    /// @dev A node is short or over, never both.
    function _serve(bytes calldata nodes, Leg memory leg) private pure returns (bytes memory shares, Leg memory next) {
        next = leg;
        uint256 traded = leg.tradedWh();
        if (traded == 0) return (shares, next);
        shares = ShareLog.open(nodes.length / Packed.WORD);
        unchecked {
            for (uint256 i; i < nodes.length; i += Packed.WORD) {
                Deviation d = deviationAt(nodes, i);
                uint256 shortWh = d.shortWh();
                if (shortWh != 0) {
                    shares.add(d.node(), false, next.serveDemand(traded, shortWh));
                } else {
                    uint256 reserveWh = _reserveWh(d);
                    if (reserveWh != 0) shares.add(d.node(), true, next.serveSupply(traded, reserveWh));
                }
            }
        }
    }

    function _reserveWh(Deviation d) private pure returns (uint256) {
        return d.has(RESERVE) ? d.overWh() : 0;
    }
}
