"""The drawn benchmark: coloured shapes that move, change, appear and meet, in real mp4 files. See README.md beside."""
