// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// One order as `pairwise` meets it, with what it has traded so far, in one word of 232 bits:
/// limit 32 | buys 8 | place 24 | energy 40 | bus 16 | traded 40 | amount 72, limit in micro-yuan per kWh, energies in Wh,
/// amount in nano-yuan. Words ascend in merge order: `place` is the seq of a bid, and 2^24 - 1 - seq of an ask.
type Entry is uint256;

using EntryFields for Entry global;

/// @notice Reads an `Entry` and lets it trade.
library EntryFields {
    /// Bytes of an entry in a list, without what it trades.
    uint256 internal constant BYTES = 15;

    uint256 private constant WH = type(uint40).max;
    uint256 private constant AMOUNT_BITS = 72;

    /// @notice The entry of an order of the book, before it trades.
    function ofOrder(uint256 limit_, uint256 place, uint256 wh, uint256 bus_) internal pure returns (Entry) {
        return Entry.wrap((limit_ << 200) | (place << 168) | (wh << 128) | (bus_ << 112));
    }

    /// @notice The side and place of a bid.
    function placeOfBid(uint256 seq_) internal pure returns (uint256) {
        return (1 << 24) | seq_;
    }

    /// @notice The side and place of an ask.
    function placeOfAsk(uint256 seq_) internal pure returns (uint256) {
        return uint24(~seq_);
    }

    /// @notice The entry at an offset of a list, before it trades.
    function read(bytes calldata list, uint256 offset) internal pure returns (Entry e) {
        assembly ("memory-safe") {
            e := shl(112, shr(136, calldataload(add(list.offset, offset))))
        }
    }

    function limit(Entry e) internal pure returns (uint256) {
        return Entry.unwrap(e) >> 200;
    }

    function buys(Entry e) internal pure returns (bool) {
        return uint8(Entry.unwrap(e) >> 192) != 0;
    }

    function seq(Entry e) internal pure returns (uint256) {
        return e.buys() ? e.bidSeq() : e.askSeq();
    }

    /// @notice The seq of a bid.
    function bidSeq(Entry e) internal pure returns (uint256) {
        return uint24(Entry.unwrap(e) >> 168);
    }

    /// @notice The seq of an ask.
    function askSeq(Entry e) internal pure returns (uint256) {
        return uint24(~(Entry.unwrap(e) >> 168));
    }

    function energyWh(Entry e) internal pure returns (uint256) {
        return (Entry.unwrap(e) >> 128) & WH;
    }

    function bus(Entry e) internal pure returns (uint256) {
        return uint16(Entry.unwrap(e) >> 112);
    }

    /// @notice What has not traded yet, Wh.
    function leftWh(Entry e) internal pure returns (uint256) {
        unchecked {
            return e.energyWh() - ((Entry.unwrap(e) >> AMOUNT_BITS) & WH); // no more than what is left ever trades
        }
    }

    /// @notice Trades part of what is left. Never overflows: 2^40 Wh at 2^32 micro-yuan are 2^72 nano-yuan.
    function trade(Entry e, uint256 trades) internal pure returns (Entry) {
        unchecked {
            return Entry.wrap(Entry.unwrap(e) + trades);
        }
    }

    /// @notice Energy and its amount as they stand in an entry's low bits: traded 40 | amount 72.
    function packTrade(uint256 wh, uint256 price) internal pure returns (uint256) {
        unchecked {
            return (wh << AMOUNT_BITS) + wh * price; // 40 and 32 bits
        }
    }

    /// @notice The energy of packed trades, Wh.
    function tradedWh(uint256 trades) internal pure returns (uint256) {
        return trades >> AMOUNT_BITS;
    }

    /// @notice The amount of packed trades, nano-yuan.
    function amountNyuan(uint256 trades) internal pure returns (uint256) {
        return uint72(trades);
    }
}
