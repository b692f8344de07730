// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// Who decided the prices of a period.
enum PriceSource {
    None,
    Committee,
    Benchmark
}

/// The six prices of one period, each in micro-yuan per kWh (SPEC section 3).
/// @param feedIn What the grid company pays for surplus.
/// @param selling P_s, the price of offered surplus (Peng Eq. 7).
/// @param planned P_p, the price of planned energy (Peng Eq. 6).
/// @param compensation P_c, the price of compensating a shortage (Peng Eq. 5).
/// @param retail What the grid company charges.
/// @param fee The network fee, paid by the taker.
/// @param clampFlags Which tariff outputs were clamped: 1 selling, 2 planned, 4 compensation.
/// @param source Who decided.
struct Prices {
    uint32 feedIn;
    uint32 selling;
    uint32 planned;
    uint32 compensation;
    uint32 retail;
    uint32 fee;
    uint8 clampFlags;
    PriceSource source;
}

/// The bounds no price of this market may leave, each in micro-yuan per kWh.
/// @param priceCap Highest retail price.
/// @param feeCap Highest network fee.
/// @param tradeFloor F_min, the lowest price two members may agree on (You, section III-A).
/// @param tradeCeiling F_max, the highest price two members may agree on.
struct Limits {
    uint32 priceCap;
    uint32 feeCap;
    uint32 tradeFloor;
    uint32 tradeCeiling;
}

/// The instants of a period's life, in seconds (SPEC section 4).
/// @param epoch Start of period 0, Unix time.
/// @param length Length of a period.
/// @param priceHorizon How long before the start price proposals open.
/// @param priceLead How long before the start prices are fixed.
/// @param gateLead How long before the start agreements close.
/// @param roundLength How long one seat stays primary.
/// @param settleDeadline How long after the close anyone may settle without a report.
/// @param window How long after the close reports may still be corrected.
struct Schedule {
    uint40 epoch;
    uint32 length;
    uint32 priceHorizon;
    uint32 priceLead;
    uint32 gateLead;
    uint32 roundLength;
    uint32 settleDeadline;
    uint32 window;
}

/// A bilateral agreement on planned energy, the message both sides sign.
/// @param market The market's id, `Registry.market()`.
/// @param period Period of delivery.
/// @param seller Node that generates.
/// @param buyer Node that consumes.
/// @param energyWh Planned energy, Wh.
/// @param priceUyuanPerKwh Agreed price, micro-yuan per kWh.
/// @param sellerOptions Options the seller adds to its position of the period.
/// @param buyerOptions Options the buyer adds to its position of the period.
/// @param sellerNonce Unordered nonce of the seller.
/// @param buyerNonce Unordered nonce of the buyer.
/// @param deadline Last instant the agreement may be placed, Unix time.
struct Agreement {
    bytes32 market;
    uint32 period;
    uint32 seller;
    uint32 buyer;
    uint40 energyWh;
    uint32 priceUyuanPerKwh;
    uint8 sellerOptions;
    uint8 buyerOptions;
    uint64 sellerNonce;
    uint64 buyerNonce;
    uint64 deadline;
}

/// Options for a period without energy, the message a node signs.
/// @param market The market's id, `Registry.market()`.
/// @param period Period the options hold for.
/// @param node The node.
/// @param options Options to add to its position.
/// @param deadline Last instant the declaration may be placed, Unix time.
struct Declaration {
    bytes32 market;
    uint32 period;
    uint32 node;
    uint8 options;
    uint64 deadline;
}

/// One step of an order: a quantity on one side up to a limit.
/// @param sells Whether it is an ask; a bid otherwise.
/// @param energyWh Energy, Wh.
/// @param limitUyuanPerKwh The least a seller takes, the most a buyer pays, micro-yuan per kWh.
struct Step {
    bool sells;
    uint40 energyWh;
    uint32 limitUyuanPerKwh;
}

/// What a node wants of each of some periods, the message it signs.
/// @param market The market's id, `Registry.market()`.
/// @param node The node.
/// @param firstPeriod First period it is good for.
/// @param lastPeriod Last period it is good for.
/// @param options Options for the node's position.
/// @param nonce Dead once the node's least nonce is above it.
/// @param deadline Last instant it may be placed, Unix time.
/// @param steps One to four steps.
struct Order {
    bytes32 market;
    uint32 node;
    uint32 firstPeriod;
    uint32 lastPeriod;
    uint8 options;
    uint32 nonce;
    uint40 deadline;
    Step[] steps;
}

/// The withdrawal of a node's order in a period, the message it signs.
/// @param market The market's id, `Registry.market()`.
/// @param node The node.
/// @param period The period.
/// @param leastNonce What the node's later orders for the period need as nonce at least.
/// @param deadline Last instant the cancel may be relayed, Unix time.
struct Cancel {
    bytes32 market;
    uint32 node;
    uint32 period;
    uint32 leastNonce;
    uint40 deadline;
}

/// Progress of one settlement leg.
/// @param demandWh Total demand of the leg, Wh.
/// @param supplyWh Total supply of the leg, Wh.
/// @param demandSeenWh Demand of the nodes already served, Wh.
/// @param supplySeenWh Supply of the nodes already served, Wh.
struct Leg {
    uint256 demandWh;
    uint256 supplyWh;
    uint256 demandSeenWh;
    uint256 supplySeenWh;
}
