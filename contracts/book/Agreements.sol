// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IAgreements} from "../interfaces/IAgreements.sol";
import {IRegistry, BUS_AT, CONSUMER, GENERATOR, STORAGE} from "../interfaces/IRegistry.sol";
import {OpenPosition, Positions} from "../libraries/Positions.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {ALL_OPTIONS} from "../types/Options.sol";
import {Agreement, Declaration, Prices, Schedule} from "../types/Types.sol";
import {Desk} from "./Desk.sol";

/// @title What two members agree on, until the gate closes
/// @notice Documented in `IAgreements`.
abstract contract Agreements is IAgreements, Desk {
    bytes32 private constant AGREEMENT_TYPEHASH = keccak256(
        "Agreement(bytes32 market,uint32 period,uint32 seller,uint32 buyer,uint40 energyWh,uint32 priceUyuanPerKwh,"
        "uint8 sellerOptions,uint8 buyerOptions,uint64 sellerNonce,uint64 buyerNonce,uint64 deadline)"
    );
    bytes32 private constant DECLARATION_TYPEHASH =
        keccak256("Declaration(bytes32 market,uint32 period,uint32 node,uint8 options,uint64 deadline)");

    /// Positions of periods this far apart share storage; it spans every period whose book can be open.
    uint32 private immutable RING;

    mapping(uint256 slot => uint32 period) private _periodAt;
    mapping(uint256 slot => mapping(uint32 node => OpenPosition)) private _positions;
    mapping(uint32 period => mapping(uint32 bucket => uint256 bits)) private _present;
    mapping(uint32 node => mapping(uint256 word => uint256 bits)) private _spent;

    constructor(Schedule memory s) {
        // From the price opening of a period to its last call, rounded up, and one more for the period in between.
        RING = s.priceHorizon / s.length + 2;
    }

    /// @inheritdoc IAgreements
    function agree(Agreement calldata a, bytes calldata sellerSignature, bytes calldata buyerSignature) external {
        _checkOrder(a.market, a.period, a.deadline, a.sellerOptions | a.buyerOptions);
        if (a.energyWh == 0) revert NoEnergy();
        IRegistry.Node memory seller = _trader(a.seller, GENERATOR | STORAGE);
        IRegistry.Node memory buyer = _trader(a.buyer, CONSUMER | STORAGE);
        if (a.seller == a.buyer || seller.account == buyer.account) revert SelfTrade(a.seller, a.buyer);
        Prices memory prices = _pricesInBand(a);

        bytes32 digest = agreementDigest(a);
        _checkSigned(digest, a.seller, seller.account, sellerSignature);
        _checkSigned(digest, a.buyer, buyer.account, buyerSignature);
        _spend(a.seller, a.sellerNonce);
        _spend(a.buyer, a.buyerNonce);

        uint256 amountNyuan = uint256(a.energyWh) * a.priceUyuanPerKwh;
        OpenPosition sale = _open(a.period, a.seller).withOptions(a.sellerOptions);
        _checkCapacity(a.seller, sale.soldWh() + a.energyWh, seller.exportCapacityWh);
        _store(a.period, a.seller, sale, sale.withSale(a.energyWh, amountNyuan), prices);

        OpenPosition purchase = _open(a.period, a.buyer).withOptions(a.buyerOptions);
        _checkCapacity(a.buyer, purchase.boughtWh() + a.energyWh, buyer.importCapacityWh);
        _store(a.period, a.buyer, purchase, purchase.withPurchase(a.energyWh, amountNyuan), prices);

        emit Agreed(a.period, a.seller, a.buyer, a.energyWh, a.priceUyuanPerKwh, digest);
    }

    /// @inheritdoc IAgreements
    function agreeBatch(SignedAgreement[] calldata entries) external {
        for (uint256 i; i < entries.length; ++i) {
            SignedAgreement calldata e = entries[i];
            try this.agree(e.agreement, e.sellerSignature, e.buyerSignature) {}
            catch (bytes memory reason) {
                _skip(i, reason);
            }
        }
    }

    /// @inheritdoc IAgreements
    function declare(Declaration calldata d, bytes calldata signature) external {
        _checkOrder(d.market, d.period, d.deadline, d.options);
        IRegistry.Node memory node = _trader(d.node, type(uint8).max);
        _checkSigned(declarationDigest(d), d.node, node.account, signature);
        OpenPosition position = _open(d.period, d.node);
        _write(d.period, d.node, position.withOptions(d.options));
        emit Declared(d.period, d.node, d.options);
    }

    /// @inheritdoc IAgreements
    function declareBatch(SignedDeclaration[] calldata entries) external {
        for (uint256 i; i < entries.length; ++i) {
            try this.declare(entries[i].declaration, entries[i].signature) {}
            catch (bytes memory reason) {
                _skip(i, reason);
            }
        }
    }

    /// @inheritdoc IAgreements
    function revokeNonce(uint32 node, uint64 nonce) external {
        _checkAccount(node);
        _spend(node, nonce);
        emit NonceRevoked(node, nonce);
    }

    /// @inheritdoc IAgreements
    function agreedOf(uint32 period, uint32 bucket) external view returns (bytes memory positions, bytes memory buses) {
        positions = positionsOf(period, bucket);
        if (positions.length == 0) return (positions, buses);
        uint32[] memory nodes = new uint32[](positions.length / Positions.RECORD);
        for (uint256 i; i < nodes.length; ++i) {
            nodes[i] = bucket << 8 | uint8(positions[i * Positions.RECORD]);
        }
        (uint256[] memory infos,) = REGISTRY.infoOf(nodes);
        for (uint256 i; i < nodes.length; ++i) {
            buses = abi.encodePacked(buses, uint16(infos[i] >> BUS_AT));
        }
    }

    /// @inheritdoc IAgreements
    function positionsOf(uint32 period, uint32 bucket) public view returns (bytes memory positions) {
        uint256 present = _present[period][bucket];
        if (present == 0 || _periodAt[period % RING] != period) return "";
        Prices memory prices = PRICES.pricesOf(period);
        mapping(uint32 node => OpenPosition) storage words = _positions[period % RING];
        uint256 offset;
        assembly ("memory-safe") {
            positions := mload(0x40)
            offset := add(positions, 0x20)
        }
        uint256 first = offset;
        for (uint32 index; present != 0; (++index, present >>= 1)) {
            if (present & 1 == 0) continue;
            (uint256 head, uint256 tail) = words[bucket * 256 + index].record(index, prices);
            assembly {
                // Each record's second word spills over the free memory behind it, which nobody uses before the pointer moves.
                mstore(offset, head)
                mstore(add(offset, 0x20), tail)
            }
            offset += Positions.RECORD;
        }
        assembly {
            mstore(positions, sub(offset, first))
            // Two words of slack keep the pointer behind the last record's spill and aligned.
            mstore(0x40, and(add(offset, 0x5f), not(0x1f)))
        }
    }

    /// @inheritdoc IAgreements
    function agreementDigest(Agreement calldata a) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(AGREEMENT_TYPEHASH, a)));
    }

    /// @inheritdoc IAgreements
    function declarationDigest(Declaration calldata d) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(DECLARATION_TYPEHASH, d)));
    }

    /// @inheritdoc IAgreements
    function isSpent(uint32 node, uint64 nonce) external view returns (bool) {
        return _spent[node][nonce >> 8] & (1 << (nonce & 0xff)) != 0;
    }

    function _checkOrder(bytes32 market, uint32 period, uint64 deadline, uint8 options) private view {
        if (REGISTRY.paused()) revert OrdersPaused();
        if (market != MARKET) revert WrongMarket(market, MARKET);
        if (period < MASTER.firstPeriod()) revert BeforeMarket(period, MASTER.firstPeriod());
        if (block.timestamp > deadline) revert Expired(deadline, block.timestamp);
        if (block.timestamp < _priceOpening(period)) revert BookNotOpen(period, _priceOpening(period));
        if (block.timestamp >= _gate(period)) revert GateClosed(period, _gate(period));
        if (options & ~ALL_OPTIONS != 0) revert UnknownOptions(options);
    }

    function _trader(uint32 id, uint8 roles) private view returns (IRegistry.Node memory node) {
        node = REGISTRY.nodeOf(id);
        if (node.suspended) revert NodeSuspended(id);
        if (node.role & roles == 0) revert RoleForbids(id, node.role);
    }

    function _pricesInBand(Agreement calldata a) private view returns (Prices memory prices) {
        prices = PRICES.pricesOf(a.period);
        (uint256 floor, uint256 ceiling) = PRICES.tradeBand();
        uint256 lowest = floor > prices.selling ? floor : prices.selling;
        uint256 highest = ceiling < prices.compensation ? ceiling : prices.compensation;
        if (a.priceUyuanPerKwh < lowest || a.priceUyuanPerKwh > highest) {
            revert PriceOutOfBand(a.priceUyuanPerKwh, lowest, highest);
        }
    }

    function _checkSigned(bytes32 digest, uint32 node, address account, bytes calldata signature) private view {
        bool signed;
        if (signature.length == 0) {
            signed = msg.sender == account || _approved[digest][node];
        } else {
            bytes memory word = signature;
            uint256 begin;
            assembly ("memory-safe") {
                begin := add(word, 0x20)
            }
            signed = Signatures.isByKey(account, digest, begin, word.length);
        }
        if (!signed) revert NotSigned(node, account);
    }

    function _checkCapacity(uint32 node, uint256 plannedWh, uint256 capacityWh) private pure {
        if (plannedWh > capacityWh) revert OverCapacity(node, plannedWh, capacityWh);
    }

    function _spend(uint32 node, uint64 nonce) private {
        uint256 bit = 1 << (nonce & 0xff);
        uint256 bits = _spent[node][nonce >> 8];
        if (bits & bit != 0) revert NonceSpent(node, nonce);
        _spent[node][nonce >> 8] = bits | bit;
    }

    /// @dev The node's position of the period, empty if it has none yet.
    function _open(uint32 period, uint32 node) private returns (OpenPosition position) {
        uint256 slot = period % RING;
        uint32 tenant = _periodAt[slot];
        if (tenant != period) {
            if (tenant != 0 && !MASTER.isCleared(tenant)) revert PeriodUncleared(tenant);
            _periodAt[slot] = period;
        }
        position = _positions[slot][node];
        if (!position.isOf(period)) position = Positions.empty(period);
    }

    /// @dev Writes a grown position and locks what its growth needs.
    function _store(uint32 period, uint32 node, OpenPosition old, OpenPosition grown, Prices memory prices) private {
        VAULT.lock(node, grown.lockUyuan(prices) - old.lockUyuan(prices));
        _write(period, node, grown);
    }

    function _write(uint32 period, uint32 node, OpenPosition position) private {
        _positions[period % RING][node] = position;
        uint32 bucket = node >> 8;
        uint256 bit = 1 << (node & 0xff);
        uint256 present = _present[period][bucket];
        if (present & bit == 0) _present[period][bucket] = present | bit;
    }
}
