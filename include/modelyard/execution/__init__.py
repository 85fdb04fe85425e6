"""How a step's command is started in each execution mode; a step does not know which one it runs in."""

from modelyard.execution.command import Command, ImageBeside, ProjectImage

__all__ = ["Command", "ImageBeside", "ProjectImage"]
