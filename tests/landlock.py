"""What only a kernel with Landlock can show."""

from __future__ import annotations

import ctypes

import pytest

_VERSION = ctypes.CDLL(None).syscall(ctypes.c_long(444), None, ctypes.c_size_t(0), 1)

needs_landlock = pytest.mark.skipif(_VERSION < 2, reason="this kernel has no Landlock: it hides no file")
