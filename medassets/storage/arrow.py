"""What tables need of pyarrow: its kernels, and its memory given back."""

from typing import Any

import pyarrow as pa
import pyarrow.compute

# They are made when the module is imported, so no checker can know them.
kernels: Any = pyarrow.compute
"""`pyarrow.compute`."""


def release_memory() -> None:
    """Give memory that Arrow no longer uses back to the system; it keeps much of it otherwise."""
    pa.default_memory_pool().release_unused()
