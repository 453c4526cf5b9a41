"""The feature cache: what is computed, what is read, and that neither batches nor processes change it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from processes import run_module

from monai_bone_ssl import cli
from monai_bone_ssl.errors import ConfigError, CorruptImage, UnsupportedImage
from monai_bone_ssl.model.preprocessing import PreprocessSpec, preprocess
from monai_bone_ssl.training.data import read_grey
from monai_bone_ssl.training.data.input_spec import input_spec
from monai_bone_ssl.training.networks import features
from monai_bone_ssl.training.networks.backbone import create_backbone, save_backbone
from monai_bone_ssl.training.networks.extractors import ClassTokens
from monai_bone_ssl.training.networks.features import cache_name, extract_features

SPEC = PreprocessSpec(32, 16, 1.0, 99.0)
SIZES = [(40, 32), (32, 40), (40, 32), (20, 40), (40, 32), (32, 40), (40, 32)]


@pytest.fixture(scope="module")
def extractor():
    torch.manual_seed(0)
    return ClassTokens(create_backbone("test_vit").eval().requires_grad_(False), blocks=1)


def _write_images(folder):
    rng = np.random.default_rng(0)
    paths = []
    for number, size in enumerate(SIZES):
        paths.append(folder / f"{number}.png")
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(paths[-1])
    return paths


@pytest.fixture
def images(tmp_path):
    return _write_images(tmp_path)


def _naive(extractor, paths, spec=SPEC):
    with torch.inference_mode():
        rows = [extractor(torch.from_numpy(preprocess(read_grey(path), spec))[None, None]) for path in paths]
    return torch.cat(rows).numpy()


class Counting:
    """An extractor that counts the images it is given, and the size of each batch."""

    def __init__(self, extractor):
        self.extractor = extractor
        self.batches = []
        self.width, self.stride, self.recipe = extractor.width, extractor.stride, extractor.recipe

    def to(self, device):
        self.extractor.to(device)

    def __call__(self, image):
        self.batches.append(len(image))
        return self.extractor(image)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_features_are_those_of_each_image_alone_in_the_given_order(
    extractor, images, tmp_path, monkeypatch, batch_size
):
    monkeypatch.setitem(features._BATCH_SIZE, "cpu", batch_size)
    counting = Counting(extractor)
    found = extract_features(counting, SPEC, images, tmp_path / "cache")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, _naive(extractor, images), atol=2e-5)
    # six images become 32 x 32 pixels, the narrow one 16 x 32
    assert sorted(counting.batches) == {1: 7 * [1], 2: [1, 2, 2, 2], 32: [1, 6]}[batch_size]
    assert sum(counting.batches) == len(images)


def test_nothing_is_computed_twice(extractor, images, tmp_path):
    cache = tmp_path / "cache"
    counting = Counting(extractor)
    some = extract_features(counting, SPEC, images[2:5], cache)
    assert sum(counting.batches) == 3
    resumed = extract_features(counting, SPEC, images, cache)
    assert sum(counting.batches) == 7, "only the four that were missing"
    again = extract_features(counting, SPEC, images[::-1], cache)
    assert sum(counting.batches) == 7
    np.testing.assert_array_equal(resumed[2:5], some)
    np.testing.assert_array_equal(again[::-1], resumed)


def test_equal_files_are_computed_once_and_a_changed_one_again(extractor, images, tmp_path):
    cache = tmp_path / "cache"
    copy = tmp_path / "copy.png"
    copy.write_bytes(images[0].read_bytes())
    counting = Counting(extractor)
    found = extract_features(counting, SPEC, [images[0], copy, images[1]], cache)
    assert sum(counting.batches) == 2
    np.testing.assert_array_equal(found[0], found[1])
    copy.write_bytes(images[2].read_bytes())
    changed = extract_features(counting, SPEC, [copy], cache)
    assert sum(counting.batches) == 3
    np.testing.assert_allclose(changed, _naive(extractor, [images[2]]), atol=2e-5)


def test_the_cache_is_little_endian_float32_named_by_content(extractor, images, tmp_path):
    found = extract_features(extractor, SPEC, images[:1], tmp_path / "cache")
    name = hashlib.sha256(images[0].read_bytes()).hexdigest()
    (entry,) = (tmp_path / "cache").rglob("*.f32")
    assert entry == tmp_path / "cache" / cache_name(extractor, SPEC) / f"{name}.f32"
    np.testing.assert_array_equal(np.frombuffer(entry.read_bytes(), "<f4"), found[0])
    assert len(cache_name(extractor, SPEC)) == 32


def test_an_entry_of_the_wrong_length_is_replaced(extractor, images, tmp_path):
    cache = tmp_path / "cache"
    whole = extract_features(extractor, SPEC, images[:1], cache)
    (entry,) = cache.rglob("*.f32")
    entry.write_bytes(entry.read_bytes()[:-5])
    again = extract_features(extractor, SPEC, images[:1], cache)
    np.testing.assert_allclose(again, whole, atol=2e-5)
    assert entry.stat().st_size == again.nbytes


def test_other_preprocessing_has_another_folder(extractor):
    specs = [SPEC, PreprocessSpec(48, 16, 1.0, 99.0), PreprocessSpec(32, 16, 2.0, 99.0)]
    assert len({cache_name(extractor, spec) for spec in specs}) == 3


def test_a_stopped_run_keeps_what_it_computed(extractor, images, tmp_path):
    cache = tmp_path / "cache"
    images[5].write_bytes(b"no image")
    with pytest.raises(CorruptImage, match=r"5\.png"):
        extract_features(extractor, SPEC, images, cache)
    kept = len(list(cache.rglob("*.f32")))
    counting = Counting(extractor)
    good = images[:5] + images[6:]
    extract_features(counting, SPEC, good, cache)
    assert sum(counting.batches) == 6 - kept
    assert kept > 0


def test_unusable_images_are_named(extractor, tmp_path):
    blank = tmp_path / "blank.png"
    Image.new("L", (40, 40), 7).save(blank)
    with pytest.raises(UnsupportedImage, match=r"^blank\.png: .*blank"):
        extract_features(extractor, SPEC, [blank], tmp_path / "cache")
    with pytest.raises(CorruptImage, match=r"^gone\.png: cannot be read"):
        extract_features(extractor, SPEC, [tmp_path / "gone.png"], tmp_path / "cache")


def test_no_images_have_no_features(extractor, tmp_path):
    assert extract_features(extractor, SPEC, [], tmp_path / "cache").shape == (0, extractor.width)


def test_size_has_to_be_whole_strides():
    assert input_spec(448, 14) == PreprocessSpec(448, 14, 1.0, 99.0)
    for long_side in (450, 7, 0):
        with pytest.raises(ConfigError, match="multiple of 14"):
            input_spec(long_side, 14)


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def data(images, tmp_path):
    rows = [f"{path.name},{i % 2},hand,patient{i // 2},{'valid' if i > 3 else 'train'}"
            for i, path in enumerate(images)]  # fmt: skip
    path = tmp_path / "list.csv"
    path.write_text("\n".join(["path,label,part,patient,split", *rows]) + "\n")
    return path


@pytest.fixture
def weights(extractor, tmp_path):
    path = tmp_path / "test_vit.safetensors"
    save_backbone(extractor.backbone, path)
    return path


def _arguments(data, weights, out, cache):
    return ["features", str(data), "--backbone", str(weights), "--features", "class", "--long-side", "32",
            "--cache", str(cache), "-o", str(out)]  # fmt: skip


def test_the_file_holds_features_and_what_belongs_to_them(data, weights, tmp_path):
    out = tmp_path / "out" / "features.npz"
    assert cli.main(_arguments(data, weights, out, tmp_path / "cache")) == 0
    with np.load(out, allow_pickle=False) as file:
        content = dict(file)
    assert content["features"].shape == (7, 5 * 64)
    assert content["features"].dtype == np.float32
    assert content["names"].tolist() == [f"{i}.png" for i in range(7)]
    assert content["labels"].tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert content["groups"].tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert content["splits"].tolist() == ["train"] * 4 + ["valid"] * 3
    assert set(content["parts"]) == {"hand"}
    assert b"patient" not in out.read_bytes()


def test_two_processes_share_the_work_and_give_what_one_gives(data, weights, tmp_path):
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    assert cli.main(_arguments(data, weights, one, tmp_path / "cache_of_one")) == 0
    verb = _arguments(data, weights, two, tmp_path / "cache_of_two")
    run = run_module("monai_bone_ssl.cli", verb, folder=tmp_path, processes=2)
    assert run.returncode == 0, run.stderr
    entries = [{path.name for path in (tmp_path / f"cache_of_{n}").rglob("*.f32")} for n in ("one", "two")]
    assert entries[0] == entries[1]
    assert len(entries[0]) == 7
    with np.load(one) as first, np.load(two) as second:
        for key in first:
            if key == "features":  # these processes have one thread each, and rounding depends on the threads
                np.testing.assert_allclose(first[key], second[key], atol=2e-5)
            else:
                np.testing.assert_array_equal(first[key], second[key])


class _Captured(Exception):
    """Ends extract_features where the computation would begin."""


def test_each_process_computes_its_share(extractor, images, tmp_path, monkeypatch):
    shares = []

    def capture(_extractor, _spec, missing, *, quiet):
        shares.append((set(missing.values()), quiet))
        raise _Captured

    monkeypatch.setattr(features, "_compute", capture)
    monkeypatch.setattr(features, "wait_for_all", lambda: None)
    for rank in range(2):
        monkeypatch.setattr(features, "_place", lambda rank=rank: (rank, 2))
        with pytest.raises(_Captured):
            extract_features(extractor, SPEC, images, tmp_path / "cache")
    (first, first_quiet), (second, second_quiet) = shares
    assert (len(first), len(second)) == (4, 3)
    assert first | second == set(images)
    assert (first_quiet, second_quiet) == (False, True)


def test_cuda_and_cpu_agree(extractor, images, tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    on_gpu = extract_features(extractor, SPEC, images, tmp_path / "gpu")
    monkeypatch.setattr(features, "computing_device", lambda: torch.device("cpu"))
    np.testing.assert_allclose(on_gpu, extract_features(extractor, SPEC, images, tmp_path / "cpu"), atol=1e-2)
