"""Demonstrations in, perturbed demonstrations out: every arm of the ablation and the proof of what was changed.

Reading order: `demonstration` (the types), `segment` (thought -> steps), `base` (what a perturbation is), one file per
perturbation, `sources` (files and hub data sets -> demonstrations), `apply` (a corpus through a perturbation).
"""
