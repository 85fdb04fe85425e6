"""The parent of a project's process: records what the process relays, and holds the credentials it does not have."""

from modelyard.recording.candidate import register
from modelyard.recording.training import Finished, train

__all__ = ["Finished", "register", "train"]
