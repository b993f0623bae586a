"""A process of several that fails, is killed or is stopped: the others end soon, each with one sentence."""

import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from helpers.runs import ROOT, command, environment, tiny_flags

from experiments.lib import coordinator, lifeline


def start(workdir, number, changes=lambda index: {}, **settings):
    """Start ``experiments.train`` in ``number`` processes of one device each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    sizes = {"train.batch_size": 6, "train.eval_batch_size": 6, "train.eval_sequences": 6} | settings
    return [
        subprocess.Popen(
            command(
                "train",
                *tiny_flags(workdir, **sizes | changes(index)),
                *(f"--coordinator_address={address}", f"--num_processes={number}", f"--process_id={index}"),
            ),
            cwd=ROOT,
            env=environment() | {"JAX_NUM_CPU_DEVICES": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(number)
    ]


def after_step(process, step):
    """Wait until a process has printed the line of a step."""
    for line in process.stdout:
        if line.startswith(f"step {step}:"):
            return
    raise AssertionError(process.stderr.read())


def ends(processes, seconds=60):
    """Return what processes print on stderr until they end, without what JAX says of its connections and of signals."""
    limit, found = time.monotonic() + seconds, []
    for process in processes:
        _, err = process.communicate(timeout=limit - time.monotonic())
        found.append([line for line in err.splitlines() if "[Gloo] Rank" not in line and "SIGTERM caught" not in line])
    return found


def test_data_that_one_process_cannot_read_end_all_with_its_sentence(tmp_path):
    processes = start(tmp_path, 2, lambda index: {"data.name": "nowhere"} if index else {})
    theirs, mine = ends(processes, 120)
    assert len(mine) == 1 and mine[0].startswith("error: ") and "nowhere" in mine[0]
    assert len(theirs) == 1 and theirs[0].startswith(f"error: process 1 of the run ended: {mine[0][7:]}; start all")
    assert [process.returncode for process in processes] == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("refused", [0, 1])
def test_a_process_that_is_refused_before_it_joins_tells_the_others(tmp_path, refused):
    """Each parses its flags before it joins; one alone has a field that no config has."""
    processes = start(tmp_path, 2, lambda index: {"no_such_field": 1} if index == refused else {})
    found = ends(processes, 120)
    mine, theirs = found[refused], found[1 - refused]
    assert mine == ["error: the config has no field 'no_such_field'; the config file lists its fields"]
    assert theirs == [f"error: process {refused} of the run ended: {mine[0][7:]}; {lifeline.AGAIN}"]
    assert [process.returncode for process in processes] == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "victim"), [(2, 0), (2, 1), (3, 1)])
def test_a_killed_process_ends_the_others_with_one_sentence_each(tmp_path, number, victim):
    processes = start(tmp_path, number, **{"train.num_steps": 10**6})
    after_step(processes[0], 20)
    processes[victim].kill()
    found = ends(processes)
    for index, process in enumerate(processes):
        assert process.returncode == (-signal.SIGKILL if index == victim else 1)
        lost = f"error: process {victim} of the run is gone; {lifeline.AGAIN}"
        assert found[index] == ([] if index == victim else [lost])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_one_process_makes_all_save_and_end_well(tmp_path, number):
    processes = start(tmp_path, 2, **{"train.num_steps": 10**6})
    after_step(processes[0], 20)
    processes[1].send_signal(number)
    assert ends(processes) == [[], []]
    assert [process.returncode for process in processes] == [0, 0]
    assert (tmp_path / "checkpoints").is_dir() and not list((tmp_path / "checkpoints").glob("*tmp*"))


@pytest.fixture
def served():
    """A coordinator of two processes in a thread, their streams, and the pipe of its parent."""
    listening = socket.create_server(("127.0.0.1", 0))
    parent, pipe = os.pipe()
    serving = threading.Thread(target=coordinator.Coordinator(listening, 2, 7).serve, args=(os.fdopen(parent),))
    serving.start()
    streams = [socket.create_connection(listening.getsockname(), timeout=10) for _ in range(2)]
    yield streams, serving
    for stream in streams:
        stream.close()
    os.close(pipe)
    serving.join(10)
    assert not serving.is_alive()
    listening.close()


def say(stream, **message):
    stream.sendall(json.dumps(message).encode() + b"\n")


def heard(stream):
    """The next message of a stream; None at its end."""
    for line in stream.makefile():
        if line.strip():
            return json.loads(line)
    return None


def test_the_first_loss_alone_is_told_and_a_process_that_is_done_is_not_lost(served):
    (first, second), _ = served
    for index, stream in enumerate((first, second)):
        say(stream, process=index, token=7)
    say(first, done=True)
    time.sleep(0.1)
    first.close()
    say(second, ended="no data")  # its own end is not told to itself
    second.shutdown(socket.SHUT_WR)
    assert heard(second) is None


def test_a_loss_is_told_to_a_process_that_comes_later(served):
    (first, second), _ = served
    say(first, process=0, token=7)
    say(first, ended="no data")
    first.shutdown(socket.SHUT_WR)
    assert heard(first) is None  # it was read to its end
    say(second, process=1, token=7)
    assert heard(second) == {"lost": 0, "sentence": "ended: no data"}


def test_a_process_that_goes_without_a_word_is_told_to_the_other(served):
    (first, second), _ = served
    for index, stream in enumerate((first, second)):
        say(stream, process=index, token=7)
    time.sleep(0.1)
    first.close()
    assert heard(second) == {"lost": 0, "sentence": "is gone"}


def test_a_stranger_is_turned_away_and_a_silent_process_is_lost(served, monkeypatch):
    monkeypatch.setattr(coordinator, "SIGN_OF_LIFE", 0.05)
    monkeypatch.setattr(coordinator, "SILENCE", 0.3)
    (first, second), _ = served
    say(first, process=0, token=8)
    assert heard(first) is None
    say(second, process=1, token=7)
    with socket.create_connection(second.getpeername(), timeout=10) as third:
        say(third, process=0, token=7)
        live = threading.Event()

        def lives():
            while not live.wait(0.05):
                second.sendall(b"\n")

        threading.Thread(target=lives).start()
        assert heard(second) == {"lost": 0, "sentence": "has not answered for 0 seconds"}
        live.set()
