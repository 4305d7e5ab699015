"""What the docstrings of `xet_ffi.safetensors` show happens."""

from __future__ import annotations

import doctest
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from huggingface_hub import HfApi
from safetensors.numpy import save

from published import publish
from xet_ffi import Client
from xet_ffi.safetensors import Tensor, TensorFiles, open_tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub import Hub, Token

#: What has no call to show: a property, or what every context manager has.
PLAIN = {"close", "files", "name", "dtype", "size", "is_of", "combs", "reports"}

EXAMPLES: dict[str, Any] = {
    "open_tensors": open_tensors,
    "Tensor": Tensor,
    "TensorFiles": TensorFiles,
    **{
        f"{cls.__name__}.{name}": value
        for cls in (Tensor, TensorFiles)
        for name, value in vars(cls).items()
        if not name.startswith("_") and name not in PLAIN and callable(value)
    },
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_in_a_docstring_is_true(
    own_hub: Callable[..., Hub], tokens: dict[str, Token], name: str
) -> None:
    """Every public call has one."""
    server, alice = own_hub(), tokens["alice"].secret
    files = {
        f"{number}.safetensors": save(
            {
                f"layers.{number}.weight": np.arange(24, dtype="f4").reshape(4, 6),
                f"layers.{number}.bias": np.array([1, 2], "f4"),
            }
        )
        for number in range(2)
    }
    publish(HfApi(endpoint=server.endpoint, token=alice), "alice/llama", files)
    with Client(server.endpoint, alice) as client, open_tensors(client, "alice/llama") as tensors:
        known = {"client": client, "tensors": tensors, "open_tensors": open_tensors}
        (test,) = doctest.DocTestFinder(recurse=False).find(EXAMPLES[name], name, globs=known)
        assert test.examples
        shown: list[str] = []
        failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=shown.append)
    assert not failed, "".join(shown)
