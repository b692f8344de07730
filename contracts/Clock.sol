// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Schedule} from "./types/Types.sol";

/// @title The instants of a period's life
/// @notice Every room that needs the time inherits the same schedule; all times are Unix seconds (SPEC section 4).
abstract contract Clock {
    uint256 private immutable EPOCH;
    uint256 private immutable LENGTH;
    uint256 private immutable PRICE_HORIZON;
    uint256 private immutable PRICE_LEAD;
    uint256 private immutable GATE_LEAD;
    uint256 private immutable ROUND_LENGTH;
    uint256 private immutable SETTLE_DEADLINE;
    uint256 private immutable WINDOW;

    /// @notice The schedule's instants are not in the order of a period's life, or a length is zero.
    error ScheduleOutOfOrder(Schedule schedule);

    constructor(Schedule memory s) {
        if (
            s.length == 0 || s.roundLength == 0 || s.gateLead == 0 || s.priceLead <= s.gateLead
                || s.priceHorizon <= s.priceLead || s.window <= s.settleDeadline
        ) revert ScheduleOutOfOrder(s);
        EPOCH = s.epoch;
        LENGTH = s.length;
        PRICE_HORIZON = s.priceHorizon;
        PRICE_LEAD = s.priceLead;
        GATE_LEAD = s.gateLead;
        ROUND_LENGTH = s.roundLength;
        SETTLE_DEADLINE = s.settleDeadline;
        WINDOW = s.window;
    }

    /// @notice The schedule, as deployed.
    function schedule() external view returns (Schedule memory) {
        // The constructor took these values from the same narrow fields, so narrowing them again is lossless.
        return Schedule({
            epoch: uint40(EPOCH),
            length: uint32(LENGTH),
            priceHorizon: uint32(PRICE_HORIZON),
            priceLead: uint32(PRICE_LEAD),
            gateLead: uint32(GATE_LEAD),
            roundLength: uint32(ROUND_LENGTH),
            settleDeadline: uint32(SETTLE_DEADLINE),
            window: uint32(WINDOW)
        });
    }

    /// @dev The period that is running, or 0 before the epoch.
    function _currentPeriod() internal view returns (uint256) {
        return block.timestamp < EPOCH ? 0 : (block.timestamp - EPOCH) / LENGTH;
    }

    function _start(uint256 period) internal view returns (uint256) {
        return EPOCH + period * LENGTH;
    }

    function _priceOpening(uint256 period) internal view returns (uint256) {
        uint256 start = _start(period);
        return start < PRICE_HORIZON ? 0 : start - PRICE_HORIZON;
    }

    function _priceDeadline(uint256 period) internal view returns (uint256) {
        uint256 start = _start(period);
        return start < PRICE_LEAD ? 0 : start - PRICE_LEAD;
    }

    function _gate(uint256 period) internal view returns (uint256) {
        uint256 start = _start(period);
        return start < GATE_LEAD ? 0 : start - GATE_LEAD;
    }

    function _close(uint256 period) internal view returns (uint256) {
        return _start(period) + LENGTH;
    }

    function _settleDeadline(uint256 period) internal view returns (uint256) {
        return _close(period) + SETTLE_DEADLINE;
    }

    function _windowEnd(uint256 period) internal view returns (uint256) {
        return _close(period) + WINDOW;
    }

    /// @dev The first period whose gate is open.
    function _firstOpenPeriod() internal view returns (uint256) {
        uint256 reached = block.timestamp + GATE_LEAD;
        return reached < EPOCH ? 0 : (reached - EPOCH) / LENGTH + 1;
    }

    /// @dev The round running since `opening`, which must not lie in the future.
    function _roundSince(uint256 opening) internal view returns (uint256) {
        return (block.timestamp - opening) / ROUND_LENGTH;
    }

    /// @dev Slot of a period in a ring that is free again when the period's price proposals open.
    function _ringSlot(uint256 period) internal view returns (uint256) {
        return period % (PRICE_HORIZON / LENGTH + 2);
    }

    /// @dev Periods that can be started and unsettled at once when everybody is as late as allowed.
    function _mostUnsettled() internal view returns (uint256) {
        return SETTLE_DEADLINE / LENGTH + 2;
    }
}
