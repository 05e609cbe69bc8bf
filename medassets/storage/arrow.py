"""The kernels of pyarrow, under a name that a type checker takes as it is."""

from typing import Any

import pyarrow.compute

# They are made when the module is imported, so no checker can know them.
kernels: Any = pyarrow.compute
"""`pyarrow.compute`."""
