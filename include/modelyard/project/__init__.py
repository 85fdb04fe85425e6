"""The model project contract: model.yaml, the files beside it, and what `check` and `lock` make of them."""

from __future__ import annotations

from modelyard.project.deployment import Deployment, Environment
from modelyard.project.load import load
from modelyard.project.model import DataSet, MetricGate, Owner, Project
from modelyard.project.serving import Resources

__all__ = ["DataSet", "Deployment", "Environment", "MetricGate", "Owner", "Project", "Resources", "load"]
