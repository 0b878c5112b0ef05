// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/testing/fakes.hpp"
#include "dt2it/verdict_model.hpp"
#include "tests/paths.hpp"
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

inline std::string first_media(const Prompt& prompt) {
  for (const Message& message : prompt.messages)
    for (const Part& part : message.content)
      if (part.kind != Part::Kind::text) return part.media.source;
  return {};
}

// What the host makes of rewards, the same for every row unless a test changes some.
inline std::vector<Outcome> outcomes_of(const std::vector<PreferencePair>& items, double chosen = 1,
                                        double rejected = 0) {
  std::vector<Outcome> outcomes;
  for (std::size_t row = 0; row < items.size(); ++row)
    outcomes.push_back({row, items[row].id, items[row].group, Status::ok, chosen, rejected});
  return outcomes;
}

// A sample of a judge that was asked in this form and replied so; read as the text itself says.
inline JudgedSample sample_of(bool chosen_first, const std::string& reply,
                              const std::string& form = "answers") {
  JudgedSample sample{chosen_first, form, {}};
  sample.verdict.reply = reply;
  const bool first =
      reply.find("Answer 1 is better") != reply.npos || reply.find("[[A]]") != reply.npos;
  const bool second =
      reply.find("Answer 2 is better") != reply.npos || reply.find("[[B]]") != reply.npos;
  sample.verdict.status = first || second ? Status::ok : Status::unparsed;
  sample.verdict.winner = first ? Verdict::Winner::first : Verdict::Winner::second;
  return sample;
}

// By a convention; "strict" as the host counts.
inline std::vector<Metric> counted(Benchmark& benchmark, std::span<const JudgedItem> items,
                                   std::string_view convention) {
  std::vector<Outcome> outcomes;
  for (const JudgedItem& item : items) outcomes.push_back(strict_outcome(item));
  if (convention == "strict") return benchmark.summarise(outcomes);
  return dynamic_cast<VerdictBenchmark&>(benchmark).summarise_verdicts(items, convention);
}

inline std::vector<JudgedItem> judged(const std::vector<PreferencePair>& items) {
  std::vector<JudgedItem> result;
  for (std::size_t row = 0; row < items.size(); ++row) {
    const PreferencePair& pair = items[row];
    const auto [one, two] = std::minmax(pair.chosen.text, pair.rejected.text);
    result.push_back(
        {row,
         pair.id,
         pair.group,
         first_media(pair.prompt),
         pair.id + "\n" + pair.prompt.messages.back().content.back().text + "\n" + one + "\n" + two,
         pair.chosen.text.size() + pair.rejected.text.size(),
         pair.extra,
         {}});
  }
  return result;
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
  const std::filesystem::path file = std::filesystem::path(source_path()) / "../shared/data" / path;
  if (std::filesystem::exists(file)) return file;
  std::cout << "skipped: no ../shared/data/" << path << " on this machine\n";
  return {};
}

}  // namespace dt2it::testing
