"""Scoring: benchmark problems, generation engines, grading, estimators.

Engines are child processes started as ``python -m evaluate.<engine>_worker SPEC.json``; everything else is importable
without torch.
"""
