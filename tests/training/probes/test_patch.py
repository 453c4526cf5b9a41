"""The patch probe: what it learns from outlines, what from image labels, and that the network computes it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from monai_bone_ssl.training.data import AnnotatedBox
from monai_bone_ssl.training.networks.network import PatchProbe
from monai_bone_ssl.training.networks.patch_tokens import Basis, PatchTokens
from monai_bone_ssl.training.probes import patch
from monai_bone_ssl.training.probes.patch import (
    HIDDEN,
    HIGHEST,
    fit_patch_probe,
    out_of_fold_scores,
    outlined_share,
    set_patch_probe,
    top_means,
)
from training.labelled import make_dataset

GRID = (6, 8)
COMPONENTS = 16
N = 120


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Tokens, labels and places: every second image has three neighbouring patches that differ from noise."""
    folder = tmp_path_factory.mktemp("tokens")
    rng = np.random.default_rng(0)
    entries, places = [], []
    for i in range(N):
        projected = rng.normal(size=(*GRID, COMPONENTS)).astype(np.float16)
        row, column = rng.integers(GRID[0]), rng.integers(GRID[1] - 2)
        if i % 2:
            projected[row, column : column + 3, :4] += 2
        entries.append(folder / f"{i}.npz")
        np.savez(entries[-1], features=np.zeros(2, np.float32), projected=projected)
        places.append((row, column))
    dataset = make_dataset([i % 2 for i in range(N)], ["hand"] * N, [f"group{i // 2}" for i in range(N)])
    basis = Basis(np.zeros(COMPONENTS, np.float32), np.eye(COMPONENTS, dtype=np.float32))
    return PatchTokens(np.zeros((N, 2), np.float32), basis, tuple(entries)), dataset, places


def outlines(places):
    shares = []
    for i, (row, column) in enumerate(places):
        share = np.zeros(GRID, np.float32)
        share[row, column : column + 3] = 1
        shares.append(share if i % 2 else None)
    return shares


def hits(scores, places):
    found = [np.unravel_index(of_image.argmax(), GRID) for of_image in scores]
    return np.mean(
        [r == row and column <= c < column + 3 for (r, c), (row, column) in zip(found, places, strict=True)]
    )


@pytest.mark.parametrize("with_outlines", [True, False], ids=["outlines", "image labels"])
def test_the_planted_patches_are_found_in_images_that_were_not_learnt(planted, with_outlines):
    tokens, dataset, places = planted
    folds = [(np.arange(0, 80), np.arange(80, N)), (np.arange(80, N), np.arange(0, 80))]
    shares = outlines(places) if with_outlines else [None] * N
    scores = out_of_fold_scores(tokens, dataset, folds, shares)
    positive = list(range(1, N, 2))
    assert hits([scores[i] for i in positive], [places[i] for i in positive]) > 0.6  # by chance 3 of 48
    means = top_means(scores)
    assert np.median(means[1::2]) > np.quantile(means[::2], 0.9)


def test_outlines_tell_what_image_labels_cannot(planted):
    """Where every positive image also has a mark elsewhere, only outlines say which of the two is meant."""
    tokens, dataset, places = planted
    marked = replace(tokens)
    read = PatchTokens.__getitem__

    class Marked(PatchTokens):
        def __getitem__(self, image):
            projected = read(self, image).copy()
            if image % 2:
                projected[0, 0, 8:12] += 3
            return projected

    marked = Marked(tokens.features, tokens.basis, tokens.entries)
    train, test = np.arange(0, 80), np.arange(81, N, 2)
    probe = fit_patch_probe(marked, dataset, train, outlines(places))
    scores = [probe(torch.from_numpy(marked[int(i)]).float()).numpy() for i in test]
    assert hits(scores, [places[i] for i in test]) > 0.7


def test_a_fit_is_the_same_every_time_and_leaves_the_random_state_alone(planted):
    tokens, dataset, places = planted
    state = torch.random.get_rng_state()
    first, second = (
        fit_patch_probe(tokens, dataset, np.arange(40), outlines(places)).state_dict() for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_network_scores_tokens_as_the_head_scores_their_projections():
    rng = np.random.default_rng(1)
    width = 24
    basis = Basis(
        rng.normal(size=width).astype(np.float32), rng.normal(size=(width, COMPONENTS)).astype(np.float32) / 5
    )
    head = patch.PatchHead(COMPONENTS)
    probe = PatchProbe(width, HIDDEN, HIGHEST).requires_grad_(False)
    set_patch_probe(probe, head.requires_grad_(False), basis)
    tokens = rng.normal(size=(1, width, *GRID)).astype(np.float32)
    both_views = torch.from_numpy(np.concatenate([tokens, tokens[..., ::-1]]))
    scores = probe(both_views, torch.ones(1, *GRID, dtype=torch.bool))[0]
    expected = head(torch.from_numpy((np.moveaxis(tokens[0], 0, 2) - basis.mean) @ basis.matrix))
    torch.testing.assert_close(scores, expected, atol=2e-3, rtol=2e-3)
    assert (probe.hidden.weight == probe.hidden.weight.half().float()).all()


def test_shares_of_outlines_count_pixels(tmp_path):
    rows, columns, grid = 96, 64, (12, 8)
    Image.new("L", (columns, rows)).save(tmp_path / "a.png")
    boxes = (AnnotatedBox(3, 10, 21, 30), AnnotatedBox(20, 36, 40, 17))
    (image,) = make_dataset([1], ["hand"], ["group0"]).images
    share = outlined_share(replace(image, path=tmp_path / "a.png", boxes=boxes), grid)
    inside = np.zeros((rows, columns))
    for box in boxes:
        inside[box.y : box.y + box.height, box.x : box.x + box.width] = 1
    np.testing.assert_allclose(share, inside.reshape(12, 8, 8, 8).mean(axis=(1, 3)), atol=1e-6)
    assert outlined_share(image, grid) is None
