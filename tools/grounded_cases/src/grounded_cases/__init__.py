"""Tests that ReferFormer and MUTR share: their golden cases, whole predictors, training."""

from grounded_cases.inference import compare_inference
from grounded_cases.learning import TrainingContract
from grounded_cases.loading import LoadedCase, load_case, torch_weights
from grounded_cases.predicting import SENTENCES, PredictorContract
from grounded_cases.processing import compare_postprocessing, compare_preprocessing
from grounded_cases.training import compare_training

__all__ = [
    "SENTENCES",
    "LoadedCase",
    "PredictorContract",
    "TrainingContract",
    "compare_inference",
    "compare_postprocessing",
    "compare_preprocessing",
    "compare_training",
    "load_case",
    "torch_weights",
]
