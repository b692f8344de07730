// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// What the committee votes on.
enum Topic {
    Prices,
    Report,
    Headroom,
    Clearing
}

/// Names one proposal.
/// @param topic What is decided.
/// @param period The period it is for; for prices and headroom, the first of the range.
/// @param version Version of the report, attempt of the clearing; 0 for prices and headroom.
/// @param round Round the proposal was made in; 0 for clearings.
/// @param digest What exactly is proposed.
struct Proposal {
    Topic topic;
    uint32 period;
    uint16 version;
    uint32 round;
    bytes32 digest;
}

/// One seat's signed word on a proposal.
/// @param seat Index of the seat in the period's committee.
/// @param support For or against.
/// @param signature EIP-712 signature of `Vote`, 65 bytes.
struct SeatVote {
    uint8 seat;
    bool support;
    bytes signature;
}

/// @title One quorum for everything the chain cannot see
/// @notice The primary of a round proposes, the seats vote by signature, singly or bundled, relayed by anyone. The first
/// proposal to gather strictly more than two thirds wins, in whatever round it was made (SPEC section 4).
interface IBallots {
    /// @notice A seat's vote counted.
    event Voted(
        Topic indexed topic, uint32 indexed period, uint16 version, uint32 round, uint8 indexed seat, bool support
    );
    /// @notice A proposal gathered its quorum.
    event Accepted(Topic indexed topic, uint32 indexed period, uint16 version, uint32 round, bytes32 digest);
    /// @notice A seat had opposed what the quorum accepted.
    event Dissented(Topic indexed topic, uint32 indexed period, uint16 version, uint32 round, uint8 indexed seat);
    /// @notice So many seats opposed that the proposal cannot win; its proposer is named.
    event ProposalRejected(
        Topic indexed topic, uint32 indexed period, uint16 version, uint32 round, uint8 indexed proposer, bytes32 digest
    );
    /// @notice A seat signed two different votes in one round.
    event Equivocated(
        Topic indexed topic, uint32 indexed period, uint16 version, uint32 round, uint8 indexed seat, address signer
    );

    /// @notice Only the primary of the running round proposes.
    error NotPrimary(address caller, uint8 primarySeat, address primary);
    /// @notice The primary has proposed in this round already.
    error AlreadyProposed(uint32 period, uint16 version, uint32 round);
    /// @notice A proposal of prices or headroom covers 1 to 96 periods.
    error RangeOutOfBounds(uint256 periods);
    /// @notice The quorum has not accepted this for the periods from `fromPeriod` on.
    error NotAccepted(uint32 fromPeriod, bytes32 digest);
    /// @notice No such proposal was made in that round.
    error UnknownProposal(uint32 period, uint16 version, uint32 round, bytes32 digest);
    /// @notice The signature is not the seat's.
    error BadVote(uint8 seat, address expected);
    /// @notice The two votes do not contradict each other.
    error NoContradiction();
    /// @notice Proposals of this kind for this period open later.
    error TooEarly(uint32 period, uint256 opensAt);
    /// @notice Nothing more can be decided for this period.
    error TooLate(uint32 period, uint256 closedAt);

    /// @notice Counts votes on a proposal. Votes already counted, or on something already decided, change nothing.
    function vote(Proposal calldata proposal, SeatVote[] calldata votes) external;

    /// @notice Files two contradicting votes of one seat in one round. Anyone may.
    function fileEvidence(
        Proposal calldata first,
        SeatVote calldata firstVote,
        Proposal calldata second,
        SeatVote calldata secondVote
    ) external;

    /// @notice How a round stands.
    /// @return digest What was proposed, 0 if nothing.
    /// @return yes Seats in favour, as bits.
    /// @return no Seats against, as bits.
    /// @return accepted Whether it won.
    function ballotOf(Topic topic, uint32 period, uint16 version, uint32 round)
        external
        view
        returns (bytes32 digest, uint32 yes, uint32 no, bool accepted);

    /// @notice The EIP-712 digest a seat signs to vote.
    function voteDigest(Proposal calldata proposal, bool support) external view returns (bytes32);
}
