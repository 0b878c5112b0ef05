// SPDX-License-Identifier: Apache-2.0
#include "dt2it/plugin.hpp"

#include "plugins/datasets/mini_world/mini_world_dataset.hpp"

DT2IT_PLUGIN("datasets/mini_world", "1.0.0", registrar) {
  registrar.add<dt2it::Dataset, dt2it::mini_world::MiniWorldDataset>(
      "mini_world",
      "Drawn pictures whose truth is known: prompts, preference sets with known faults, "
      "text-to-image preferences, "
      "and benchmarks in the shape of the published ones.");
}
