"""transformers and datasets load with our hf_xet, and then without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hf_xet_face.conftest import ALICE
from official import Official

if TYPE_CHECKING:
    from pathlib import Path

    from hub import Hub

#: How a model is saved and loaded. transformers 5 would have to have torch to run one.
WAYS = {
    "transformers-4": ("save_model", "run_model"),
    "transformers-5": ("save_weights", "load_weights"),
}


def steps(client: Official, hub: Hub, *asked: list[Any], **environment: str) -> list[Any]:
    """What the steps of tests/clients/models.py answer."""
    return client.run(hub, "models.py", asked, HF_TOKEN=ALICE.secret, **environment)


def loads(version: str, hub: Hub, home: Path, *asked: list[Any], expected: dict[str, Any]) -> None:
    """A machine that has nothing loads what is expected, over Xet; then again without a network."""
    client = Official(version, xet=True, home=home, face=True)
    hub.reset_stats()
    assert steps(client, hub, *asked) == [expected] * len(asked)
    stats = hub.stats()
    assert stats.fetched("xorbs") > 0
    assert (stats.fetched("files"), stats.fetched("lfs")) == (0, 0)
    assert stats.leaked_authorization == 0
    hub.reset_stats()
    assert steps(client, hub, *asked, HF_HUB_OFFLINE="1") == [expected] * len(asked)
    assert not any(hub.stats().raw["requests"].values())


@pytest.mark.parametrize("version", WAYS)
def test_a_model_loads(hub: Hub, version: str, repo_id: str, tmp_path: Path) -> None:
    """Its settings, tokenizer and weights; and where flax can run it, it says what it said."""
    save, load = WAYS[version]
    author = Official(version, xet=True, home=tmp_path / "author", face=True)
    folder = str(tmp_path / "model")
    (expected,) = steps(author, hub, [save, {"folder": folder}])
    assert expected["module"] == "xet_ffi.hf_xet"
    author.call(
        hub,
        ["create_repo", {"repo_id": repo_id}],
        ["upload_folder", {"repo_id": repo_id, "folder_path": folder}],
        token=ALICE.secret,
    )
    stats = hub.stats()
    assert (stats.xorbs_received, stats.lfs_puts) == (1, 0)
    loads(version, hub, tmp_path / "home", [load, {"where": repo_id}], expected=expected)


def test_a_data_set_loads(hub: Hub, repo_id: str, tmp_path: Path) -> None:
    """Which datasets has published."""
    author = Official("transformers-5", xet=True, home=tmp_path / "author", face=True)
    (expected,) = steps(author, hub, ["push_dataset", {"repo_id": repo_id}])
    assert expected["module"] == "xet_ffi.hf_xet"
    stats = hub.stats()
    assert (stats.xorbs_received, stats.lfs_puts) == (1, 0)
    load = ["load_dataset", {"repo_id": repo_id}]
    loads("transformers-5", hub, tmp_path / "home", load, expected=expected)
    fresh = Official("transformers-5", xet=True, home=tmp_path / "fresh", face=True)
    streamed = ["load_dataset", {"repo_id": repo_id, "streaming": True}]
    assert steps(fresh, hub, streamed) == [expected]
