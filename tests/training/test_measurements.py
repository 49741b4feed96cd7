import numpy as np
import pytest
import tensorflow as tf

from acl_tf.training.measurements import Measurements


def results(measurements: Measurements) -> dict[str, float]:
    return {name: float(value) for name, value in measurements.result().items()}


def test_means_since_the_last_reset():
    measurements = Measurements(["loss", "norm"])
    for loss, norm in ((1.0, 2.0), (4.0, 8.0)):
        measurements.update_state({"loss": tf.constant(loss), "norm": tf.constant(norm)})
    assert results(measurements) == {"loss": 2.5, "norm": 5.0}
    measurements.reset_state()
    assert results(measurements) == {"loss": 0.0, "norm": 0.0}
    measurements.update_state({"loss": tf.constant(7.0)})
    assert results(measurements) == {"loss": 7.0, "norm": 0.0}


def test_each_is_a_mean_of_as_many_values_as_came():
    measurements = Measurements(["loss", "norm", "never"])
    measurements.update_state({"loss": tf.constant(1.0), "norm": tf.constant(6.0)})
    measurements.update_state({"loss": tf.constant(2.0)})
    measurements.update_state({"norm": tf.constant(0.0)})
    assert results(measurements) == {"loss": 1.5, "norm": 3.0, "never": 0.0}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_of_several_values_the_mean(dtype):
    measurements = Measurements(["loss"])
    measurements.update_state({"loss": tf.cast([[1.0, 2.0], [3.0, 10.0]], dtype)})
    assert results(measurements) == {"loss": 4.0}


def test_a_graph_measures_too():
    measurements = Measurements(["loss"])

    @tf.function
    def step(loss: tf.Tensor) -> dict[str, tf.Tensor]:
        measurements.update_state({"loss": loss})
        return measurements.result()

    assert [float(step(tf.constant(value))["loss"]) for value in (1.0, 3.0)] == [1.0, 2.0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_shows(value):
    measurements = Measurements(["loss", "norm"])
    for loss in (1.0, value):
        measurements.update_state({"loss": tf.constant(loss), "norm": tf.constant(2.0)})
    np.testing.assert_equal(results(measurements), {"loss": value, "norm": 2.0})


def test_what_is_not_measured():
    with pytest.raises(ValueError) as error:
        Measurements(["loss", "norm"]).update_state({"loss": 1.0, "nrom": 2.0, "a": 3.0})
    assert str(error.value) == "`values` must have the names loss, norm. Received: a, nrom"


def test_its_state_is_a_variable():
    measurements, other = Measurements(["loss", "norm"]), Measurements(["loss", "norm"])
    measurements.update_state({"loss": tf.constant(3.0)})
    for mine, theirs in zip(other.variables, measurements.variables, strict=True):
        mine.assign(theirs)
    assert results(other) == {"loss": 3.0, "norm": 0.0}


@pytest.mark.slow
def test_every_replica_knows_the_mean_over_all(run_python):
    run_python(f"from {__name__} import compare_replicas; compare_replicas()")


def compare_replicas() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        measurements = Measurements(["loss", "norm"])
    losses = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant([[1.0, 2.0], [5.0, 12.0]])[context.replica_id_in_sync_group]
    )

    def step(loss: tf.Tensor) -> dict[str, tf.Tensor]:
        measurements.update_state({"loss": loss})
        return measurements.result()

    for _ in range(2):
        measured = tf.function(lambda values: strategy.run(step, (values,)))(losses)
        assert [float(value) for value in strategy.experimental_local_results(measured["loss"])] == [5.0, 5.0]
    assert results(measurements) == {"loss": 5.0, "norm": 0.0}
