// SPDX-License-Identifier: Apache-2.0
#include "dt2it/plugin.hpp"

#include "plugins/mllms/simulated/simulated_mllm.hpp"

DT2IT_PLUGIN("mllms/simulated", "1.0.0", registrar) {
  registrar.add<dt2it::Mllm, dt2it::simulated::SimulatedMllm>(
      "simulated",
      "A model of the mini world: looks at the pixels, answers in its own style, writes from a "
      "reference, judges by "
      "the rubric. No network.");
}
