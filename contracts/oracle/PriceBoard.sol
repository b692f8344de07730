// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Topic} from "../interfaces/IBallots.sol";
import {IPriceBoard} from "../interfaces/IPriceBoard.sol";
import {TARIFF_ROLE} from "../interfaces/IRegistry.sol";
import {Limits, Prices, PriceSource} from "../types/Types.sol";
import {Ballots} from "./Ballots.sol";

/// @title The prices of every period
/// @notice Documented in `IPriceBoard`.
abstract contract PriceBoard is IPriceBoard, Ballots {
    struct Benchmark {
        uint32 fromPeriod;
        Prices prices;
    }

    /// All clamp flags that exist.
    uint8 private constant ALL_CLAMPED = 7;

    uint32 private immutable PRICE_CAP;
    uint32 private immutable FEE_CAP;
    uint32 private immutable TRADE_FLOOR;
    uint32 private immutable TRADE_CEILING;

    Benchmark[] private _benchmarks;
    mapping(uint32 period => Prices) private _fixed;
    mapping(uint32 fromPeriod => bytes32 digest) private _accepted;

    constructor(Limits memory l, Prices memory benchmark) {
        if (l.tradeFloor > l.tradeCeiling || l.tradeCeiling > l.priceCap) revert BadLimits(l);
        (PRICE_CAP, FEE_CAP) = (l.priceCap, l.feeCap);
        (TRADE_FLOOR, TRADE_CEILING) = (l.tradeFloor, l.tradeCeiling);
        _checkOrder(benchmark, l);
        _pushBenchmark(0, benchmark);
    }

    /// @inheritdoc IPriceBoard
    function setBenchmark(uint32 fromPeriod, Prices calldata prices) external {
        _checkRole(TARIFF_ROLE);
        _checkOrder(prices, limits());
        uint256 opensAt = _priceOpening(fromPeriod);
        if (opensAt <= block.timestamp) revert BenchmarkTooLate(fromPeriod, opensAt);
        // Later benchmarks have not begun either, so the new one may take their place.
        while (_benchmarks[_benchmarks.length - 1].fromPeriod >= fromPeriod) _benchmarks.pop();
        _pushBenchmark(fromPeriod, prices);
    }

    /// @inheritdoc IPriceBoard
    function proposePrices(uint32 fromPeriod, Prices[] calldata prices) external {
        _checkRange(fromPeriod, prices.length, _priceDeadline(fromPeriod));
        Limits memory l = limits();
        for (uint32 i; i < prices.length; ++i) {
            _checkOrder(prices[i], l);
            Prices memory b = benchmarkOf(fromPeriod + i);
            if (prices[i].feedIn != b.feedIn || prices[i].retail != b.retail || prices[i].fee != b.fee) {
                revert NotTheBenchmark(fromPeriod + i, prices[i], b);
            }
        }
        bytes32 digest = keccak256(abi.encode(prices));
        (uint32 round, uint8 proposer) = _open(Topic.Prices, fromPeriod, 0, _priceOpening(fromPeriod), digest);
        emit PricesProposed(fromPeriod, round, proposer, digest, prices);
    }

    /// @inheritdoc IPriceBoard
    function fixPrices(uint32 fromPeriod, Prices[] calldata prices) external {
        bytes32 digest = keccak256(abi.encode(prices));
        if (_accepted[fromPeriod] != digest) revert NotAccepted(fromPeriod, digest);
        for (uint32 i; i < prices.length; ++i) {
            uint32 period = fromPeriod + i;
            if (block.timestamp >= _priceDeadline(period) || _fixed[period].source != PriceSource.None) continue;
            Prices memory p = prices[i];
            p.source = PriceSource.Committee;
            _fixed[period] = p;
            emit PricesFixed(period, p);
        }
    }

    /// @inheritdoc IPriceBoard
    function pricesOf(uint32 period) public view returns (Prices memory) {
        Prices memory p = _fixed[period];
        if (p.source != PriceSource.None) return p;
        if (block.timestamp < _priceDeadline(period)) revert PricesNotFixed(period, _priceDeadline(period));
        return benchmarkOf(period);
    }

    /// @inheritdoc IPriceBoard
    function benchmarkOf(uint32 period) public view returns (Prices memory) {
        // Halves the span [low, high) until low is the last benchmark that begins no later than the period.
        (uint256 low, uint256 high) = (0, _benchmarks.length);
        while (high - low > 1) {
            uint256 middle = (low + high) / 2;
            if (_benchmarks[middle].fromPeriod <= period) low = middle;
            else high = middle;
        }
        return _benchmarks[low].prices;
    }

    /// @inheritdoc IPriceBoard
    function limits() public view returns (Limits memory) {
        return
            Limits({priceCap: PRICE_CAP, feeCap: FEE_CAP, tradeFloor: TRADE_FLOOR, tradeCeiling: TRADE_CEILING});
    }

    /// @inheritdoc IPriceBoard
    function tradeBand() external view returns (uint256 floorUyuanPerKwh, uint256 ceilingUyuanPerKwh) {
        return (TRADE_FLOOR, TRADE_CEILING);
    }

    function _acceptPrices(uint32 fromPeriod, bytes32 digest) internal {
        _accepted[fromPeriod] = digest;
    }

    function _arePricesAccepted(uint32 fromPeriod) internal view returns (bool) {
        return _accepted[fromPeriod] != 0;
    }

    function _pushBenchmark(uint32 fromPeriod, Prices memory prices) private {
        prices.source = PriceSource.Benchmark;
        _benchmarks.push(Benchmark({fromPeriod: fromPeriod, prices: prices}));
        emit BenchmarkSet(fromPeriod, prices);
    }

    function _checkOrder(Prices memory p, Limits memory l) private pure {
        bool ordered = p.feedIn <= p.selling && p.selling <= p.planned && p.planned <= p.compensation
            && p.compensation <= p.retail && p.retail <= l.priceCap && p.fee <= l.feeCap && p.clampFlags <= ALL_CLAMPED;
        if (!ordered) revert PricesOutOfOrder(p, l);
    }
}
