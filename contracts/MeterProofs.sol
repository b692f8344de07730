// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {Curve, IMeterProofs, MeterKey} from "./interfaces/IMeterProofs.sol";
import {IRegistry, ADMISSION_ROLE} from "./interfaces/IRegistry.sol";

/// @title What a meter has signed, shown to the chain
/// @notice Documented in `IMeterProofs`.
contract MeterProofs is IMeterProofs {
    /// The field of secp256k1, over which y^2 = x^3 + 7.
    uint256 private constant K1_FIELD = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F;

    IRegistry private immutable REGISTRY;

    mapping(bytes32 meter => MeterKey[]) private _keys;

    constructor(IRegistry registry) {
        REGISTRY = registry;
    }

    /// @inheritdoc IMeterProofs
    function register(bytes32 meter, MeterKey calldata key) external returns (uint256 index) {
        if (!REGISTRY.hasRole(ADMISSION_ROLE, msg.sender)) revert NotAllowed(msg.sender, ADMISSION_ROLE);
        if (REGISTRY.nodeOfMeter(meter) == 0) revert UnknownMeter(meter);
        MeterKey[] storage keys = _keys[meter];
        index = keys.length;
        uint256 earliest = index == 0 ? 0 : uint256(keys[index - 1].validFrom) + 1;
        if (key.validFrom < earliest || key.validFrom > block.timestamp) {
            revert ValidFromOutOfOrder(meter, key.validFrom, earliest, block.timestamp);
        }
        if (!_isOnCurve(key)) revert NotOnCurve(key.curve, key.x, key.y);
        keys.push(key);
        emit KeyRegistered(meter, index, key.validFrom, key.curve, key.x, key.y);
    }

    /// @inheritdoc IMeterProofs
    function prove(bytes32 meter, string calldata text, bytes32 r, bytes32 s) external returns (uint256 index) {
        bytes32 digest = sha256(bytes(text));
        bool signed;
        (signed, index) = _signer(meter, digest, r, s);
        if (!signed) {
            if (_keys[meter].length == 0) revert NoKey(meter);
            revert NotSigned(meter, digest, r, s);
        }
        emit Proven(meter, digest, index, text);
    }

    /// @inheritdoc IMeterProofs
    function check(bytes32 meter, string calldata text, bytes32 r, bytes32 s)
        external
        view
        returns (bool signed, uint256 index)
    {
        return _signer(meter, sha256(bytes(text)), r, s);
    }

    /// @inheritdoc IMeterProofs
    function keysOf(bytes32 meter) external view returns (MeterKey[] memory) {
        return _keys[meter];
    }

    /// @dev Finds the latest key that has signed. Only the grid company adds keys, so there are few.
    function _signer(bytes32 meter, bytes32 digest, bytes32 r, bytes32 s)
        private
        view
        returns (bool signed, uint256 index)
    {
        MeterKey[] storage keys = _keys[meter];
        for (uint256 left = keys.length; left > 0; --left) {
            if (_hasSigned(keys[left - 1], digest, r, s)) return (true, left - 1);
        }
    }

    function _hasSigned(MeterKey memory key, bytes32 digest, bytes32 r, bytes32 s) private view returns (bool) {
        if (key.curve == Curve.Secp256r1) return P256.verify(digest, r, s, bytes32(key.x), bytes32(key.y));
        address signer = address(uint160(uint256(keccak256(abi.encode(key.x, key.y)))));
        // A meter does not say which of the two points its r stands for.
        for (uint8 v = 27; v <= 28; ++v) {
            (address recovered,,) = ECDSA.tryRecover(digest, v, r, s);
            if (recovered == signer) return true;
        }
        return false;
    }

    function _isOnCurve(MeterKey calldata key) private pure returns (bool) {
        (uint256 x, uint256 y) = (key.x, key.y);
        if (key.curve == Curve.Secp256r1) return P256.isValidPublicKey(bytes32(x), bytes32(y));
        uint256 cube = mulmod(mulmod(x, x, K1_FIELD), x, K1_FIELD);
        return x < K1_FIELD && y < K1_FIELD && mulmod(y, y, K1_FIELD) == addmod(cube, 7, K1_FIELD);
    }
}
