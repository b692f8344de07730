// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Clock} from "./Clock.sol";
import {Agreements} from "./book/Agreements.sol";
import {Desk} from "./book/Desk.sol";
import {Orders} from "./book/Orders.sol";
import {IBook} from "./interfaces/IBook.sol";
import {IMaster} from "./interfaces/IMaster.sol";
import {IPriceBoard} from "./interfaces/IPriceBoard.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {IVault} from "./interfaces/IVault.sol";
import {Schedule} from "./types/Types.sol";

/// @title What members ask for, until the gate closes
/// @notice Puts agreements and orders together; each lives in `book/`.
contract Book is IBook, Agreements, Orders {
    constructor(Schedule memory s, IRegistry registry, IVault vault, IPriceBoard prices, IMaster master)
        Clock(s)
        Desk(registry, vault, prices, master)
        Agreements(s)
        Orders()
    {}
}
