// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Who may trade
/// @notice The grid company admits members and answers for them; its powers are named roles held here, handed over in two
/// steps. Admission gives a node its id, counted from 1; id 0 is the grid company's own account.
/// @dev Roles: `ADMISSION_ROLE` admits and suspends, `TREASURY_ROLE` mints and handles the grid company's money,
/// `TARIFF_ROLE` publishes benchmarks, `COMMITTEE_ROLE` rotates oracle seats, `PAUSER_ROLE` pauses orders.
interface IRegistry {
    /// One admitted member, in one slot.
    /// @param account Who acts for the node and receives its withdrawals.
    /// @param bus Where the node is connected to the feeder.
    /// @param role What it may do: 1 generate, 2 consume, 4 store; bits add up (a prosumer is 3).
    /// @param suspended Whether it may not trade at the moment.
    /// @param importCapacityWh Most it can draw in a period, Wh.
    /// @param exportCapacityWh Most it can feed in in a period, Wh.
    struct Node {
        address account;
        uint16 bus;
        uint8 role;
        bool suspended;
        uint32 importCapacityWh;
        uint32 exportCapacityWh;
    }

    /// What admission needs to know.
    /// @param account See `Node`.
    /// @param meter The meter's public identifier, unique in the market.
    /// @param bus See `Node`.
    /// @param role See `Node`.
    /// @param importCapacityWh See `Node`.
    /// @param exportCapacityWh See `Node`.
    struct Admission {
        address account;
        bytes32 meter;
        uint16 bus;
        uint8 role;
        uint32 importCapacityWh;
        uint32 exportCapacityWh;
    }

    /// @notice A node was admitted; capacities in Wh per period.
    event Admitted(
        uint32 indexed node,
        address indexed account,
        bytes32 indexed meter,
        uint16 bus,
        uint8 role,
        uint32 importCapacityWh,
        uint32 exportCapacityWh
    );
    /// @notice A node was barred from trading; what it already traded still settles.
    event Suspended(uint32 indexed node, string reason);
    /// @notice A suspended node may trade again.
    event Reinstated(uint32 indexed node);

    /// @notice The account is the zero address.
    error NoAccount();
    /// @notice The meter identifier is empty.
    error NoMeter();
    /// @notice The meter already measures another node.
    error MeterTaken(bytes32 meter, uint32 node);
    /// @notice The role has no known bit, or unknown ones.
    error UnknownRole(uint8 role);
    /// @notice A suspension needs a reason.
    error NoReason(uint32 node);
    /// @notice No such node was admitted.
    error UnknownNode(uint32 node);

    /// @notice Admits members; ids are given in order. Only `ADMISSION_ROLE`.
    /// @return first The first id given.
    function admit(Admission[] calldata admissions) external returns (uint32 first);

    /// @notice Bars a node from trading. Only `ADMISSION_ROLE`.
    function suspend(uint32 node, string calldata reason) external;

    /// @notice Lets a suspended node trade again. Only `ADMISSION_ROLE`.
    function reinstate(uint32 node) external;

    /// @notice Stops new agreements and declarations, never withdrawals, clearing or settlement. Only `PAUSER_ROLE`.
    function pause() external;

    /// @notice Ends a pause. Only `PAUSER_ROLE`.
    function unpause() external;

    /// @notice The market's id: differs between chains, deployments and resets of a devnet.
    function market() external view returns (bytes32);

    /// @notice Number of admitted nodes, and so the highest id.
    function nodeCount() external view returns (uint32);

    /// @notice An admitted node. Reverts with `UnknownNode`.
    function nodeOf(uint32 node) external view returns (Node memory);

    /// @notice Nodes as they are stored, 0 where there is none: account 160 bits from the lowest, bus 16, role 8, suspended 8,
    /// import capacity 32, export capacity 32. Whether orders are stopped comes along, because who asks needs to know it too.
    function infoOf(uint32[] calldata nodes) external view returns (uint256[] memory words, bool isPaused);

    /// @notice The node a meter measures, 0 if none.
    function nodeOfMeter(bytes32 meter) external view returns (uint32);

    /// @notice The meter of a node, 0 if none.
    function meterOf(uint32 node) external view returns (bytes32);

    /// @notice Whether new agreements are stopped.
    function paused() external view returns (bool);

    /// @notice Whether an account holds a role (OpenZeppelin AccessControl).
    function hasRole(bytes32 role, address account) external view returns (bool);
}

// Who may do what for the grid company.

bytes32 constant ADMISSION_ROLE = keccak256("ADMISSION_ROLE");
bytes32 constant TREASURY_ROLE = keccak256("TREASURY_ROLE");
bytes32 constant TARIFF_ROLE = keccak256("TARIFF_ROLE");
bytes32 constant COMMITTEE_ROLE = keccak256("COMMITTEE_ROLE");
bytes32 constant PAUSER_ROLE = keccak256("PAUSER_ROLE");

// What a node may do; bits of `Node.role`.

uint8 constant GENERATOR = 1;
uint8 constant CONSUMER = 2;
uint8 constant STORAGE = 4;

// Where the fields of a node lie in its word, see `infoOf`; the account is the lowest 160 bits.

uint256 constant BUS_AT = 160;
uint256 constant ROLE_AT = 176;
uint256 constant SUSPENDED_AT = 184;
uint256 constant IMPORT_AT = 192;
uint256 constant EXPORT_AT = 224;
