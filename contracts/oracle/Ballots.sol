// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IBallots, Proposal, SeatVote, Topic} from "../interfaces/IBallots.sol";
import {Committee} from "./Committee.sol";

/// @title One quorum for everything the chain cannot see
/// @notice Documented in `IBallots`.
abstract contract Ballots is IBallots, Committee, EIP712 {
    struct Ballot {
        bytes32 digest;
        uint32 yes;
        uint32 no;
        uint8 proposer;
        bool accepted;
        bool rejected;
    }

    /// Most periods a proposal of prices or headroom covers.
    uint256 private constant MOST_PERIODS = 96;

    bytes32 private constant VOTE_TYPEHASH = keccak256(
        "Vote(bytes32 market,uint8 topic,uint32 period,uint16 version,uint32 round,bytes32 digest,bool support)"
    );

    bytes32 internal immutable MARKET;

    mapping(
        Topic => mapping(uint32 period => mapping(uint16 version => mapping(uint32 round => Ballot)))
    ) private _ballots;

    constructor() EIP712("Subgrid Oracle", "1") {
        MARKET = REGISTRY.market();
    }

    /// @inheritdoc IBallots
    function vote(Proposal calldata p, SeatVote[] calldata votes) external {
        if (p.topic == Topic.Clearing) return _voteOnClearing(p, votes);
        Ballot storage stored = _ballots[p.topic][p.period][p.version][p.round];
        Ballot memory ballot = stored;
        if (ballot.digest == 0 || ballot.digest != p.digest) {
            revert UnknownProposal(p.period, p.version, p.round, p.digest);
        }
        _checkVotable(p);
        if (ballot.accepted || _isDecided(p)) return;

        address[] storage seats = _seats(p.period);
        for (uint256 i; i < votes.length; ++i) {
            _count(ballot, seats, p, votes[i]);
        }
        uint256 quorum = quorumOf(seats.length);
        if (_popcount(ballot.yes) >= quorum) {
            ballot.accepted = true;
            emit Accepted(p.topic, p.period, p.version, p.round, p.digest);
            _nameDissenters(p, ballot.no);
            _accept(p);
        } else if (!ballot.rejected && _popcount(ballot.no) > seats.length - quorum) {
            ballot.rejected = true;
            emit ProposalRejected(p.topic, p.period, p.version, p.round, ballot.proposer, p.digest);
        }
        (stored.yes, stored.no) = (ballot.yes, ballot.no);
        (stored.accepted, stored.rejected) = (ballot.accepted, ballot.rejected);
    }

    /// @inheritdoc IBallots
    function fileEvidence(
        Proposal calldata first,
        SeatVote calldata firstVote,
        Proposal calldata second,
        SeatVote calldata secondVote
    ) external {
        bool sameRound = first.topic == second.topic && first.period == second.period
            && first.version == second.version && first.round == second.round && firstVote.seat == secondVote.seat;
        bool sameWord = first.digest == second.digest && firstVote.support == secondVote.support;
        if (!sameRound || sameWord) revert NoContradiction();
        address[] storage seats = _seats(first.period);
        address signer = _checkVote(seats, first, firstVote);
        _checkVote(seats, second, secondVote);
        emit Equivocated(first.topic, first.period, first.version, first.round, firstVote.seat, signer);
    }

    /// @inheritdoc IBallots
    function ballotOf(Topic topic, uint32 period, uint16 version, uint32 round)
        external
        view
        returns (bytes32 digest, uint32 yes, uint32 no, bool accepted)
    {
        if (topic == Topic.Clearing) return _ballotOnClearing(period, version, round);
        Ballot storage b = _ballots[topic][period][version][round];
        return (b.digest, b.yes, b.no, b.accepted);
    }

    /// @inheritdoc IBallots
    function voteDigest(Proposal calldata p, bool support) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(VOTE_TYPEHASH, MARKET, uint8(p.topic), p.period, p.version, p.round, p.digest, support)
            )
        );
    }

    /// @dev Reverts if nothing can be decided on the proposal's period any more.
    function _checkVotable(Proposal calldata p) internal view virtual;

    /// @dev Whether another proposal has decided the matter.
    function _isDecided(Proposal calldata p) internal view virtual returns (bool);

    /// @dev Acts on an accepted proposal.
    function _accept(Proposal calldata p) internal virtual;

    /// @dev Counts votes on what the master has checked, which nobody had to propose.
    function _voteOnClearing(Proposal calldata p, SeatVote[] calldata votes) internal virtual;

    /// @dev How the vote on what the master has checked stands; see `ballotOf`.
    function _ballotOnClearing(uint32 period, uint16 attempt, uint32 round)
        internal
        view
        virtual
        returns (bytes32 digest, uint32 yes, uint32 no, bool accepted);

    /// @dev Reverts unless `periods` consecutive ones may be proposed for together, which ends at `closedAt`.
    function _checkRange(uint32 fromPeriod, uint256 periods, uint256 closedAt) internal view {
        if (periods == 0 || periods > MOST_PERIODS) revert RangeOutOfBounds(periods);
        uint32 last = fromPeriod + uint32(periods) - 1; // at most 96 more
        if (block.timestamp < _priceOpening(last)) revert TooEarly(last, _priceOpening(last));
        if (block.timestamp >= closedAt) revert TooLate(fromPeriod, closedAt);
    }

    /// @dev Opens the ballot of the running round for its primary's proposal.
    /// @param opening When round 0 began.
    function _open(Topic topic, uint32 period, uint16 version, uint256 opening, bytes32 digest)
        internal
        returns (uint32 round, uint8 proposer)
    {
        round = uint32(_roundSince(opening)); // a window holds fewer than 2^32 rounds
        address[] storage seats = _seats(period);
        proposer = uint8((uint256(period) + round) % seats.length); // below 32
        if (msg.sender != seats[proposer]) revert NotPrimary(msg.sender, proposer, seats[proposer]);
        Ballot storage ballot = _ballots[topic][period][version][round];
        if (ballot.digest != 0) revert AlreadyProposed(period, version, round);
        ballot.digest = digest;
        ballot.proposer = proposer;
    }

    /// @dev Adds one vote to a ballot in memory.
    function _count(Ballot memory ballot, address[] storage seats, Proposal calldata p, SeatVote calldata v) internal {
        address signer = _checkVote(seats, p, v);
        uint32 bit = uint32(1 << v.seat);
        bool counted = (ballot.yes | ballot.no) & bit != 0;
        if (counted) {
            bool supported = ballot.yes & bit != 0;
            if (supported != v.support) emit Equivocated(p.topic, p.period, p.version, p.round, v.seat, signer);
            return;
        }
        if (v.support) ballot.yes |= bit;
        else ballot.no |= bit;
        emit Voted(p.topic, p.period, p.version, p.round, v.seat, v.support);
    }

    function _checkVote(address[] storage seats, Proposal calldata p, SeatVote calldata v)
        private
        view
        returns (address signer)
    {
        return _checkSignature(seats, v.seat, voteDigest(p, v.support), v.signature);
    }

    function _checkSignature(address[] storage seats, uint8 seat, bytes32 digest, bytes calldata signature)
        internal
        view
        returns (address signer)
    {
        if (seat >= seats.length) revert UnknownSeat(seat, seats.length);
        ECDSA.RecoverError wrong;
        (signer, wrong,) = ECDSA.tryRecover(digest, signature);
        if (wrong != ECDSA.RecoverError.NoError || signer != seats[seat]) revert BadVote(seat, seats[seat]);
    }

    function _nameDissenters(Proposal calldata p, uint32 no) internal {
        for (uint8 seat; no != 0; (++seat, no >>= 1)) {
            if (no & 1 != 0) emit Dissented(p.topic, p.period, p.version, p.round, seat);
        }
    }

    function _popcount(uint32 bits) internal pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) ++count;
    }
}
