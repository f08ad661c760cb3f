"""The platform's door: runs the job laid out in the folder given as argument, in FLYWHEEL, or here."""

import os
import sys
from pathlib import Path

from fw_gear_hndeface.gear import main

if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("FLYWHEEL", "."))
    sys.exit(main(root, Path(__file__).resolve().with_name("manifest.json")))
