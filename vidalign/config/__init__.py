"""YAML files, base files and command-line options -> one checked Experiment. The only door of omegaconf."""
