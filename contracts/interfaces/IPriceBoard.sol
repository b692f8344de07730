// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Limits, Prices} from "../types/Types.sol";

/// @title The prices of every period
/// @notice The grid company publishes a benchmark ahead; the committee fixes the three trading prices of a period by quorum
/// before its price deadline, or the benchmark stands (SPEC section 3). All prices in micro-yuan per kWh.
/// @dev A price that could be read once never changes: `pricesOf` reverts while it still could.
interface IPriceBoard {
    /// @notice Published prices for all periods from one on, until the next benchmark.
    event BenchmarkSet(uint32 indexed fromPeriod, Prices prices);
    /// @notice The primary proposed prices for a range of periods.
    event PricesProposed(uint32 indexed fromPeriod, uint32 round, uint8 indexed proposer, bytes32 digest, Prices[] prices);
    /// @notice A period's prices are final.
    event PricesFixed(uint32 indexed period, Prices prices);

    /// @notice The prices break `feedIn <= selling <= planned <= compensation <= retail <= cap` or `fee <= fee cap`,
    /// or carry unknown clamp flags.
    error PricesOutOfOrder(Prices prices, Limits limits);
    /// @notice Feed-in, retail and fee of a period are its benchmark's.
    error NotTheBenchmark(uint32 period, Prices proposed, Prices benchmark);
    /// @notice A benchmark must come before price proposals open for its first period.
    error BenchmarkTooLate(uint32 fromPeriod, uint256 opensAt);
    /// @notice The prices can still change; they are final at `deadline` at the latest.
    error PricesNotFixed(uint32 period, uint256 deadline);
    /// @notice The limits contradict each other.
    error BadLimits(Limits limits);

    /// @notice Publishes prices for all periods from one on, in place of any published for later ones. Only the registry's
    /// `TARIFF_ROLE`.
    function setBenchmark(uint32 fromPeriod, Prices calldata prices) external;

    /// @notice Proposes prices for consecutive periods. Only the primary of the running round.
    function proposePrices(uint32 fromPeriod, Prices[] calldata prices) external;

    /// @notice Writes down prices a quorum accepted. Anyone may; periods past their deadline, or already fixed, stay as they are.
    function fixPrices(uint32 fromPeriod, Prices[] calldata prices) external;

    /// @notice The final prices of a period. Reverts with `PricesNotFixed` while they could change.
    function pricesOf(uint32 period) external view returns (Prices memory);

    /// @notice The benchmark that holds for a period, unless a newer one is published before its proposals open.
    function benchmarkOf(uint32 period) external view returns (Prices memory);

    /// @notice The bounds of every price.
    function limits() external view returns (Limits memory);

    /// @notice F_min and F_max, the band of prices two members may agree on.
    function tradeBand() external view returns (uint256 floorUyuanPerKwh, uint256 ceilingUyuanPerKwh);
}
