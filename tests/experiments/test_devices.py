import tensorflow as tf

from experiments import devices


def test_several_gpus_work_together(monkeypatch):
    found = [tf.config.LogicalDevice(f"/device:GPU:{index}", "GPU") for index in range(2)]
    chosen = []
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: found)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: chosen.append("mirrored"))
    devices.strategy()
    assert chosen == ["mirrored"]
    del found[1]
    assert devices.strategy() is tf.distribute.get_strategy()
    assert chosen == ["mirrored"]
