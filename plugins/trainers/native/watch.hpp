// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace dt2it::native {

// Sees after each step whether a reward model still learns. Its state is two numbers, which are saved.
class Watch {
 public:
  explicit Watch(std::int64_t patience) : patience_(patience) {}

  // loss: mean -log sigmoid of the margins; spread: largest minus smallest reward of the batch. A reason to stop, or none.
  std::optional<std::string> see(double loss, double spread, bool warming_up);

  std::int64_t at_ln2 = 0;     // steps in a row
  std::int64_t all_equal = 0;  // likewise

 private:
  const std::int64_t patience_;  // 0: for ever
};

}  // namespace dt2it::native
