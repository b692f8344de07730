// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Proposal, SeatVote, Topic} from "../interfaces/IBallots.sol";
import {IClearings, SeatObjection} from "../interfaces/IClearings.sol";
import {IClearingVote} from "../interfaces/IClearingVote.sol";
import {Ballots} from "./Ballots.sol";
import {Headrooms} from "./Headrooms.sol";

/// @title The vote on a clearing
/// @notice Documented in `IClearings`.
abstract contract Clearings is IClearings, Headrooms {
    bytes32 private constant OBJECTION_TYPEHASH = keccak256(
        "Objection(bytes32 market,uint32 period,uint16 attempt,bytes32 root,uint16 line,bool up,uint32 limitWh)"
    );

    IClearingVote private immutable MASTER;

    /// Words of seats on the clearings under vote: period 32 | attempt 16 | yes 32 | no 32.
    mapping(uint256 slot => uint256) private _tallies;
    /// Period 32 | attempt 16 | line 16 | up 8 | limit 32.
    mapping(uint256 slot => mapping(uint256 seat => uint256)) private _objections;

    constructor(IClearingVote master) {
        MASTER = master;
    }

    /// @inheritdoc IClearings
    function object(Proposal calldata p, SeatObjection[] calldata objections, bytes calldata headroom) external {
        (Ballot memory tally, bool over) = _tallyOf(p);
        if (over) return;
        address[] storage seats = _seats(p.period);
        for (uint256 i; i < objections.length; ++i) {
            _countObjection(tally, seats, p, objections[i], headroom);
        }
        _keep(p, tally);
        uint256 needed = seats.length - quorumOf(seats.length) + 1;
        for (uint256 i; i < objections.length; ++i) {
            (bool binds, uint32 limitWh) = _bindingLimit(p, tally.no, objections[i].line, objections[i].up, needed);
            if (!binds) continue;
            GRID.derate(p.period, objections[i].line, objections[i].up, limitWh);
            MASTER.reopen(p.period);
            return;
        }
    }

    /// @inheritdoc IClearings
    function objectionOf(uint32 period, uint16 attempt, uint8 seat)
        public
        view
        returns (uint16 line, bool up, uint32 limitWh)
    {
        uint256 word = _objections[_ringSlot(period)][seat];
        if (word >> 56 != _tag(period, attempt)) return (0, false, 0);
        return (uint16(word >> 40), uint8(word >> 32) != 0, uint32(word));
    }

    /// @inheritdoc Ballots
    function _voteOnClearing(Proposal calldata p, SeatVote[] calldata votes) internal override {
        (Ballot memory tally, bool over) = _tallyOf(p);
        if (over) return;
        address[] storage seats = _seats(p.period);
        for (uint256 i; i < votes.length; ++i) {
            if (!votes[i].support) revert OpposedWithoutALine(votes[i].seat);
            _count(tally, seats, p, votes[i]);
        }
        _keep(p, tally);
        if (_popcount(tally.yes) < quorumOf(seats.length)) return;
        emit Accepted(Topic.Clearing, p.period, p.version, 0, p.digest);
        _nameDissenters(p, tally.no);
        MASTER.authenticate(p.period, p.version);
    }

    /// @inheritdoc Ballots
    function _ballotOnClearing(uint32 period, uint16 attempt, uint32 round)
        internal
        view
        override
        returns (bytes32 digest, uint32 yes, uint32 no, bool accepted)
    {
        (uint16 current, bytes32 root, bool decided) = MASTER.clearingOf(period);
        if (attempt != current || round != 0) return (0, 0, 0, false);
        (yes, no) = _wordsOf(period, attempt);
        return (root, yes, no, decided);
    }

    /// @dev The words on a clearing so far, or that nothing more can be decided on it.
    function _tallyOf(Proposal calldata p) private view returns (Ballot memory tally, bool over) {
        if (block.timestamp >= _start(p.period)) revert TooLate(p.period, _start(p.period));
        (uint16 attempt, bytes32 root, bool decided) = MASTER.clearingOf(p.period);
        if (decided || p.version < attempt) return (tally, true);
        bool known = p.topic == Topic.Clearing && p.version == attempt && p.round == 0;
        if (!known || root == 0 || p.digest != root) {
            revert UnknownProposal(p.period, p.version, p.round, p.digest);
        }
        (tally.yes, tally.no) = _wordsOf(p.period, attempt);
    }

    function _wordsOf(uint32 period, uint16 attempt) private view returns (uint32 yes, uint32 no) {
        uint256 word = _tallies[_ringSlot(period)];
        if (word >> 64 == _tag(period, attempt)) (yes, no) = (uint32(word >> 32), uint32(word));
    }

    function _keep(Proposal calldata p, Ballot memory tally) private {
        uint256 tag = _tag(p.period, p.version);
        _tallies[_ringSlot(p.period)] = tag << 64 | uint256(tally.yes) << 32 | tally.no;
    }

    function _countObjection(
        Ballot memory tally,
        address[] storage seats,
        Proposal calldata p,
        SeatObjection calldata o,
        bytes calldata headroom
    ) private {
        bytes32 digest = _hashTypedDataV4(
            keccak256(
                abi.encode(OBJECTION_TYPEHASH, MARKET, p.period, p.version, p.digest, o.line, o.up, o.limitWh)
            )
        );
        address signer = _checkSignature(seats, o.seat, digest, o.signature);
        uint32 bit = uint32(1 << o.seat);
        if ((tally.yes | tally.no) & bit != 0) {
            (uint16 line, bool up, uint32 limitWh) = objectionOf(p.period, p.version, o.seat);
            bool same = line == o.line && up == o.up && limitWh == o.limitWh;
            if (!same) emit Equivocated(Topic.Clearing, p.period, p.version, 0, o.seat, signer);
            return;
        }
        uint32 heldWh = GRID.limitOf(p.period, o.line, o.up, headroom);
        if (o.limitWh >= heldWh) revert NothingLowered(o.seat, o.limitWh, heldWh);
        tally.no |= bit;
        uint256 word = _tag(p.period, p.version) << 56 | uint256(o.line) << 40 | o.limitWh;
        _objections[_ringSlot(p.period)][o.seat] = o.up ? word | 1 << 32 : word;
        emit Objected(p.period, p.version, o.seat, o.line, o.up, o.limitWh);
    }

    /// @dev The lowest limit that `needed` objections to a line are content with, if there are as many.
    function _bindingLimit(Proposal calldata p, uint32 no, uint16 line, bool up, uint256 needed)
        private
        view
        returns (bool binds, uint32 limitWh)
    {
        uint32[] memory limits = new uint32[](_popcount(no));
        uint256 count;
        for (uint8 seat; no != 0; (++seat, no >>= 1)) {
            if (no & 1 == 0) continue;
            (uint16 named, bool namedUp, uint32 namedWh) = objectionOf(p.period, p.version, seat);
            if (named == line && namedUp == up) limits[count++] = namedWh;
        }
        limitWh = type(uint32).max;
        for (uint256 i; i < count; ++i) {
            uint256 content;
            for (uint256 j; j < count; ++j) {
                if (limits[j] <= limits[i]) ++content;
            }
            if (content >= needed && limits[i] <= limitWh) (binds, limitWh) = (true, limits[i]);
        }
    }

    function _tag(uint32 period, uint16 attempt) private pure returns (uint256) {
        return uint256(period) << 16 | attempt;
    }
}
