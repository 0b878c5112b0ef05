// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

namespace dt2it {

// The cap of a run, in money and tokens. What a call may cost is set aside before it is sent and settled
// by what it did cost, so that calls in flight cannot lead past the cap. Thread-safe.
class Budget {
 public:
  struct Amount {
    double cost = 0;
    std::int64_t tokens = 0;
  };

  Budget(double max_cost, std::int64_t max_tokens) : most_{max_cost, max_tokens} {}  // 0: no cap

  bool caps_cost() const { return most_.cost > 0; }
  // Of this run, before this process.
  void spent_before(const Amount& amount);
  // False: the cap would be passed, also once all calls in flight have turned out as cheap as can be; until that
  // is known it waits. `wait` false: it does not.
  bool reserve(const Amount& amount, bool wait = true);
  // `waited`: as reserve() was told.
  void settle(const Amount& reserved, const Amount& spent, bool waited = true);
  std::string text() const;  // "spent 3.20 of 5.00, 0.15 in flight"

 private:
  const Amount most_;
  mutable std::mutex mutex_;
  std::condition_variable settled_;
  Amount spent_, reserved_;
  std::int64_t in_flight_ = 0;
};

}  // namespace dt2it
