"""Piano rolls as MIDI: what another library reads is the roll that was written."""

import mido
import numpy as np

from experiments.lib.midi import write_midi


def read(path, steps, ticks):
    """The roll that the messages of a file describe."""
    roll, now, sounding = np.zeros((steps, 88), int), 0, set()
    for message in mido.MidiFile(path).tracks[0]:
        roll[now // ticks : (now + message.time) // ticks, sorted(sounding)] = 1
        now += message.time
        if message.type in ("note_on", "note_off"):
            (sounding.add if message.type == "note_on" else sounding.remove)(message.note - 21)
    return roll


def test_a_file_holds_the_notes_and_a_held_note_sounds_once(tmp_path):
    first, second = np.zeros((4, 88), int), np.zeros((2, 88), int)
    first[1:3, 39] = first[:, 43] = second[1, 0] = second[0, 87] = 1
    path = write_midi([first, second], tmp_path / "a.mid")
    np.testing.assert_array_equal(read(path, 8, 120), np.concatenate([first, np.zeros((2, 88)), second]))
    assert sum(message.type == "note_on" for message in mido.MidiFile(path).tracks[0]) == 4
