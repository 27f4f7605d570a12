"""Pickles that make a folder when they are opened: nothing in vidalign may do so."""

import io
import os
import pickle

import numpy as np
import torch


class Hostile:
    """Unpickling it makes the folder `mark`."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


class HostileState(Hostile):
    """The call hides in the state of an allowed class."""

    def __reduce__(self):
        import argparse

        return argparse.Namespace, (), {"x": Hostile(self.mark)}


def zipped(mark):
    return _saved({"model": Hostile(mark)})


def old_format(mark):
    return _saved({"model": {"a": torch.zeros(2), "b": Hostile(mark)}}, _use_new_zipfile_serialization=False)


def in_a_namespace(mark):
    return _saved({"model": {"a": torch.zeros(2)}, "args": HostileState(mark)})


def plain_pickle(mark):
    return pickle.dumps({"a": Hostile(mark)})


def pickled_array(mark):
    buffer = io.BytesIO()
    np.save(buffer, np.array([Hostile(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def _saved(content, **settings):
    buffer = io.BytesIO()
    torch.save(content, buffer, **settings)
    return buffer.getvalue()


KINDS = (zipped, old_format, in_a_namespace, plain_pickle, pickled_array)
