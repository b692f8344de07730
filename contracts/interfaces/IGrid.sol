// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The feeder and what its lines may carry
/// @notice A tree of buses: bus 0 is the root, line v joins bus v to its parent, which has a lower number. A line has a limit
/// towards the root (up) and one away from it (down), in Wh of a period. Three things bound it, each below the one before:
/// the static limit of the table, the headroom the committee fixed for the period, and the derates of its votes (SPEC section 10).
/// @dev `lines` are 10 bytes per bus, from bus 0: parent 2, up 4, down 4; those of bus 0 are zero. A `headroom` is 8 bytes per
/// bus, from bus 1: up 4, down 4. A market without wires has the table of one bus.
interface IGrid {
    /// @notice The committee lowered a line's limit for the rest of a period.
    event Derated(uint32 indexed period, uint16 indexed line, bool up, uint32 limitWh);

    /// @notice The table is no sequence of whole records with parents first and an empty record for bus 0.
    error MalformedTable(uint256 bus);
    /// @notice Only the oracle lowers limits.
    error NotOracle(address caller);
    /// @notice The headroom is not the one fixed for the period; `expected` is its hash, 0 if the static limits hold and the
    /// headroom must be empty.
    error WrongHeadroom(uint32 period, bytes28 expected);
    /// @notice A headroom has 8 bytes for every line.
    error HeadroomSize(uint256 given, uint256 expected);
    /// @notice A headroom never exceeds the static limit.
    error HeadroomAboveLimit(uint16 line, bool up, uint32 headroomWh, uint32 limitWh);
    /// @notice No such line.
    error UnknownLine(uint16 line, uint256 lines);

    /// @notice Lowers a line's limit for one period. Only the oracle.
    function derate(uint32 period, uint16 line, bool up, uint32 limitWh) external;

    /// @notice What the lines may carry in a period.
    /// @param period The period.
    /// @param headroom The bytes of the headroom fixed for it, empty if there is none.
    /// @return lines 10 bytes per bus.
    function linesOf(uint32 period, bytes calldata headroom) external view returns (bytes memory lines);

    /// @notice What one line may carry in one direction, Wh; `headroom` as in `linesOf`.
    function limitOf(uint32 period, uint16 line, bool up, bytes calldata headroom) external view returns (uint32 limitWh);

    /// @notice Reverts unless every headroom has the right size and exceeds no static limit.
    function checkHeadrooms(bytes[] calldata headrooms) external view;

    /// @notice The table as deployed, 10 bytes per bus.
    function table() external view returns (bytes memory);

    /// @notice Number of buses, the root included.
    function busCount() external view returns (uint256);
}
