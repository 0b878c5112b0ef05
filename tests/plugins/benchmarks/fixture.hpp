// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/benchmark.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/plugins/plugin_library.hpp"

namespace dt2it::testing {

inline std::filesystem::path write_file(FakeContext& context, const std::string& name,
                                        const std::string& text) {
  const std::filesystem::path file = context.scratch() / name;
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
  return file;
}

inline std::shared_ptr<Benchmark> open_benchmark(const std::string& name,
                                                 const std::filesystem::path& data,
                                                 FakeContext& context, Table more = {}) {
  more["data"] = value_of(data.string());
  return PluginLibrary("benchmarks/" + name).make<Benchmark>(name, more, context);
}

inline std::vector<PreferencePair> all_items(Benchmark& benchmark) {
  return drain(*benchmark.items());
}

// What the host makes of rewards, the same for every row unless a test changes some.
inline std::vector<Outcome> outcomes_of(const std::vector<PreferencePair>& items, double chosen = 1,
                                        double rejected = 0) {
  std::vector<Outcome> outcomes;
  for (std::size_t row = 0; row < items.size(); ++row)
    outcomes.push_back({row, items[row].id, items[row].group, Status::ok, chosen, rejected});
  return outcomes;
}

inline const Metric& metric(const std::vector<Metric>& metrics, const std::string& name) {
  for (const Metric& one : metrics)
    if (one.name == name) return one;
  FAIL("there is no metric " << name);
  return metrics.front();
}

// Real records that are no part of this project; empty, with a line that says so, where they are
// not at hand.
inline std::filesystem::path real_data(const std::string& path) {
  const std::filesystem::path file =
      std::filesystem::path(DT2IT_SOURCE_DIR) / "../shared/data" / path;
  if (std::filesystem::exists(file)) return file;
  std::cout << "skipped: no ../shared/data/" << path << " on this machine\n";
  return {};
}

}  // namespace dt2it::testing
