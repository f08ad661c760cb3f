"""The only door to DICOM: archives, headers, stacks of slices, structure sets, and the bytes that go out.

Order inside the package, each importing only from those before it: limits, containers, archive, uids, headers, study, geometry,
codestream, pixels, phases, series, rtstruct, tags, splice, write, carry_rtstruct, carry_rtdose.
"""

import logging
import warnings

from pydicom import config

# pydicom quotes offending values (names, dates, UIDs) in its warnings; such text must never reach a log. What matters to the
# result is checked by this package itself.
config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\b")
