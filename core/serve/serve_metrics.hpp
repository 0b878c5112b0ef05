// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "core/serve/reward_batcher.hpp"

namespace dt2it {

// What GET /metrics says, in the text format of Prometheus. Thread-safe.
class ServeMetrics {
 public:
  void answered(const std::string& route, int status, double seconds);
  std::string text(const RewardBatcher::Totals& totals, std::size_t in_house,
                   std::size_t connections) const;

 private:
  static constexpr std::array kBounds{0.01, 0.025, 0.05, 0.1,  0.25, 0.5,   1.0,
                                      2.5,  5.0,   10.0, 30.0, 60.0, 120.0, 300.0};
  struct Histogram {
    std::array<std::uint64_t, kBounds.size() + 1> counts{};
    double sum = 0;
  };
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, std::uint64_t> requests_;
  std::map<std::string, Histogram> seconds_;  // of requests with status 200
};

}  // namespace dt2it
