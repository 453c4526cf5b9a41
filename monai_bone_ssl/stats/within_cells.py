"""AUROC inside cells of images taken alike, where a score earns nothing by telling the cells apart.

Where one site, device or period has more positives than another, a score that only tells them apart has an
AUROC above 0.5 over all images. Inside a cell (one acquisition range and one body part) it has none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monai_bone_ssl.stats.bootstrap import ratio, weighted_auroc

__all__ = ["MIN_CASES_IN_CELL", "auroc_within_cells", "weighted_auroc_within_cells"]

#: Least number of positive, and of negative, images of a cell that counts.
MIN_CASES_IN_CELL = 5


def auroc_within_cells(
    scores: NDArray[np.floating], labels: NDArray[np.int64], cells: NDArray[np.str_]
) -> float:
    """Mean of the cells' AUROCs, each weighted by the number of images of its smaller class.

    Parameters
    ----------
    scores
        Score of each image [n], larger for the target; best an out-of-fold one.
    labels
        Label of each image [n], 0 or 1.
    cells
        Cell of each image [n].

    Returns
    -------
    Area, 0 to 1; NaN where no cell has :data:`MIN_CASES_IN_CELL` images of either class.
    """
    return float(weighted_auroc_within_cells(np.ones((1, len(labels))), labels, scores, cells)[0])


def weighted_auroc_within_cells(
    weights: NDArray[np.float64],
    labels: NDArray[np.int64],
    scores: NDArray[np.floating],
    cells: NDArray[np.str_],
) -> NDArray[np.float64]:
    """:func:`auroc_within_cells` [b] for each row of weights [b, n], how often each image counts.

    The cells that count are those with cases enough when each image counts once.
    """
    total, sizes = np.zeros((2, len(weights)))
    for cell in np.unique(cells):
        here = cells == cell
        positive = labels[here] == 1
        if min(positive.sum(), (~positive).sum()) < MIN_CASES_IN_CELL:
            continue
        own = weights[:, here]
        size = np.minimum(own @ positive, own @ ~positive)
        area = weighted_auroc(own, labels[here], scores[here])  # NaN where the smaller class counts 0 times
        total += np.nan_to_num(area) * size
        sizes += size
    return ratio(total, sizes)
