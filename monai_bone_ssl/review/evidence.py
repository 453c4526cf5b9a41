"""Evidence that ``analyze --evidence`` left beside result.json, for viewers that have no model at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.review.worklist import Case
from monai_bone_ssl.shown_image import evidence_map_name

__all__ = ["load_evidence"]


def load_evidence(out: Path, case: Case) -> npt.NDArray[np.float32] | None:
    """Each patch's share of the logit, float32 [h, w], in logit; they cover the image from edge to edge.

    Parameters
    ----------
    out
        Folder with result.json.
    case
        Of its worklist.

    Returns
    -------
    None where there is none: the image was not analysed, or ``--evidence`` was not given.

    Raises
    ------
    ConfigError
        ``INVALID_DATA`` where the file is damaged.
    """
    if case.decision is None or case.sop_instance_uid is None:
        return None
    path = out / evidence_map_name(case.sop_instance_uid)
    if not path.is_file():
        return None
    try:
        evidence = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(ReasonCode.INVALID_DATA, f"{path}: cannot be read as an array") from error
    if evidence.dtype != np.float32 or evidence.ndim != 2 or not np.isfinite(evidence).all():
        text = f"{path}: {evidence.dtype} {evidence.shape}, expected finite float32 [h, w]"
        raise ConfigError(ReasonCode.INVALID_DATA, text)
    return np.asarray(evidence)
