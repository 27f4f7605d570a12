"""vidalign: video-language alignment research in one registry library. Importing it imports nothing heavy."""

__version__ = "0.1.0"
