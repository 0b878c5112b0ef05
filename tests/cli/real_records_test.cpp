// SPDX-License-Identifier: Apache-2.0
// The published suites' own records, where they are at hand (beside the project, in shared/data).
#include <cstdio>
#include <fstream>

#include "core/data/records.hpp"
#include "tests/cli/process.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
const fs::path kData = source_path("/../shared/data");
const fs::path kVl = kData / "vl_rewardbench" / "data.jsonl";
const fs::path kMm = kData / "mm_rlhf_rewardbench" / "mm_reward_bench.jsonl";

bool absent() {
  if (fs::exists(kVl) && fs::exists(kMm)) return false;
  std::puts("skipped: the records of the suites are not there (../shared/data)");
  return true;
}

Finished evaluate(const std::string& suite, const fs::path& data, const std::string& model,
                  bool json = true) {
  Words words{"evaluate", suite, "--data", data.string(), "--model", model};
  if (json) words.push_back("--json");
  const Finished run = dt2it(words);
  INFO(run.err);
  CHECK(run.code == 0);
  return run;
}

// "correct/total" of a metric.
std::string counts(const Finished& run, const std::string& metric) {
  simdjson::dom::parser parser;
  simdjson::dom::element json = parser.parse(run.out);
  for (simdjson::dom::element one : json["metrics"])
    if (std::string_view(one["name"]) == metric)
      return std::to_string(std::int64_t(one["correct"])) + "/" +
             std::to_string(std::int64_t(one["total"]));
  return "none";
}

struct Lengths {
  std::size_t chosen, rejected;
};

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::vector<Lengths> lengths_of(const fs::path& file) {
  std::vector<Lengths> result;
  JsonLineReader lines(file);
  for (simdjson::dom::element record; lines.next(record);)
    result.push_back({code_points(std::string_view(record["chosen"])),
                      code_points(std::string_view(record["rejected"]))});
  return result;
}

}  // namespace

TEST_CASE("A constant scorer gets nothing right and ties everywhere") {
  if (absent()) return;
  const Finished vl = evaluate("vl_rewardbench", kVl, "constant");
  CHECK(counts(vl, "overall_accuracy") == "0/1250");
  CHECK(counts(vl, "ties") == "1250/1250");
  CHECK(counts(vl, "accuracy/general") == "0/183");
  CHECK(counts(vl, "accuracy/hallucination") == "0/749");
  CHECK(counts(vl, "accuracy/reasoning") == "0/318");
  const Finished mm = evaluate("mm_rlhf_rewardbench", kMm, "constant");
  CHECK(counts(mm, "accuracy") == "0/170");
  CHECK(counts(mm, "acc_plus") == "0/46");
  CHECK(counts(mm, "ties") == "170/170");
  for (const auto& [group, size] : std::map<std::string, std::string>{
           {"mcq", "42"}, {"long", "37"}, {"short", "34"}, {"safety", "32"}, {"video", "25"}})
    CHECK(counts(mm, "accuracy/" + group) == "0/" + size);
}

TEST_CASE("Longer is better, ties are reported, and absent images are said") {
  if (absent()) return;
  for (const auto& [suite, file, headline] : {std::tuple("vl_rewardbench", kVl, "overall_accuracy"),
                                              std::tuple("mm_rlhf_rewardbench", kMm, "accuracy")}) {
    std::size_t longer = 0, ties = 0;
    const auto lengths = lengths_of(file);
    for (const Lengths& one : lengths)
      longer += one.chosen > one.rejected, ties += one.chosen == one.rejected;
    const Finished run = evaluate(suite, file, "length");
    const std::string total = "/" + std::to_string(lengths.size());
    CHECK(counts(run, headline) == std::to_string(longer) + total);
    CHECK(counts(run, "ties") == std::to_string(ties) + total);
    CHECK(ties > 0);
    CHECK_THAT(evaluate(suite, file, "length", false).out,
               Catch::Contains("images or videos are absent for " + std::to_string(lengths.size()) +
                               " of "));
  }
  CHECK_THAT(evaluate("vl_rewardbench", kVl, "length", false).out,
             Catch::Contains("VL-RewardBench, 1,250 rows"));
  CHECK_THAT(evaluate("mm_rlhf_rewardbench", kMm, "length", false).out,
             Catch::Contains("170 rows of 46 ids"));
}

TEST_CASE("Scores of a model that was run elsewhere, as a JSON array and as lines") {
  if (absent()) return;
  testing::TemporaryFolder folder;
  const auto lengths = lengths_of(kVl);
  std::string array = "[", lines;
  std::size_t right = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {  // right on every third row
    const bool correct = i % 3 == 0;
    right += correct;
    const std::string record = correct ? "{\"chosen\": 0.25, \"rejected\": -1.5}"
                                       : "{\"chosen\": -1.5, \"rejected\": 0.25}";
    array += (i ? ",\n " : "") + record;
    lines += record + "\n";
  }
  array += "]\n";
  const auto as_array = folder.write("scores.json", array),
             as_lines = folder.write("scores.jsonl", lines);
  const std::string expected = std::to_string(right) + "/1250";
  CHECK(counts(evaluate("vl_rewardbench", kVl, "replay:" + as_array.string()),
               "overall_accuracy") == expected);
  CHECK(counts(evaluate("vl_rewardbench", kVl, "replay:" + as_lines.string()),
               "overall_accuracy") == expected);
  // A file for another number of rows is refused, shorter or longer.
  CHECK(dt2it({"evaluate", "mm_rlhf_rewardbench", "--data", kMm.string(), "--model",
               "replay:" + as_lines.string()})
            .code == 4);
  const auto cut = folder.write("cut.jsonl", lines.substr(0, lines.size() / 2));
  CHECK(dt2it({"evaluate", "vl_rewardbench", "--data", kVl.string(), "--model",
               "replay:" + cut.string()})
            .code == 4);
}

TEST_CASE("The same through an experiment") {
  if (absent()) return;
  testing::TemporaryFolder runs;
  const Finished run =
      dt2it({"run", "experiments/real/length.toml", "--runs", runs.path().string()},
            {{"DT2IT_DATA", kData.string()}});
  INFO(run.err);
  REQUIRE(run.code == 0);
  const std::string metrics =
      read_file(runs.path() / "real" / "length" / "stages" / "evaluate" / "metrics.json");
  std::size_t longer = 0;
  for (const Lengths& one : lengths_of(kVl)) longer += one.chosen > one.rejected;
  CHECK_THAT(metrics,
             Catch::Contains("\"correct\":" + std::to_string(longer) + ",\"total\":1250") &&
                 Catch::Contains("VL-RewardBench, 1,250 rows") &&
                 Catch::Contains("170 rows of 46 ids") && Catch::Contains("\"absent_media\":1250"));
  CHECK_THAT(run.out, Catch::Contains("VL-RewardBench") && Catch::Contains("absent"));
}

TEST_CASE("Rewards of another program through an experiment, for either suite") {
  if (absent()) return;
  testing::TemporaryFolder folder;
  const auto rows = [](std::size_t count) {  // right on every other row, the last one a tie
    std::string lines;
    for (std::size_t i = 0; i + 1 < count; ++i)
      lines +=
          i % 2 ? "{\"chosen\": 1.5, \"rejected\": -2}\n" : "{\"chosen\": -2, \"rejected\": 1.5}\n";
    return lines + "{\"chosen\": 0.25, \"rejected\": 0.25}\n";
  };
  const auto run = [&](const fs::path& rewards, const Words& more) {
    Words words{"run", "experiments/real/replay.toml", "--runs", (folder.path() / "runs").string()};
    words.insert(words.end(), more.begin(), more.end());
    const Finished end =
        dt2it(words, {{"DT2IT_DATA", kData.string()}, {"DT2IT_REWARDS", rewards.string()}});
    INFO(end.err);
    REQUIRE(end.code == 0);
    return read_file(folder.path() / "runs/real/replay/stages/evaluate/metrics.json");
  };
  const std::string vl = run(folder.write("vl.jsonl", rows(1250)), {});
  CHECK_THAT(vl, Catch::Contains("\"correct\":624,\"total\":1250") &&
                     Catch::Contains("VL-RewardBench, 1,250 rows") &&
                     Catch::Contains("\"correct\":1,\"total\":1250"));
  const std::string mm = run(folder.write("mm.jsonl", rows(170)),
                             {"--set", "stages.evaluate.benchmarks=[\"mm_rlhf_rewardbench\"]"});
  CHECK_THAT(
      mm, Catch::Contains("\"correct\":84,\"total\":170") && Catch::Contains("170 rows of 46 ids"));
}

TEST_CASE("Without the records the experiment says what is missing") {
  testing::TemporaryFolder folder;
  const Finished run =
      dt2it({"run", "experiments/real/length.toml", "--runs", (folder.path() / "runs").string()},
            {{"DT2IT_DATA", folder.path().string()}});
  CHECK(run.code == 4);
  CHECK_THAT(run.err, Catch::Contains((folder.path() / "vl_rewardbench" / "data.jsonl").string()));
}

}  // namespace dt2it
