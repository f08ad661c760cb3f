"""Result -> `.qa.json` for programs and one self-contained `.qa.html` for people. Neither shows the old face."""

from fw_gear_hndeface.report.cohort import cohort_page, cohort_row
from fw_gear_hndeface.report.data import SCHEMA_VERSION, report_data, schema
from fw_gear_hndeface.report.write import write_report

__all__ = ["SCHEMA_VERSION", "cohort_page", "cohort_row", "report_data", "schema", "write_report"]
