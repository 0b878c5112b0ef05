// SPDX-License-Identifier: Apache-2.0
// kill -9 at twenty random moments of a run of 5,000 calls: no answer that was received is lost, no more is
// sent again than was in flight, and the report's totals are those of the run.
#include <fmt/format.h>
#include <simdjson.h>

#include <fstream>

#include "core/calls/call_store.hpp"
#include "dt2it/rng.hpp"
#include "tests/cli/process.hpp"
#include "tests/mock_endpoint/mock_endpoint.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr int kPrompts = 1250, kCandidates = 4, kCalls = kPrompts * kCandidates, kInFlight = 64;

fs::path write_experiment(const testing::TemporaryFolder& folder, const std::string& url) {
  std::ofstream prompts(folder.path() / "prompts.jsonl");
  for (int i = 0; i < kPrompts; ++i)
    prompts << fmt::format(
        R"({{"id":"p{}","messages":[{{"role":"user","content":"Question number {}?"}}]}})"
        "\n",
        i, i);
  prompts.close();
  return folder.write("experiment.toml", fmt::format(R"(
[datasets.own]
type = "jsonl"
file = "prompts.jsonl"
[mllms.writer]
type = "openai"
model = "mock"
endpoint = "{}"
api_key_env = ""
max_in_flight = {}
adapt_in_flight = false
price_input = 1.0
price_cached_input = 0.5
price_output = 2.0
price_date = "2026-08-01"
[stages.prompts]
type = "collect"
dataset = "own"
[stages.candidates]
prompts = "prompts"
pool = ["writer"]
count = {}
)",
                                                     url, kInFlight, kCandidates));
}

}  // namespace

TEST_CASE("A run of calls that is killed again and again pays for each answer once") {
  mock::Options options;
  options.latency = 0.06;
  mock::Endpoint endpoint(options);
  testing::TemporaryFolder folder;
  const fs::path file = write_experiment(folder, endpoint.url());
  const fs::path runs = folder.path() / "runs", store = runs / ".calls" / "calls.sqlite";
  const Words words =
      dt2it_words({"run", file.string(), "--profile", folder.write("none.toml", "").string(),
                   "--runs", runs.string(), "--quiet"});

  Rng rng(4711);
  int kills = 0, cut_short = 0;
  while (kills < 20) {
    Process process(words);
    // Counted from the first call of this life, so that kills fall into the work and not before it.
    const std::uint64_t before = endpoint.asked();
    while (endpoint.asked() == before && !process.ended_within(milliseconds(2))) {
    }
    const auto life = milliseconds(static_cast<int>(20 + 160 * rng.uniform()));
    if (process.ended_within(life)) break;
    process.signal(SIGKILL);
    REQUIRE(process.wait().signal == SIGKILL);
    ++kills;
    // What was answered in earlier lives and reached the store stays there; what was in flight may be lost.
    const std::int64_t stored = CallStore(store).count();
    cut_short += stored < kCalls;
    const std::uint64_t answered = endpoint.answered();
    INFO("after kill " << kills);
    REQUIRE(answered - static_cast<std::uint64_t>(stored) <=
            static_cast<std::uint64_t>(kills * kInFlight));
  }
  CHECK(kills == 20);
  CHECK(cut_short >= 15);
  const Finished end = Process(words).wait();
  INFO(end.err);
  REQUIRE(end.code == 0);

  CHECK(CallStore(store).count() == kCalls);
  const std::uint64_t resent = endpoint.asked() - kCalls;
  CAPTURE(resent, kills);
  CHECK(resent <= static_cast<std::uint64_t>(kills * kInFlight));

  std::size_t lines = 0;
  int ledgers = 0;
  for (const auto& entry : fs::directory_iterator(runs / ".store")) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name.starts_with("candidates-")) {
      std::ifstream candidates(entry.path() / "candidates.jsonl");
      for (std::string line; std::getline(candidates, line); ++lines)
        CHECK(line.find("The answer is 42.") != std::string::npos);
    }
    if (!name.starts_with("candidates-") || !name.ends_with(".cost.json")) continue;
    simdjson::dom::parser parser;
    simdjson::dom::element row;
    REQUIRE(parser.load(entry.path().string())["ledger"].at(0).get(row) == simdjson::SUCCESS);
    ++ledgers;
    CHECK(row["calls"].get_int64().value() == kCalls);
    CHECK(row["paid"].get_int64().value() == kCalls);
    CHECK(row["failed"].get_int64().value() == 0);
    CHECK(row["prompt_tokens"].get_int64().value() == kCalls * 120);
    CHECK(row["completion_tokens"].get_int64().value() == kCalls * 9);
    CHECK(row["cost"].get_double().value() ==
          Approx(kCalls * (56 * 1.0 + 64 * 0.5 + 9 * 2.0) * 1e-6));
  }
  CHECK(lines == kPrompts);
  CHECK(ledgers == 1);
}

}  // namespace dt2it
