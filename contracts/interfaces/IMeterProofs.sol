// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// The curves that meters sign on.
enum Curve {
    Secp256r1,
    Secp256k1
}

/// A meter's public key.
/// @param validFrom UTC second from which the meter signs with it.
/// @param curve Its curve.
/// @param x First coordinate of the point.
/// @param y Second coordinate.
struct MeterKey {
    uint64 validFrom;
    Curve curve;
    uint256 x;
    uint256 y;
}

/// @title What a meter has signed, shown to the chain
/// @notice In a dispute anybody shows the exact text a meter has signed, such as an OCMF payload, and the chain says whether the
/// meter's key has signed it. Nothing else follows from it on chain: the text stands in an event for everyone to read.
interface IMeterProofs {
    /// @notice The grid company vouches for a meter's key; the one before it, if any, is good until `validFrom`.
    event KeyRegistered(
        bytes32 indexed meter, uint256 indexed index, uint64 validFrom, Curve curve, uint256 x, uint256 y
    );
    /// @notice The meter has signed the text, with the key of this index.
    event Proven(bytes32 indexed meter, bytes32 indexed digest, uint256 indexed index, string text);

    /// @notice The caller does not hold the registry role.
    error NotAllowed(address caller, bytes32 role);
    /// @notice The meter measures no node.
    error UnknownMeter(bytes32 meter);
    /// @notice A key begins after the one before it, and not in the future.
    error ValidFromOutOfOrder(bytes32 meter, uint64 validFrom, uint256 earliest, uint256 latest);
    /// @notice The point is not on the curve.
    error NotOnCurve(Curve curve, uint256 x, uint256 y);
    /// @notice No key of the meter is registered.
    error NoKey(bytes32 meter);
    /// @notice None of the meter's keys has signed the text so; of the two forms of a signature only that with the low s counts.
    error NotSigned(bytes32 meter, bytes32 digest, bytes32 r, bytes32 s);

    /// @notice Registers a meter's key; earlier ones stay, for the texts of their time. Only the registry's `ADMISSION_ROLE`.
    /// @param meter The meter as the registry knows it.
    /// @param key The key; it begins after the one before, and at once or in the past.
    /// @return index Which of the meter's keys it is, from 0.
    function register(bytes32 meter, MeterKey calldata key) external returns (uint256 index);

    /// @notice Shows that a meter has signed a text.
    /// @param meter The meter as the registry knows it.
    /// @param text Exactly what is signed, by SHA-256.
    /// @param r First half of the signature.
    /// @param s Second half, the lower of the two that are possible.
    /// @return index The key it is signed with, the latest that fits. Whether it was good at the time of the text is for the
    /// reader to see.
    function prove(bytes32 meter, string calldata text, bytes32 r, bytes32 s) external returns (uint256 index);

    /// @notice Whether `prove` would go through, and with which key.
    function check(bytes32 meter, string calldata text, bytes32 r, bytes32 s)
        external
        view
        returns (bool signed, uint256 index);

    /// @notice The keys of a meter, the oldest first.
    function keysOf(bytes32 meter) external view returns (MeterKey[] memory);
}
