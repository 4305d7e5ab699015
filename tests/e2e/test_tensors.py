"""Tensors in place: what the safetensors package has written is read back, whole and in parts."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save

from published import commit, publish
from xet_ffi import Client, EntryNotFoundError, InvalidConfigError
from xet_ffi.safetensors import (
    InvalidSafetensorsError,
    Tensor,
    TensorFiles,
    TensorNotFoundError,
    open_tensors,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from huggingface_hub import HfApi

    from hub import Hub

Arrays = dict[str, np.ndarray[Any, Any]]

RANDOM = np.random.default_rng(17)

#: Types that numpy has, one tensor each, with shapes of all sorts.
PLAIN: Arrays = {
    "f64": RANDOM.standard_normal((3, 5, 7)),
    "f32": RANDOM.standard_normal((300, 500)).astype("f4"),
    "f16": RANDOM.standard_normal((64, 64)).astype("f2"),
    "c64": (RANDOM.standard_normal(9) + 1j).astype("c8"),
    "bool": RANDOM.integers(0, 2, (4, 4)).astype("?"),
    **{kind: RANDOM.integers(0, 100, (10, 20)).astype(kind) for kind in ("u1", "i1", "u2", "i2")},
    **{kind: RANDOM.integers(0, 100, (6,)).astype(kind) for kind in ("u4", "i4", "u8", "i8")},
    "scalar": np.array(2.5, "f4"),
    "empty": np.empty((0, 8), "f4"),
    "ünï [0] *": np.arange(3, dtype="f4"),
}


def layer(number: int) -> Arrays:
    """Tensors as a layer of a transformer has them."""
    return {
        f"layers.{number}.q_proj.weight": RANDOM.standard_normal((512, 256)).astype("f4"),
        f"layers.{number}.o_proj.weight": RANDOM.standard_normal((256, 512)).astype("f4"),
        f"layers.{number}.norm.weight": RANDOM.standard_normal(256).astype("f4"),
    }


LAYERS: Arrays = {name: array for number in range(4) for name, array in layer(number).items()}


def shards(arrays: Mapping[str, np.ndarray[Any, Any]], count: int) -> dict[str, bytes]:
    """Files as `save_pretrained` writes them: shards, and the index."""
    names = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    parts: list[Arrays] = [{} for _ in names]
    for number, (name, array) in enumerate(arrays.items()):
        parts[number % count][name] = array
    files = {name: save(part, {"format": "np"}) for name, part in zip(names, parts, strict=True)}
    where = {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part}
    index = json.dumps({"metadata": {}, "weight_map": where}).encode()
    return {"config.json": b"{}", **files, "model.safetensors.index.json": index}


def equal(found: Mapping[str, Any], wanted: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """The same arrays: names, types, shapes and values."""
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


@pytest.fixture
def plain(hf_api: HfApi, alice: Client, repo_id: str) -> Iterator[TensorFiles]:
    """One file with a tensor of each type."""
    publish(hf_api, repo_id, {"model.safetensors": save(PLAIN)})
    with open_tensors(alice, repo_id) as tensors:
        yield tensors


@pytest.fixture
def sharded(hf_api: HfApi, alice: Client, repo_id: str) -> Iterator[TensorFiles]:
    """Layers in three shards."""
    publish(hf_api, repo_id, shards(LAYERS, 3))
    with open_tensors(alice, repo_id) as tensors:
        yield tensors


def test_every_type_and_shape_comes_as_it_was_written(plain: TensorFiles) -> None:
    """Scalars, what is empty, and names like patterns, too."""
    equal(plain.load(), PLAIN)
    for name, array in PLAIN.items():
        assert plain[name].load().tobytes() == array.tobytes()
        assert (plain.info(name).shape, plain.info(name).size) == (array.shape, array.nbytes)
    equal(plain.load("ünï [0] *"), {"ünï [0] *": PLAIN["ünï [0] *"]})


@pytest.mark.parametrize("lfs", [False, True], ids=["git", "lfs"])
def test_files_that_are_not_in_xet_storage_are_read_too(
    hf_api: HfApi, alice: Client, repo_id: str, lfs: bool
) -> None:
    """Over HTTP ranges."""
    content = save({"a": np.arange(1000, dtype="f4")})
    if lfs:
        publish(hf_api, repo_id, {"model.safetensors": content}, lfs=True)
    else:
        publish(hf_api, repo_id, {"model.txt": content})
    with open_tensors(alice, repo_id, pattern="model.*") as tensors:
        assert (tensors["a"][10:20].load() == np.arange(10, 20)).all()


@pytest.mark.parametrize(
    "index",
    [
        np.s_[7],
        np.s_[-1],
        np.s_[20:100],
        np.s_[:, 7],
        np.s_[:, 100:300],
        np.s_[5:250, 499:],
        np.s_[..., :1],
        np.s_[3, 4],
        np.s_[200:100],
        np.s_[:],
    ],
    ids=str,
)
def test_a_part_is_what_an_array_has_there(plain: TensorFiles, index: Any) -> None:
    """Rows, columns, elements, and nothing."""
    wanted = PLAIN["f32"][index]
    part = plain["f32"][index]
    assert (part.shape, part.size) == (wanted.shape, wanted.nbytes)
    equal({"x": part.load()}, {"x": np.asarray(wanted)})


def test_shards_are_one_set_of_tensors(sharded: TensorFiles, hub: Hub) -> None:
    """In the order of their files, with what each file says besides."""
    assert len(sharded) == len(sharded.files) * 4 == 12
    assert [sharded.info(name).file for name in sharded] == sorted(sharded.files * 4)
    assert sharded.metadata == {name: {"format": "np"} for name in sharded.files}
    assert set(sharded) == LAYERS.keys()
    hub.reset_stats()
    assert "layers.0.norm.weight" in sharded
    assert sharded["layers.0.norm.weight"].dtype == "F32"
    assert hub.stats().requests("hub") == hub.stats().requests("storage") == 0
    equal(sharded.load(), LAYERS)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_have_their_parts(sharded: TensorFiles, ranks: int) -> None:
    """As tensor parallelism splits a transformer: columns, rows, and what all have."""
    axes = {"*.q_proj.weight": 0, "*.o_proj.weight": 1}
    found = [sharded.load(sharded.for_rank(rank, ranks, axes)) for rank in range(ranks)]
    for name, array in LAYERS.items():
        axis = 0 if "q_proj" in name else 1
        for rank in range(ranks):
            split = np.split(array, ranks, axis)[rank] if array.ndim > 1 else array
            equal({name: found[rank][name]}, {name: split})
    one = sharded.load_slice("layers.1.o_proj.weight", 1, ranks - 1, ranks)
    assert (one == np.split(LAYERS["layers.1.o_proj.weight"], ranks, 1)[-1]).all()


def test_tensors_are_chosen_by_names_patterns_and_parts(sharded: TensorFiles) -> None:
    """One or several; a mapping gives its own keys."""
    assert set(sharded.load("layers.2.*")) == set(layer(2))
    both: list[str | Tensor] = [
        "*.1.norm.weight",
        "layers.2.norm.weight",
        sharded["layers.0.norm.weight"],
    ]
    assert sorted(sharded.load(both)) == [f"layers.{n}.norm.weight" for n in range(3)]
    weight = sharded["layers.3.q_proj.weight"]
    wanted: dict[Any, str | Tensor] = {"upper": weight[:256], "lower": weight[256:]}
    halves = sharded.load(wanted | {3: "layers.3.norm.weight"})
    assert list(halves) == ["upper", "lower", 3]
    assert (np.concatenate([halves["upper"], halves["lower"]]) == LAYERS[weight.name]).all()
    assert sharded.load([]) == {}
    with pytest.raises(InvalidConfigError, match="twice"):
        sharded.load([weight[:1], weight[1:]])


def test_a_name_that_is_not_there_is_told_with_the_nearest(sharded: TensorFiles) -> None:
    """As a KeyError, and a FileNotFoundError, in a sentence."""
    for ask in (
        lambda: sharded["layers.0.norm.wieght"],
        lambda: sharded.load("layers.0.norm.wieght"),
        lambda: sharded.for_rank(0, 2, {"layers.0.norm.wieght": 0}),
    ):
        with pytest.raises(TensorNotFoundError, match=r"mean layers\.0\.norm\.weight\?$") as caught:
            ask()
        assert isinstance(caught.value, KeyError)
        assert isinstance(caught.value, FileNotFoundError)
    assert sharded.get("nothing") is None


def test_what_is_open_stays_at_its_commit(
    sharded: TensorFiles, hf_api: HfApi, alice: Client, repo_id: str
) -> None:
    """Whatever becomes of the branch."""
    other = {name: array * 2 for name, array in LAYERS.items()}
    commit(hf_api, repo_id, shards(other, 3))
    equal(sharded.load("*.norm.weight"), {n: a for n, a in LAYERS.items() if "norm" in n})
    with (
        open_tensors(alice, repo_id) as now,
        open_tensors(alice, repo_id, revision=sharded.commit) as before,
    ):
        assert now.commit != before.commit == sharded.commit
        equal(now.load(), other)
        equal(before.load(), LAYERS)


def test_a_model_that_is_there_twice_is_read_once(
    hf_api: HfApi, alice: Client, repo_id: str
) -> None:
    """The index says which files belong together; a pattern names the others."""
    files = shards(LAYERS, 2) | {"consolidated.safetensors": save(LAYERS)}
    publish(hf_api, repo_id, files)
    with open_tensors(alice, repo_id) as tensors:
        assert tensors.files == [name for name in files if name.startswith("model-")]
        equal(tensors.load(), LAYERS)
    with open_tensors(alice, repo_id, pattern="consolidated.*") as tensors:
        equal(tensors.load(), LAYERS)
    with open_tensors(alice, repo_id, pattern="model-00001*.safetensors") as tensors:
        assert len(tensors) == len(LAYERS) / 2


def test_the_same_name_in_two_files_is_told_with_the_way_out(
    hf_api: HfApi, alice: Client, repo_id: str
) -> None:
    """Nobody can say which is meant."""
    files = {name: save({"a": np.zeros(3)}) for name in ("b/x.safetensors", "a/x.safetensors")}
    publish(hf_api, repo_id, files)
    with pytest.raises(
        InvalidSafetensorsError,
        match=r"a/x\.safetensors and b/x\.safetensors both have .* 'a'; .*`pattern`",
    ):
        open_tensors(alice, repo_id)
    with open_tensors(alice, repo_id, pattern="b/") as tensors:
        assert tensors.files == ["b/x.safetensors"]


def test_a_shard_that_is_missing_is_named(hf_api: HfApi, alice: Client, repo_id: str) -> None:
    """Half a model is no model; an index of files that are all gone is none either."""
    files = shards(LAYERS, 2)
    del files["model-00002-of-00002.safetensors"]
    # Two of them, or nobody needs an index.
    publish(hf_api, repo_id, files | {"adapter.safetensors": save({"a": np.zeros(1)})})
    with pytest.raises(EntryNotFoundError, match="model-00002-of-00002"):
        open_tensors(alice, repo_id)
    hf_api.delete_file("model-00001-of-00002.safetensors", repo_id)
    commit(hf_api, repo_id, {"model.safetensors": save(LAYERS)})
    with open_tensors(alice, repo_id) as tensors:
        assert tensors.files == ["adapter.safetensors", "model.safetensors"]


def test_no_file_fits(hf_api: HfApi, alice: Client, repo_id: str) -> None:
    """The pattern and the commit are named."""
    publish(hf_api, repo_id, {"config.json": b"{}"})
    with pytest.raises(EntryNotFoundError, match=r"no file at [0-9a-f]{40} fits '\*.safetensors'"):
        open_tensors(alice, repo_id)


def test_data_sets_have_tensors_too(hf_api: HfApi, alice: Client, repo_id: str) -> None:
    """And branches with a slash."""
    publish(hf_api, repo_id, {"t.safetensors": save(PLAIN)}, repo_type="dataset")
    hf_api.create_branch(repo_id, branch="a/b", repo_type="dataset")
    with open_tensors(alice, repo_id, repo_type="dataset", revision="a/b") as tensors:
        equal(tensors.load("f*"), {n: a for n, a in PLAIN.items() if n.startswith("f")})


def test_a_client_of_the_environment_will_do(
    hf_api: HfApi, hub: Hub, repo_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is closed when the files are open."""
    publish(hf_api, repo_id, {"model.safetensors": save(PLAIN)})
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    with open_tensors(None, repo_id) as tensors:
        equal(tensors.load("f64"), {"f64": PLAIN["f64"]})


def test_what_is_in_the_cache_needs_no_network(
    hf_api: HfApi, hub: Hub, alice: Client, repo_id: str, cache_dir: Any
) -> None:
    """With `local_files_only`, and for a client that is offline."""
    publish(hf_api, repo_id, shards(LAYERS, 2))
    alice.download_snapshot(repo_id)
    hub.reset_stats()
    with open_tensors(alice, repo_id, local_files_only=True) as tensors:
        equal(tensors.load(), LAYERS)
    with (
        Client(hub.endpoint, cache_dir=cache_dir, offline=True) as offline,
        open_tensors(offline, repo_id) as tensors,
    ):
        equal(tensors.load("*norm*"), {n: a for n, a in LAYERS.items() if "norm" in n})
    assert hub.stats().requests("hub") == hub.stats().requests("storage") == 0


def test_many_threads_read_at_once(sharded: TensorFiles) -> None:
    """One set of open files serves all."""
    names = sorted(LAYERS)
    ready = threading.Barrier(16)

    def one(number: int) -> None:
        ready.wait()
        name = names[number % len(names)]
        for _ in range(3):
            equal({name: sharded[name].load()}, {name: LAYERS[name]})

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(16)))


def test_tensors_of_other_files_are_refused(
    sharded: TensorFiles, alice: Client, repo_id: str
) -> None:
    """They would be read at the wrong place."""
    with (
        open_tensors(alice, repo_id, pattern="*00001-of*") as others,
        pytest.raises(InvalidConfigError, match="other files"),
    ):
        sharded.load(next(iter(others.values())))
