// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/native/watch.hpp"

#include <fmt/format.h>

#include <cmath>

namespace dt2it::native {

std::optional<std::string> Watch::see(double loss, double spread, bool warming_up) {
  if (patience_ == 0 || warming_up) return std::nullopt;
  at_ln2 = std::abs(loss - std::log(2.0)) < 1e-4 ? at_ln2 + 1 : 0;
  all_equal = spread < 1e-7 ? all_equal + 1 : 0;
  if (all_equal >= patience_)
    return fmt::format(
        "all rewards of a batch have been equal for {} steps: the head reads a state that does not "
        "depend on the "
        "responses, or nothing is trained",
        all_equal);
  if (at_ln2 >= patience_)
    return fmt::format(
        "the loss has stayed at ln 2 for {} steps: the model learns nothing (learning rate too "
        "low, everything "
        "frozen, or labels without meaning)",
        at_ln2);
  return std::nullopt;
}

}  // namespace dt2it::native
