"""Published encoders and language models, taken from libraries wherever their numbers equal the reference."""
