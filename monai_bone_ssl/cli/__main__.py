"""``python -m monai_bone_ssl.cli``: the same as ``bone-ssl``, for torchrun."""

from __future__ import annotations

import sys

from monai_bone_ssl.cli import main

sys.exit(main())
