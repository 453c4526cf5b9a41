"""Work of each of two processes: a centre of unequal shares, then a run in two parts."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from monai_bone_ssl.training.compute.distributed import join_processes
from monai_bone_ssl.training.ssl.losses import Centre
from monai_bone_ssl.training.ssl.pretrain import make_pretrainer
from monai_bone_ssl.training.ssl.recipe import Recipe
from training.ssl.runs import NAME, SMALL, narrow_networks

# No drop path, as each process draws its own. iBOT has masks and a second centre to be shared as well.
RECIPE = Recipe(
    **(SMALL | {"epochs": 3, "warmup_epochs": 1}), learning_rate=5e-3, drop_path=0.0, ibot_weight=1.0
)

OUTPUTS = 2 * torch.rand(8, 7, generator=torch.Generator().manual_seed(0)) - 1
#: Rows of OUTPUTS that the first and the second process have, update by update.
SHARES = ((slice(0, 3), slice(3, 8)), (slice(0, 0), slice(0, 8)), (slice(0, 0), slice(0, 0)))


def main(folder: Path) -> None:
    with join_processes() as process, narrow_networks():
        centre = Centre(OUTPUTS.shape[1])
        for shares in SHARES:
            centre.update(OUTPUTS[shares[process.rank]])
        torch.save(centre.value, folder / f"centre{process.rank}.pt")
        data, cache = folder / "limbs" / "list.csv", folder / "cache"
        for minutes in (0, None):
            make_pretrainer([data], folder / "two", NAME, RECIPE, process, cache=cache, minutes=minutes).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
