// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The only room that holds and moves money
/// @notice Keeps every node's balance; node 0 is the grid company. Only a deposit or a withdrawal changes the sum of all
/// balances; locking and settling move money inside (SPEC section 7). All amounts in micro-yuan.
/// @dev The token is the market's own, so its transfers neither call back nor take a cut. For every node,
/// `free + locked + claims - debt` changes by exactly the net of a settlement.
interface IVault {
    /// One node's balance.
    /// @param freeUyuan May be withdrawn (but for the margin) or locked.
    /// @param lockedUyuan Secures positions, or is held while a meter is unread.
    /// @param debtUyuan What the node owes the grid company.
    struct Account {
        uint64 freeUyuan;
        uint64 lockedUyuan;
        uint96 debtUyuan;
    }

    /// How an order fared in `enter`.
    enum Outcome {
        Entered,
        AlreadyLive,
        InDebt,
        InsufficientFree
    }

    /// @notice Tokens came in for a node.
    event Deposited(uint32 indexed node, address indexed from, uint256 amountUyuan);
    /// @notice Tokens went out to a node's account.
    event Withdrawn(uint32 indexed node, address indexed to, uint256 amountUyuan);
    /// @notice A settlement moved money; `transfers` packs a 22-byte `Transfer` for every node.
    event Settled(uint32 indexed period, bytes transfers);
    /// @notice A node could not pay; it owes the grid company this much more.
    event DebtIncurred(uint32 indexed node, uint256 amountUyuan);
    /// @notice A node paid off part of its debt.
    event DebtRepaid(uint32 indexed node, uint256 amountUyuan);
    /// @notice The grid company could not pay a node; the claim is paid from what it receives next.
    event ClaimArose(uint32 indexed node, uint256 amountUyuan);
    /// @notice A funded claim became the node's free balance.
    event ClaimPaid(uint32 indexed node, uint256 amountUyuan);

    /// @notice Only the `Book` locks, and lets orders in and out.
    error NotBook(address caller);
    /// @notice Only the `Master` settles.
    error NotMaster(address caller);
    /// @notice The caller does not act for the node.
    error NotAccount(uint32 node, address caller);
    /// @notice No such node was admitted.
    error UnknownNode(uint32 node);
    /// @notice The free balance does not cover what is asked.
    error InsufficientFree(uint32 node, uint256 askedUyuan, uint256 freeUyuan);
    /// @notice The withdrawal would cut into the margin for unsettled periods; it shrinks as they settle.
    error MarginRequired(uint32 node, uint256 askedUyuan, uint256 freeUyuan, uint256 marginUyuan);
    /// @notice A node in debt cannot trade; a deposit repays it.
    error InDebt(uint32 node, uint256 debtUyuan);

    /// @notice The period is not among the 96 periods from the first open one on.
    error OutsideWindow(uint32 period, uint32 openPeriod);
    /// @notice No order of the node is live in the period.
    error NotLive(uint32 node, uint32 period);

    /// @notice Moves the caller's tokens into a node's balance; debt is repaid first. Anyone may deposit for any node.
    function deposit(uint32 node, uint256 amountUyuan) external;

    /// @notice Pays out free balance to the node's account (for node 0, to a holder of `TREASURY_ROLE`).
    function withdraw(uint32 node, uint256 amountUyuan) external;

    /// @notice Turns funded claims of a node into free balance. Anyone may call; `most` bounds the work.
    function collect(uint32 node, uint256 most) external;

    /// @notice Locks free balance behind a position. Only the `Book`.
    function lock(uint32 node, uint256 amountUyuan) external;

    /// @notice Lets orders of a period in, at most one of each node: locks what each needs. Only the `Book`.
    /// @param period The period, among the 96 periods from `openPeriod` on.
    /// @param openPeriod The first period whose gate is open; it never decreases from call to call.
    /// @param locks Of every order its node (4 bytes) and its lock (8 bytes, micro-yuan).
    /// @return outcomes Of every order an `Outcome` in one byte. Only what entered has changed anything.
    function enter(uint32 period, uint32 openPeriod, bytes calldata locks) external returns (bytes memory outcomes);

    /// @notice Takes an order out of a period again and releases its lock; debt is repaid first. Only the `Book`.
    /// @param period The period.
    /// @param openPeriod The first period whose gate is open.
    /// @param node The order's node.
    /// @param amountUyuan What the order had locked.
    function leave(uint32 period, uint32 openPeriod, uint32 node, uint64 amountUyuan) external;

    /// @notice Moves the money of a settlement, debits before credits. Never reverts for lack of money. Only the `Master`.
    /// @dev Credits are paid from what the settlement's debits brought in, kept apart until it ends, then by the grid company.
    /// @param period The period settled.
    /// @param transfers What moves, 22-byte `Transfer`s; a settlement may need several calls.
    /// @param last Whether this is the settlement's last call, after which what is left funds open claims.
    function settle(uint32 period, bytes calldata transfers, bool last) external;

    /// @notice A node's balance.
    function accountOf(uint32 node) external view returns (Account memory);

    /// @notice What a node owes the grid company.
    function debtOf(uint32 node) external view returns (uint256);

    /// @notice Whether an order of the node is live in a period. What is past slides out of sight with the node's next order.
    function isLive(uint32 period, uint32 node) external view returns (bool);

    /// @notice What the grid company owes a node: claims not collected yet.
    function claimsOf(uint32 node) external view returns (uint256);

    /// @notice Money of a period held because the node's meter is unread.
    function heldOf(uint32 period, uint32 node) external view returns (uint256);

    /// @notice What the debits of a settlement under way brought in and its credits have not used yet.
    function transitOf(uint32 period) external view returns (uint256);

    /// @notice Claims that ever arose, were funded by the grid company's income, and were collected.
    function claimTotals() external view returns (uint256 arose, uint256 funded, uint256 collected);
}
