"""Tables and figures from finished runs: reads files only, imports neither torch nor Hydra."""
