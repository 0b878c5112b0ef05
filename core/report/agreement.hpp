// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

namespace dt2it::report {

inline int sign(double value) { return (value > 0) - (value < 0); }

// Of two that have opinions of the same pairs.
struct PairedMoments {
  std::int64_t pairs = 0, same = 0;
  double x = 0, y = 0, xx = 0, yy = 0, xy = 0;
  void add(double a, double b) {
    ++pairs;
    same += sign(a) == sign(b);
    x += a, y += b, xx += a * a, yy += b * b, xy += a * b;
  }
  // Pearson; nothing where one of them always says the same.
  std::optional<double> correlation() const {
    const auto n = static_cast<double>(pairs);
    const double spread = (n * xx - x * x) * (n * yy - y * y);
    if (!(spread > 1e-12 * n * n)) return std::nullopt;
    return std::clamp((n * xy - x * y) / std::sqrt(spread), -1.0, 1.0);
  }
};

}  // namespace dt2it::report
