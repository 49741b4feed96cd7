import io
import os
import threading

import pytest

from acl_tf.launch.output import Pump, Sink, lines, whole_lines


@pytest.mark.parametrize(
    "chunks, expected",
    [
        ([b"one\ntwo\n"], [b"one", b"two"]),
        ([b"o", b"ne\nt", b"wo"], [b"one", b"two"]),
        ([b"\n\none\n"], [b"", b"", b"one"]),
        ([b"one\r\ntwo\r", b"\nthree\r\n"], [b"one", b"two", b"three"]),
        ([b"1/3\r2/3\r", b"3/3\ndone\n"], [b"1/3", b"2/3", b"3/3", b"done"]),
        ([b"\r1/3\r2/3\r3/3\n"], [b"1/3", b"2/3", b"3/3"]),
        ([b"1/2\r\r\n"], [b"1/2", b""]),
        ([b"half\r"], [b"half"]),
        ([b"\r"], []),
        ([b"K\xc3", b"\xa4uzchen \xff\n"], [b"K\xc3\xa4uzchen \xff"]),
        ([], []),
    ],
)
def test_lines(chunks, expected):
    assert list(lines(iter(chunks))) == expected


@pytest.mark.parametrize(
    "chunks, expected",
    [
        ([b"one\ntwo\nth", b"r", b"ee\n"], [b"one\ntwo\n", b"three\n"]),
        ([b"\r\n", b"half"], [b"\r\n", b"half"]),
        ([], []),
    ],
)
def test_whole_lines(chunks, expected):
    assert list(whole_lines(iter(chunks))) == expected


def pumped(chunks: list[bytes], prefix: str | None) -> bytes:
    read, write = os.pipe()
    stream = io.BytesIO()
    pump = Pump(os.fdopen(read, "rb", buffering=0), Sink(stream), prefix)
    pump.start()
    with os.fdopen(write, "wb", buffering=0) as worker:
        for chunk in chunks:
            worker.write(chunk)
    pump.join()
    return stream.getvalue()


def test_each_line_says_whose_it_is():
    assert pumped([b"one\nt", b"wo\r3"], "[1] ") == b"[1] one\n[1] two\n[1] 3\n"


def test_a_result_goes_on_byte_by_byte():
    assert pumped([b"one\r\nt", b"wo\r3\xff"], None) == b"one\r\ntwo\r3\xff"


def test_a_line_goes_on_before_the_next_one_comes():
    read, write = os.pipe()
    came = threading.Event()

    class Stream(io.BytesIO):
        def flush(self) -> None:
            came.set()

    pump = Pump(os.fdopen(read, "rb", buffering=0), Sink(Stream()), "[0] ")
    pump.start()
    with os.fdopen(write, "wb", buffering=0) as worker:
        worker.write(b"one\nha")
        assert came.wait(10)
    pump.join()


def test_lines_of_several_do_not_mix():
    class Slow(io.BytesIO):
        """A stream that gives way to others in mid-line."""

        def write(self, line) -> int:
            for place in range(0, len(line), 3):
                super().write(line[place : place + 3])
                threading.Event().wait(0.0001)
            return len(line)

    sink = Sink(Slow())
    threads = [
        threading.Thread(target=lambda mine=letter: [sink.write(mine * 20 + b"\n") for _ in range(20)])
        for letter in (b"a", b"b", b"c")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = sink.stream.getvalue().splitlines()
    assert sorted(written) == [letter * 20 for letter in (b"a", b"b", b"c") for _ in range(20)]


def test_a_pipe_that_nobody_reads_does_not_block_the_worker():
    read, write = os.pipe()
    os.close(read)
    sink = Sink(os.fdopen(write, "wb", buffering=0))
    source, worker = os.pipe()
    pump = Pump(os.fdopen(source, "rb", buffering=0), sink, "[1] ")
    pump.start()
    with os.fdopen(worker, "wb") as file:
        file.write(b"line\n" * 100_000)
    pump.join()
    assert isinstance(sink.error, BrokenPipeError)
    sink.stream.close()
