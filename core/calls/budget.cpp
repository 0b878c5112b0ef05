// SPDX-License-Identifier: Apache-2.0
#include "core/calls/budget.hpp"

#include <fmt/format.h>

namespace dt2it {

void Budget::spent_before(const Amount& amount) {
  std::lock_guard lock(mutex_);
  spent_.cost += amount.cost;
  spent_.tokens += amount.tokens;
}

bool Budget::reserve(const Amount& amount, bool wait) {
  std::unique_lock lock(mutex_);
  const auto fits = [&](const Amount& reserved) {
    return (most_.cost <= 0 || spent_.cost + reserved.cost + amount.cost <= most_.cost) &&
           (most_.tokens <= 0 || spent_.tokens + reserved.tokens + amount.tokens <= most_.tokens);
  };
  while (!fits(reserved_)) {
    if (!wait || in_flight_ == 0 || !fits({})) return false;
    settled_.wait(lock);
  }
  reserved_.cost += amount.cost;
  reserved_.tokens += amount.tokens;
  if (wait) ++in_flight_;
  return true;
}

void Budget::settle(const Amount& reserved, const Amount& spent, bool waited) {
  {
    std::lock_guard lock(mutex_);
    reserved_.cost -= reserved.cost;
    reserved_.tokens -= reserved.tokens;
    spent_.cost += spent.cost;
    spent_.tokens += spent.tokens;
    if (waited) --in_flight_;
  }
  if (most_.cost > 0 || most_.tokens > 0) settled_.notify_all();
}

std::string Budget::text() const {
  std::lock_guard lock(mutex_);
  std::string text;
  if (most_.cost > 0)
    text = fmt::format("{:.4f} of {:.4f} spent, {:.4f} in flight", spent_.cost, most_.cost,
                       reserved_.cost);
  if (most_.tokens > 0)
    text += fmt::format("{}{} of {} tokens spent, {} in flight", text.empty() ? "" : "; ",
                        spent_.tokens, most_.tokens, reserved_.tokens);
  return text;
}

}  // namespace dt2it
