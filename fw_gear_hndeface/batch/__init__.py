"""Many studies: found in a folder, worked off on any number of machines, recorded in a ledger, done once each."""
