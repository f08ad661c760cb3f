"""What follows the defaced CT into the archive: structure sets, doses, plans, registrations, segmentations and other images."""

from fw_gear_hndeface.carry.follow import CARRIED, LEFT_OUT, Carried, Fate, carry
from fw_gear_hndeface.carry.frames import Leader

__all__ = ["CARRIED", "LEFT_OUT", "Carried", "Fate", "Leader", "carry"]
