"""What every other package may use: records, errors, safe files, processes, random keys."""
