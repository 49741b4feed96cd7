import os
import signal

import pytest

from acl_tf.training.interruption import Interruption


@pytest.fixture
def handlers(monkeypatch):
    """Handlers of the tests' own, so that a signal that gets through does no harm."""
    received = []
    before = {number: signal.signal(number, lambda n, _: received.append(n)) for number in (2, 15)}
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_gets_through(handlers, number):
    with Interruption() as interruption:
        assert interruption.signal is None
        os.kill(os.getpid(), number)
        assert interruption.signal is number and handlers == []
        os.kill(os.getpid(), number)
        assert handlers == [number]
    os.kill(os.getpid(), number)
    assert handlers == [number, number]


def test_the_second_may_be_another(handlers):
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.signal is signal.SIGTERM and handlers == [signal.SIGINT]


def test_handlers_are_restored_after_an_error(handlers):
    with pytest.raises(ZeroDivisionError), Interruption():
        raise ZeroDivisionError
    os.kill(os.getpid(), signal.SIGINT)
    assert handlers == [signal.SIGINT]
