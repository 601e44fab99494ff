"""Flags that the benchmarks share."""

from absl import flags

flags.DEFINE_integer("rounds", 9, "Calls whose median is reported.", lower_bound=1)
flags.DEFINE_boolean("memory", True, "Measure peak memory, in processes of their own.")
