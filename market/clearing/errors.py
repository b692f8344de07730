"""What can be wrong with a book, a feeder or a clearing."""


class ClearingError(ValueError):
    """Something is wrong with what is to be cleared or with a clearing."""


class OrdersError(ClearingError):
    """The columns of a book are not a book."""


class FeederError(ClearingError):
    """The lines of a feeder are not a tree with headroom."""


class RuleError(ClearingError):
    """A rule lacks its price or was given one it does not use."""


class InvalidClearing(ClearingError):
    """A clearing is not the valid one.

    Attributes:
        seq: The offending order, or None where no single order is at fault.
    """

    def __init__(self, reason: str, seq: int | None = None) -> None:
        """Say what is wrong and with which order.

        Args:
            reason: What is wrong.
            seq: The offending order.
        """
        self.seq = seq
        where = "" if seq is None else f"order {seq}: "
        super().__init__(f"{where}{reason}; clear the book again instead of editing a clearing")
