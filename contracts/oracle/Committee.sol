// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Clock} from "../Clock.sol";
import {ICommittee} from "../interfaces/ICommittee.sol";
import {IRegistry, COMMITTEE_ROLE} from "../interfaces/IRegistry.sol";

/// @title Who decides what the meters said
/// @notice Documented in `ICommittee`.
abstract contract Committee is ICommittee, Clock {
    /// The seats from one period on.
    struct Epoch {
        uint32 fromPeriod;
        address[] seats;
    }

    uint256 private constant MOST_SEATS = 32;
    /// Time for everybody to see a rotation before it counts.
    uint256 private constant ROTATION_DELAY = 1 days;

    IRegistry internal immutable REGISTRY;

    Epoch[] private _epochs;

    constructor(IRegistry registry, address[] memory seats) {
        if (seats.length == 0 || seats.length > MOST_SEATS) revert CommitteeSize(seats.length);
        REGISTRY = registry;
        Epoch storage first = _epochs.push();
        for (uint256 i; i < seats.length; ++i) {
            _checkSigner(first.seats, seats[i]);
            first.seats.push(seats[i]);
            emit SeatRotated(uint8(i), seats[i], 0); // below 32
        }
    }

    /// @inheritdoc ICommittee
    function rotateSeat(uint8 seat, address signer) external returns (uint32 fromPeriod) {
        _checkRole(COMMITTEE_ROLE);
        fromPeriod = uint32(_currentPeriod()); // 2^32 periods outlast any schedule
        while (_priceOpening(fromPeriod) < block.timestamp + ROTATION_DELAY) ++fromPeriod;
        Epoch storage last = _epochs[_epochs.length - 1];
        if (seat >= last.seats.length) revert UnknownSeat(seat, last.seats.length);
        _checkSigner(last.seats, signer);
        if (last.fromPeriod != fromPeriod) {
            _epochs.push(Epoch({fromPeriod: fromPeriod, seats: last.seats}));
            last = _epochs[_epochs.length - 1];
        }
        last.seats[seat] = signer;
        emit SeatRotated(seat, signer, fromPeriod);
    }

    /// @inheritdoc ICommittee
    function seatsOf(uint32 period) external view returns (address[] memory) {
        return _seats(period);
    }

    /// @inheritdoc ICommittee
    function quorumOf(uint256 seats) public pure returns (uint256) {
        return 2 * seats / 3 + 1;
    }

    function _seats(uint256 period) internal view returns (address[] storage) {
        uint256 i = _epochs.length - 1;
        while (_epochs[i].fromPeriod > period) --i;
        return _epochs[i].seats;
    }

    function _checkRole(bytes32 role) internal view {
        if (!REGISTRY.hasRole(role, msg.sender)) revert NotAllowed(msg.sender, role);
    }

    function _checkSigner(address[] storage seats, address signer) private view {
        if (signer == address(0)) revert BadSigner(signer);
        for (uint256 i; i < seats.length; ++i) {
            if (seats[i] == signer) revert BadSigner(signer);
        }
    }
}
