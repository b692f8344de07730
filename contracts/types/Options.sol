// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What a node lets happen to its deviations; bits of a position's `options`.

// The node's surplus may compensate the shortages of others.
uint8 constant RESERVE = 1;
// The node's surplus is for sale at the selling price.
uint8 constant OFFER = 2;
// The node buys surplus at the selling price, up to a fifth of what it planned to buy.
uint8 constant TAKE = 4;
// All options that exist.
uint8 constant ALL_OPTIONS = RESERVE | OFFER | TAKE;
