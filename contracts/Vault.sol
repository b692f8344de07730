// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IMaster} from "./interfaces/IMaster.sol";
import {IRegistry, TREASURY_ROLE} from "./interfaces/IRegistry.sol";
import {IVault} from "./interfaces/IVault.sol";
import {Funds, FundsFields} from "./types/Funds.sol";
import {Transfer, TransferFields, transferAt} from "./types/Transfer.sol";

/// @title The only room that holds and moves money
/// @notice Documented in `IVault`.
contract Vault is IVault {
    using SafeERC20 for IERC20;

    /// What the grid company owes one node from one settlement: `amount` micro-yuan that are funded once its income has
    /// covered all earlier claims, that is, once `_funded` passes `from`.
    struct Claim {
        uint128 from;
        uint128 amount;
    }

    /// Where a node's account word lies.
    struct Cell {
        Funds funds;
    }

    /// Where a settlement takes its credits from: first what its own debits brought in, then the grid company's balance.
    struct Purse {
        uint256 transit;
        uint256 gridFree;
    }

    uint32 private constant GRID = 0;
    /// Bytes of an entry in `enter`.
    uint256 private constant ENTRY = 12;

    IERC20 private immutable TOKEN;
    IRegistry private immutable REGISTRY;
    address private immutable BOOK;
    IMaster private immutable MASTER;

    mapping(uint32 node => Cell) private _cells;
    /// Read only where the account's word tells of debt.
    mapping(uint32 node => uint256) private _debts;
    mapping(uint32 period => mapping(uint32 node => uint256)) private _held;
    mapping(uint32 period => uint256) private _transit;

    mapping(uint32 node => Claim[]) private _claims;
    mapping(uint32 node => uint256) private _nextClaim;
    // A net is below 2^67, so 2^60 unpaid credits could arise before these sums left 128 bits.
    uint128 private _arose;
    uint128 private _funded;
    uint256 private _collected;

    constructor(IERC20 token, IRegistry registry, address book, IMaster master) {
        TOKEN = token;
        REGISTRY = registry;
        BOOK = book;
        MASTER = master;
    }

    /// @inheritdoc IVault
    function deposit(uint32 node, uint256 amountUyuan) external {
        if (node > REGISTRY.nodeCount()) revert UnknownNode(node);
        TOKEN.safeTransferFrom(msg.sender, address(this), amountUyuan);
        emit Deposited(node, msg.sender, amountUyuan);
        _receive(node, amountUyuan);
    }

    /// @inheritdoc IVault
    function withdraw(uint32 node, uint256 amountUyuan) external {
        _checkAccount(node);
        uint256 free = _cells[node].funds.freeUyuan();
        if (amountUyuan > free) revert InsufficientFree(node, amountUyuan, free);
        uint256 margin = node == GRID ? 0 : MASTER.marginOf(node);
        if (amountUyuan + margin > free) revert MarginRequired(node, amountUyuan, free, margin);
        _setFree(node, free - amountUyuan);
        emit Withdrawn(node, msg.sender, amountUyuan);
        TOKEN.safeTransfer(msg.sender, amountUyuan);
    }

    /// @inheritdoc IVault
    function collect(uint32 node, uint256 most) external {
        Claim[] storage claims = _claims[node];
        uint256 next = _nextClaim[node];
        uint256 paid;
        for (; next < claims.length && most != 0; --most) {
            Claim storage claim = claims[next];
            if (_funded <= claim.from) break;
            uint256 payable_ = _min(claim.amount, _funded - claim.from);
            paid += payable_;
            if (payable_ != claim.amount) {
                // Both stay below 2^128: the sum of all claims does.
                (claim.from, claim.amount) = (claim.from + uint128(payable_), claim.amount - uint128(payable_));
                break;
            }
            ++next;
        }
        _nextClaim[node] = next;
        if (paid == 0) return;
        _collected += paid;
        emit ClaimPaid(node, paid);
        _receive(node, paid);
    }

    /// @inheritdoc IVault
    function lock(uint32 node, uint256 amountUyuan) external {
        if (msg.sender != BOOK) revert NotBook(msg.sender);
        Funds funds = _cells[node].funds;
        if (funds.hasDebt()) revert InDebt(node, _debts[node]);
        uint256 free = funds.freeUyuan();
        if (amountUyuan > free) revert InsufficientFree(node, amountUyuan, free);
        _cells[node].funds = funds.withAmounts(free - amountUyuan, funds.lockedUyuan() + amountUyuan, false);
    }

    /// @inheritdoc IVault
    function enter(uint32 period, uint32 openPeriod, bytes calldata locks) external returns (bytes memory outcomes) {
        if (msg.sender != BOOK) revert NotBook(msg.sender);
        if (period >= FundsFields.PERIODS || period < openPeriod || period - openPeriod >= FundsFields.SPAN) {
            revert OutsideWindow(period, openPeriod);
        }
        uint256 bit = 2 << (period - openPeriod);
        uint256 from;
        uint256 end;
        uint256 to;
        assembly ("memory-safe") {
            let count := div(locks.length, ENTRY)
            from := locks.offset
            end := add(from, mul(count, ENTRY))
            outcomes := mload(0x40)
            mstore(outcomes, 0x20)
            mstore(add(outcomes, 0x20), count)
            to := add(outcomes, 0x40)
        }
        while (from < end) {
            uint256 entry;
            assembly ("memory-safe") {
                entry := calldataload(from)
                from := add(from, ENTRY)
            }
            Cell storage cell = _cells[uint32(entry >> 224)];
            Funds funds = cell.funds.entering(openPeriod, bit, uint64(entry >> 160));
            if (Funds.unwrap(funds) != 0) {
                cell.funds = funds;
            } else {
                Outcome outcome = _enter(period, openPeriod, cell, uint64(entry >> 160));
                assembly ("memory-safe") {
                    mstore8(to, outcome)
                }
            }
            assembly ("memory-safe") {
                to := add(to, 1)
            }
        }
        // They are returned from where they were gathered; nothing was in the memory behind them, so they are padded.
        assembly ("memory-safe") {
            return(outcomes, and(add(sub(to, outcomes), 0x1f), not(0x1f)))
        }
    }

    /// @inheritdoc IVault
    function leave(uint32 period, uint32 openPeriod, uint32 node, uint64 amountUyuan) external {
        if (msg.sender != BOOK) revert NotBook(msg.sender);
        (Funds funds, uint256 bit) = _slid(period, openPeriod, _cells[node].funds);
        if (!funds.isLive(bit)) revert NotLive(node, period);
        _cells[node].funds = funds.flipped(bit).withAmounts(
            funds.freeUyuan(), funds.lockedUyuan() - amountUyuan, funds.hasDebt()
        );
        _receive(node, amountUyuan);
    }

    /// @inheritdoc IVault
    function settle(uint32 period, bytes calldata transfers, bool last) external {
        if (msg.sender != address(MASTER)) revert NotMaster(msg.sender);
        Purse memory purse = Purse({transit: _transit[period], gridFree: _cells[GRID].funds.freeUyuan()});
        _moveAll(period, transfers, purse, false);
        _moveAll(period, transfers, purse, true);
        if (last) (purse.transit, purse.gridFree) = (0, purse.gridFree + _fundClaims(purse.transit));
        _transit[period] = purse.transit;
        _setFree(GRID, purse.gridFree);
        emit Settled(period, transfers);
    }

    /// @inheritdoc IVault
    function accountOf(uint32 node) external view returns (Account memory) {
        return _load(node);
    }

    /// @inheritdoc IVault
    function debtOf(uint32 node) external view returns (uint256) {
        return _debts[node];
    }

    /// @inheritdoc IVault
    function isLive(uint32 period, uint32 node) external view returns (bool) {
        Funds funds = _cells[node].funds;
        uint256 base = funds.base();
        return period >= base && period - base < FundsFields.SPAN && funds.isLive(funds.bitOf(period));
    }

    /// @inheritdoc IVault
    function claimsOf(uint32 node) external view returns (uint256 sum) {
        Claim[] storage claims = _claims[node];
        for (uint256 i = _nextClaim[node]; i < claims.length; ++i) {
            sum += claims[i].amount;
        }
    }

    /// @inheritdoc IVault
    function heldOf(uint32 period, uint32 node) external view returns (uint256) {
        return _held[period][node];
    }

    /// @inheritdoc IVault
    function transitOf(uint32 period) external view returns (uint256) {
        return _transit[period];
    }

    /// @inheritdoc IVault
    function claimTotals() external view returns (uint256 arose, uint256 funded, uint256 collected) {
        return (_arose, _funded, _collected);
    }

    /// @dev Brings one order in that `Funds.entering` did not, or says why not.
    function _enter(uint256 period, uint256 openPeriod, Cell storage cell, uint256 amountUyuan) private returns (Outcome) {
        (Funds funds, uint256 bit) = _slid(period, openPeriod, cell.funds);
        if (funds.hasDebt()) return Outcome.InDebt;
        if (funds.isLive(bit)) return Outcome.AlreadyLive;
        uint256 free = funds.freeUyuan();
        if (amountUyuan > free) return Outcome.InsufficientFree;
        cell.funds = funds.flipped(bit).withAmounts(free - amountUyuan, funds.lockedUyuan() + amountUyuan, false);
        return Outcome.Entered;
    }

    /// @dev A node's word with its window where the first open period is, and the bit of a period in it.
    function _slid(uint256 period, uint256 openPeriod, Funds unslid) private pure returns (Funds funds, uint256 bit) {
        funds = unslid.slidTo(openPeriod);
        uint256 base = funds.base();
        unchecked {
            // A period before the base is far behind any window.
            if (period - base >= FundsFields.SPAN) revert OutsideWindow(uint32(period), uint32(base)); // given with 32 bits
            bit = 2 << (period - base);
        }
    }

    /// @dev Moves the credits of a call, or its debits. Commonly a node has no debt, nothing held, and enough for what it pays,
    /// so that releasing its lock and adding its net is all there is to do.
    function _moveAll(uint32 period, bytes calldata transfers, Purse memory purse, bool credits) private {
        unchecked {
            // Offsets stay below the length and one record, amounts within the supply.
            for (uint256 i; i < transfers.length; i += TransferFields.RECORD) {
                Transfer t = transferAt(transfers, i);
                int256 net = t.netUyuan();
                if ((net >= 0) != credits) continue;
                Cell storage cell = _cells[t.node()];
                Funds funds = cell.funds;
                uint256 free = funds.freeUyuan() + t.releaseUyuan() + uint256(net);
                uint256 locked = funds.lockedUyuan() - t.releaseUyuan();
                // An amount that went below zero has bits above the 64 of its field; one test for all is cheaper than four.
                bool common = ((free | locked) >> 64) | t.flags() | funds.debtBit() == 0;
                if (!common || (credits && uint256(net) > purse.transit + purse.gridFree)) {
                    _move(period, t, purse);
                    continue;
                }
                cell.funds = funds.withAmounts(free, locked, false);
                if (credits) _pay(purse, uint256(net));
                else purse.transit -= uint256(net);
            }
        }
    }

    /// @dev Settles one node against the purse, whatever the case.
    function _move(uint32 period, Transfer transfer, Purse memory purse) private {
        uint32 node = transfer.node();
        int256 net = transfer.netUyuan();
        Account memory account = _load(node);

        uint256 released = transfer.releaseUyuan();
        if (transfer.wasHeld()) {
            released += _held[period][node];
            delete _held[period][node];
        }
        uint256 free = account.freeUyuan + released;
        uint256 locked = account.lockedUyuan - released;

        if (net < 0) {
            uint256 due = uint256(-net);
            uint256 paid = _min(due, free);
            free -= paid;
            purse.transit += paid;
            if (paid != due) {
                account.debtUyuan += uint96(due - paid); // a net is below 2^67, so 2^29 of them would fit
                emit DebtIncurred(node, due - paid);
            }
        } else if (net > 0) {
            uint256 credit = uint256(net);
            credit -= _repay(node, account, credit);
            uint256 paid = _pay(purse, credit);
            free += paid;
            if (paid != credit) _owe(node, credit - paid);
        }

        uint256 repaid = _repay(node, account, free);
        free -= repaid;
        purse.transit += repaid;

        if (transfer.hold()) {
            int256 pot = int256(released) + net;
            uint256 hold = pot > 0 ? _min(free, uint256(pot)) : 0;
            if (hold != 0) {
                free -= hold;
                locked += hold;
                _held[period][node] = hold;
            }
        }
        _save(node, account, free, locked);
    }

    /// @dev Takes as much of a credit from the purse as there is.
    function _pay(Purse memory purse, uint256 creditUyuan) private pure returns (uint256 paid) {
        uint256 fromTransit = _min(creditUyuan, purse.transit);
        uint256 fromGrid = _min(creditUyuan - fromTransit, purse.gridFree);
        purse.transit -= fromTransit;
        purse.gridFree -= fromGrid;
        return fromTransit + fromGrid;
    }

    /// @dev Books tokens that reached the vault, or left its claims or a lock, for a node: debt is repaid first.
    function _receive(uint32 node, uint256 amountUyuan) private {
        if (node == GRID) {
            _gridReceives(amountUyuan);
            return;
        }
        Account memory account = _load(node);
        uint256 repaid = _repay(node, account, amountUyuan);
        if (repaid != 0) _gridReceives(repaid);
        _save(node, account, account.freeUyuan + amountUyuan - repaid, account.lockedUyuan);
    }

    function _gridReceives(uint256 amountUyuan) private {
        _setFree(GRID, _cells[GRID].funds.freeUyuan() + _fundClaims(amountUyuan));
    }

    function _load(uint32 node) private view returns (Account memory) {
        Funds funds = _cells[node].funds;
        // The fields' own widths; a debt is kept as it was stored.
        return Account({
            freeUyuan: uint64(funds.freeUyuan()),
            lockedUyuan: uint64(funds.lockedUyuan()),
            debtUyuan: funds.hasDebt() ? uint96(_debts[node]) : 0
        });
    }

    /// @dev Writes a node's amounts and its account's debt. Every balance is part of the token's supply, which fits 64 bits.
    function _save(uint32 node, Account memory account, uint256 free, uint256 locked) private {
        Funds funds = _cells[node].funds;
        bool debt = account.debtUyuan != 0;
        if (debt || funds.hasDebt()) _debts[node] = account.debtUyuan;
        _cells[node].funds = funds.withAmounts(free, locked, debt);
    }

    /// @dev Writes a free balance, part of the token's supply, which fits 64 bits.
    function _setFree(uint32 node, uint256 free) private {
        Funds funds = _cells[node].funds;
        _cells[node].funds = funds.withAmounts(free, funds.lockedUyuan(), funds.hasDebt());
    }

    /// @dev Writes off as much debt of an account in memory as an amount covers; returns how much.
    function _repay(uint32 node, Account memory account, uint256 amountUyuan) private returns (uint256 repaid) {
        repaid = _min(amountUyuan, account.debtUyuan);
        if (repaid == 0) return 0;
        account.debtUyuan -= uint96(repaid); // at most the debt
        emit DebtRepaid(node, repaid);
    }

    function _owe(uint32 node, uint256 amountUyuan) private {
        _claims[node].push(Claim({from: _arose, amount: uint128(amountUyuan)}));
        _arose += uint128(amountUyuan);
        emit ClaimArose(node, amountUyuan);
    }

    /// @dev Sets the grid company's income aside for open claims; returns what is left for its free balance.
    function _fundClaims(uint256 amountUyuan) private returns (uint256) {
        uint256 open = _arose - _funded;
        if (open == 0) return amountUyuan;
        uint256 set = _min(open, amountUyuan);
        _funded += uint128(set);
        return amountUyuan - set;
    }

    function _checkAccount(uint32 node) private view {
        bool acts = node == GRID
            ? REGISTRY.hasRole(TREASURY_ROLE, msg.sender)
            : REGISTRY.nodeOf(node).account == msg.sender;
        if (!acts) revert NotAccount(node, msg.sender);
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
