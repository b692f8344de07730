// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @notice Tells whether signatures, given by their place in memory, are an account's.
library Signatures {
    /// Most gas an account with code may take to judge a signature (ERC-1271).
    uint256 internal constant WALLET_GAS = 100_000;

    /// The order of secp256k1, halved, rounded up: the first s that is too high.
    uint256 private constant HALF_ORDER_END = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1;

    /// @notice Whether a key's signature of 64 or 65 bytes is the account's. High values of s are refused.
    function isByKey(address account, bytes32 digest, uint256 begin, uint256 length) internal view returns (bool signed) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            let s := mload(add(begin, 0x20))
            let v := 0
            switch length
            case 64 {
                v := add(27, shr(255, s))
                s := shr(1, shl(1, s))
            }
            case 65 { v := byte(0, mload(add(begin, 0x40))) }
            mstore(free, digest)
            mstore(add(free, 0x20), v)
            mstore(add(free, 0x40), mload(begin))
            mstore(add(free, 0x60), s)
            mstore(0, 0) // nothing is returned for a wrong signature, and no node's account is zero
            pop(staticcall(gas(), 1, free, 0x80, 0, 0x20))
            signed := and(eq(mload(0), account), lt(s, HALF_ORDER_END))
        }
    }

    /// @notice `isByKey` for a signature of 64 bytes.
    function isByShortKey(address account, bytes32 digest, uint256 begin) internal view returns (bool signed) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            let vs := mload(add(begin, 0x20))
            let s := shr(1, shl(1, vs))
            mstore(free, digest)
            mstore(add(free, 0x20), add(27, shr(255, vs)))
            mstore(add(free, 0x40), mload(begin))
            mstore(add(free, 0x60), s)
            mstore(0, 0) // nothing is returned for a wrong signature, and no node's account is zero
            pop(staticcall(gas(), 1, free, 0x80, 0, 0x20))
            signed := and(eq(mload(0), account), lt(s, HALF_ORDER_END))
        }
    }

    /// @notice Whether there is gas enough left that a call gets all of `WALLET_GAS`.
    function canAsk() internal view returns (bool) {
        unchecked {
            // A call gets at most 63/64 of what is left; a thousand covers what comes before it.
            return gasleft() - gasleft() / 64 > WALLET_GAS + 1_000;
        }
    }

    /// @notice Whether an account with code accepts a signature. Of what it returns only one word is looked at.
    function isByWallet(address account, bytes32 digest, uint256 begin, uint256 length) internal view returns (bool accepted) {
        bytes4 magic = IERC1271.isValidSignature.selector;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, magic)
            mstore(add(free, 0x04), digest)
            mstore(add(free, 0x24), 0x40)
            mstore(add(free, 0x44), length)
            mcopy(add(free, 0x64), begin, length)
            let padded := and(add(length, 0x1f), not(0x1f))
            mstore(add(free, add(0x64, length)), 0)
            accepted := staticcall(WALLET_GAS, account, free, add(0x64, padded), free, 0x20)
            accepted := and(accepted, and(gt(returndatasize(), 0x1f), eq(mload(free), magic)))
        }
    }
}
