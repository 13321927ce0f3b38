"""One row through a booster without the price of a call made for many: LightGBM's single-row functions.

``Booster.predict`` reads its parameters and builds a predictor anew at every call, which for one row costs more than
the trees. LightGBM's C API can do that once and keep it (LGBM_BoosterPredictForMatSingleRowFastInit); its Python
package does not offer it. The trees walked and the order they are added in are the same, and so is every bit.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import lightgbm as lgb
import numpy as np
from lightgbm import basic
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# LightGBM's c_api.h: C_API_PREDICT_RAW_SCORE and C_API_DTYPE_FLOAT64.
RAW_SCORE, FLOAT64 = 1, 1
INIT, PREDICT, FREE = (
    "LGBM_BoosterPredictForMatSingleRowFastInit",
    "LGBM_BoosterPredictForMatSingleRowFast",
    "LGBM_FastConfigFree",
)


@dataclass(frozen=True, eq=False)
class _Kept:
    """A prepared predictor: its handle, how many columns and iterations it was made for, and room for the answer.

    ``places`` are the addresses of the room for the answer and for its length: to ask for them costs as much as trees.
    """

    handle: ctypes.c_void_p
    columns: int
    iterations: int
    out: ctypes.c_double = field(default_factory=ctypes.c_double)
    length: ctypes.c_int64 = field(default_factory=ctypes.c_int64)

    @cached_property
    def places(self) -> tuple[int, int]:
        return ctypes.addressof(self.length), ctypes.addressof(self.out)


def _library() -> Any:
    """LightGBM's own library, loaded already, called without letting go of the interpreter's lock; None if unfit.

    A row takes microseconds; giving the lock away for them would mean waiting milliseconds to have it back.
    """
    try:
        loaded: Any = getattr(basic, "_LIB")  # noqa: B009  (its stubs do not export it)
        library = ctypes.PyDLL(loaded._name, handle=loaded._handle)
        init, predict, free = (getattr(library, name) for name in (INIT, PREDICT, FREE))
    except (AttributeError, OSError, TypeError):
        return None
    init.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int32,
                     ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]  # fmt: skip
    predict.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    free.argtypes = [ctypes.c_void_p]
    return library


_lib = _library()
_kept: weakref.WeakKeyDictionary[lgb.Booster, _Kept] = weakref.WeakKeyDictionary()
# A prepared predictor and its room belong to one call at a time.
_lock = threading.Lock()


def available() -> bool:
    """Whether this LightGBM has the functions."""
    return _lib is not None


def margins(booster: lgb.Booster, values: Floats) -> Floats | None:
    """The booster's raw scores of few rows (rows, columns), C-ordered float64; (rows,). None where it cannot be done.

    For a handful of rows: each is one call, made while the interpreter's lock is held.
    """
    rows, columns = values.shape
    if _lib is None or values.dtype != np.float64 or not values.flags.c_contiguous:
        return None
    with _lock:
        kept = _kept.get(booster)
        if kept is None or kept.columns != columns or kept.iterations != booster.current_iteration():
            kept = _prepare(booster, columns)
            if kept is None:
                return None
        found, start, step = np.empty(rows), values.__array_interface__["data"][0], columns * 8
        predict, out, (length, where) = getattr(_lib, PREDICT), kept.out, kept.places
        for row in range(rows):
            if predict(kept.handle, start + row * step, length, where):
                return None
            found[row] = out.value
    return found


def _prepare(booster: lgb.Booster, columns: int) -> _Kept | None:
    """A predictor for all the booster's trees, kept as long as the booster lives; None where there can be none."""
    if booster.num_model_per_iteration() != 1 or booster.num_feature() != columns:
        return None
    handle = ctypes.c_void_p()
    asked = (booster._handle, RAW_SCORE, 0, -1, FLOAT64, columns, b"num_threads=1", ctypes.byref(handle))
    if getattr(_lib, INIT)(*asked):
        return None
    kept = _Kept(handle, columns, booster.current_iteration())
    _kept[booster] = kept
    weakref.finalize(kept, getattr(_lib, FREE), handle.value)
    return kept
