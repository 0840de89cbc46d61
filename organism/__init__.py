"""The embedded default: an arithmetic world, its teacher, its checker and a base model small enough for a laptop."""
