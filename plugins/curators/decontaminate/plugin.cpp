// SPDX-License-Identifier: Apache-2.0
#include "dt2it/plugin.hpp"

#include "plugins/curators/decontaminate/decontaminate_curator.hpp"

DT2IT_PLUGIN("curators/decontaminate", "2.1.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::DecontaminateCurator>(
      "decontaminate",
      "Discards what shares image and question with a benchmark; the image alone is reported.");
}
