"""A mask as bytes and back: bit-packed, row by row, most significant bit first (NumPy's `packbits`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BIT_ORDER = "big"


def pack_mask(mask: NDArray[np.bool_]) -> bytes:
    """(H, W) bool → ceil(H·W / 8) bytes.

    >>> pack_mask(np.array([[True, False], [False, True]])).hex()
    '90'
    """
    return np.packbits(mask.ravel(), bitorder="big").tobytes()


def unpack_mask(data: bytes | None, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The bytes of a manifest row's `mask` → (H, W) bool; an absent segment (None) is all false.

    Args:
        shape: `mask_shape` in the Parquet metadata.

    >>> unpack_mask(bytes.fromhex("90"), (2, 2)).tolist()
    [[True, False], [False, True]]
    """
    if data is None:
        return np.zeros(shape, bool)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=shape[0] * shape[1], bitorder="big")
    return bits.reshape(shape).astype(bool)
