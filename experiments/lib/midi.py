"""Write piano rolls as MIDI files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zf_jax.data.music import LOWEST_NOTE

_TICKS = 120  # per step: an eighth note at 240 ticks per quarter note
_REST = 2  # steps of silence between two sequences


def write_midi(rolls: list[np.ndarray], path: Path) -> Path:
    """Write piano rolls, ``[T, 88]`` of 0 and 1 each, one after another into one MIDI file, and return the path.

    A note that is 1 in consecutive steps is one held note.

    Args:
      rolls: column d is the MIDI note 21 + d; a step is an eighth note at 120 quarter notes per minute.
      path: the file to write.
    """
    import mido

    track, waited = mido.MidiTrack(), 0
    for roll in rolls:
        silence = np.zeros((1, roll.shape[1]), int)
        states = np.concatenate([silence, np.asarray(roll) > 0.5, silence]).astype(int)
        for change in np.diff(states, axis=0):
            for kind, sign in (("note_off", -1), ("note_on", 1)):
                for note in np.flatnonzero(change == sign):
                    track.append(mido.Message(kind, note=int(note) + LOWEST_NOTE, velocity=64, time=waited))
                    waited = 0
            waited += _TICKS
        waited += (_REST - 1) * _TICKS  # the step in which the last notes end counts as silence
    file = mido.MidiFile(ticks_per_beat=2 * _TICKS)
    file.tracks.append(track)
    file.save(path)
    return path
