"""What defacing costs and what it leaves: tables over cohorts, and the audit of any study."""
