"""What runs in the child process: `python -m fw_gear_hndeface.networks.child MODULE:FUNCTION ARGUMENT...`."""

from __future__ import annotations

import importlib
import re
import sys

from fw_gear_hndeface.networks.sharing import send_tensors_as_bytes

#: More operators than torchvision has.
MOST_OPERATORS = 50


def main() -> None:
    """Call the function that the first argument names, with the others as its command line."""
    module, _, function = sys.argv[1].partition(":")
    sys.argv = [module, *sys.argv[2:]]
    _mend_torchvision()
    getattr(importlib.import_module(module), function)()


def _mend_torchvision() -> None:
    """Let a torchvision that was built for another torch be imported.

    nnU-Net looks through all of its trainers, some of which import timm and with it torchvision. None of its operators is used
    here, but beside a CPU build of torch it stumbles over each that is not registered.
    """
    for _ in range(MOST_OPERATORS):
        try:
            import torch
            import torchvision  # noqa: F401
        except ImportError:
            return
        except RuntimeError as error:
            unknown = re.search(r"operator (torchvision::\w+) does not exist", str(error))
            if unknown is None:
                raise
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            torch.library.define(unknown[1], "(Tensor unused) -> Tensor")
        else:
            return


if __name__ in ("__main__", "__mp_main__"):  # the workers that nnU-Net starts import this file by the second name
    send_tensors_as_bytes()

if __name__ == "__main__":
    main()
