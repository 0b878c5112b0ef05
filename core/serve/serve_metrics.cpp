// SPDX-License-Identifier: Apache-2.0
#include "core/serve/serve_metrics.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace dt2it {

void ServeMetrics::answered(const std::string& route, int status, double seconds) {
  std::lock_guard lock(mutex_);
  ++requests_[{route, status}];
  if (status != 200) return;
  Histogram& histogram = seconds_[route];
  ++histogram.counts[static_cast<std::size_t>(
      std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin())];
  histogram.sum += seconds;
}

std::string ServeMetrics::text(const RewardBatcher::Totals& totals, std::size_t in_house,
                               std::size_t connections) const {
  std::string out;
  const auto metric = [&](const char* name, const char* type, const char* help, auto value) {
    out += fmt::format("# HELP dt2it_{0} {1}\n# TYPE dt2it_{0} {2}\ndt2it_{0} {3}\n", name, help,
                       type, value);
  };
  metric("requests_in_house", "gauge", "Requests that are read, wait or are worked on.", in_house);
  metric("requests_waiting", "gauge", "Requests that wait for the model.", totals.waiting);
  metric("connections", "gauge", "Open connections.", connections);
  metric("groups_total", "counter", "Groups of requests that the model was given.", totals.groups);
  metric("jobs_total", "counter", "Requests in these groups.", totals.jobs);
  metric("rewards_total", "counter", "Rewards, those that failed too.", totals.rewards);
  metric("rewards_failed_total", "counter", "Rewards whose status is not ok.",
         totals.failed_rewards);
  metric("expired_total", "counter", "Requests whose turn did not come in time.", totals.expired);
  metric("broken_total", "counter", "Requests that the model broke on.", totals.broken);
  metric("tokens_total", "counter", "Tokens computed.", totals.tokens);
  metric("model_seconds_total", "counter", "Time spent in the model.", totals.seconds);
  std::lock_guard lock(mutex_);
  out += "# HELP dt2it_requests_total Requests answered.\n# TYPE dt2it_requests_total counter\n";
  for (const auto& [key, count] : requests_)
    out += fmt::format("dt2it_requests_total{{route=\"{}\",code=\"{}\"}} {}\n", key.first,
                       key.second, count);
  out +=
      "# HELP dt2it_request_seconds Time from the head of a request to its answer, status 200.\n# "
      "TYPE dt2it_request_seconds histogram\n";
  for (const auto& [route, histogram] : seconds_) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i <= kBounds.size(); ++i) {
      sum += histogram.counts[i];
      out += fmt::format("dt2it_request_seconds_bucket{{route=\"{}\",le=\"{}\"}} {}\n", route,
                         i < kBounds.size() ? fmt::format("{}", kBounds[i]) : "+Inf", sum);
    }
    out += fmt::format(
        "dt2it_request_seconds_sum{{route=\"{0}\"}} "
        "{1}\ndt2it_request_seconds_count{{route=\"{0}\"}} {2}\n",
        route, histogram.sum, sum);
  }
  return out;
}

}  // namespace dt2it
