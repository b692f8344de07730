// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What the market may use of every line
/// @notice The committee fixes by quorum, before a period's gate, what its lines have left beside the base load. Proposals cover
/// 1 to 96 consecutive periods, open and go round with the price proposals of the first of them, and end at its gate. Without a
/// quorum the static limits hold (SPEC section 10).
interface IHeadrooms {
    /// @notice The primary proposed headrooms for a range of periods; their bytes are in `IGrid`.
    event HeadroomProposed(
        uint32 indexed fromPeriod, uint32 round, uint8 indexed proposer, bytes32 digest, bytes[] headrooms
    );
    /// @notice A period's headroom is final; `hash` is that of its bytes, shortened.
    event HeadroomFixed(uint32 indexed period, bytes28 hash);

    /// @notice Proposes headrooms for consecutive periods. Only the primary of the running round.
    function proposeHeadroom(uint32 fromPeriod, bytes[] calldata headrooms) external;

    /// @notice Writes down headrooms a quorum accepted. Anyone may; periods whose gate has closed, or that have a headroom, stay
    /// as they are.
    /// @param fromPeriod The first period.
    /// @param hashes keccak256 of the bytes of each.
    function fixHeadroom(uint32 fromPeriod, bytes32[] calldata hashes) external;

    /// @notice First 28 bytes of keccak256 of a period's headroom; 0 if the static limits hold, or if the period is long over.
    function headroomOf(uint32 period) external view returns (bytes28);
}
