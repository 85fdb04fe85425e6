"""Compilation: a model as ONNX, and the proof that it answers as the model itself does."""

from modelyard.compilation.compile import Compilation, Converter, compile_model
from modelyard.compilation.transcript import Transcript, ask_golden

__all__ = ["Compilation", "Converter", "Transcript", "ask_golden", "compile_model"]
