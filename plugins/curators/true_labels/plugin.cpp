// SPDX-License-Identifier: Apache-2.0
#include "dt2it/plugin.hpp"

#include "plugins/curators/true_labels/true_labels_curator.hpp"

DT2IT_PLUGIN("curators/true_labels", "1.0.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::mini_world::TrueLabelsCurator>(
      "true_labels",
      "Grades pairs of the mini world by their known truth: the ceiling of any curation, and its "
      "audit.");
}
