// SPDX-License-Identifier: Apache-2.0
// `dt2it train`: killed and gone on with, and in several processes.
#include <simdjson.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <random>

#include "dt2it/testing/fakes.hpp"
#include "dt2it/testing/model_contracts.hpp"
#include "tests/cli/process.hpp"
#include "tests/plugins/trainers/tiny_models.hpp"

using namespace dt2it;
using namespace dt2it::testing;
namespace fs = std::filesystem;

namespace {

// Text pairs: what has "red" is better, mostly.
fs::path pair_file(const fs::path& folder, int count) {
  const fs::path file = folder / "pairs.jsonl";
  std::ofstream out(file);
  for (int i = 0; i < count; ++i) {
    const bool odd = i % 7 == 3;
    out << R"({"prompt":"What color is the )" << (i % 2 ? "ring" : "disc") << R"( in picture )"
        << i % 5 << R"(?","chosen":")" << (odd ? "It is blue. I think so." : "It is red.")
        << R"(","rejected":")" << (odd ? "It is red." : "It is blue.") << "\"}\n";
  }
  return file;
}

Words train_words(const fs::path& pairs, const fs::path& out, const Words& more = {}) {
  Words words{"train",
              pairs.string(),
              "--backbone",
              "qwen3_vl:" + tiny_checkpoint().string(),
              "-o",
              out.string(),
              "--log",
              out.string() + ".log",
              "--quiet",
              "--seed",
              "5",
              "--set",
              "batch_size=6",
              "--set",
              "epochs=2",
              "--set",
              "learning_rate=2e-3",
              "--set",
              "head_dropout=0.1",
              "--set",
              "recipe=clean"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

struct Line {
  double loss, norm, margin;
  bool operator==(const Line&) const = default;
};
// By step; a step that was made again after a kill must be the same.
std::vector<Line> curve(const fs::path& out) {
  simdjson::dom::parser parser;
  std::ifstream file(out.string() + ".log");
  std::vector<Line> lines;
  for (std::string text; std::getline(file, text);) {
    simdjson::dom::element line;
    if (parser.parse(text).get(line)) continue;  // torn by a kill
    const auto step = static_cast<std::size_t>(std::int64_t(line["step"]));
    const Line now{double(line["loss"]), double(line["gradient_norm"]), double(line["margin"])};
    REQUIRE(step <= lines.size() + 1);
    if (step <= lines.size())
      CHECK(lines[step - 1] == now);
    else
      lines.push_back(now);
  }
  return lines;
}

std::map<std::string, std::string> files_of(const fs::path& folder) {
  return testing::detail::files_below(folder);
}

// One process for each rank.
class Ranks {
 public:
  Ranks(int count, const Words& words) {
    static std::mt19937 random{std::random_device{}()};
    const std::string port = std::to_string(20000 + random() % 30000);
    for (int rank = 0; rank < count; ++rank)
      processes_.push_back(std::make_unique<Process>(
          dt2it_words(words),
          std::map<std::string, std::string>{{"RANK", std::to_string(rank)},
                                             {"WORLD_SIZE", std::to_string(count)},
                                             {"MASTER_ADDR", "127.0.0.1"},
                                             {"MASTER_PORT", port}}));
  }
  Process& operator[](std::size_t rank) { return *processes_[rank]; }
  std::vector<Finished> wait() {
    std::vector<Finished> all;
    for (auto& process : processes_) all.push_back(process->wait());
    return all;
  }

 private:
  std::vector<std::unique_ptr<Process>> processes_;
};

std::size_t lines_in(const fs::path& file) {
  std::ifstream in(file);
  std::size_t count = 0;
  for (std::string line; std::getline(in, line);) ++count;
  return count;
}

}  // namespace

TEST_CASE("A training that is killed at any moment goes on to the same curve and the same bytes") {
  const TemporaryFolder folder;
  const fs::path pairs = pair_file(folder.path(), 60), whole = folder.path() / "whole",
                 broken = folder.path() / "broken";
  const Words saving{"--set", "save_every=3", "--set", "keep_checkpoints=2"};
  const Finished plain = ::dt2it::dt2it(train_words(pairs, whole, saving));
  INFO(plain.err);
  REQUIRE(plain.code == 0);
  REQUIRE(curve(whole).size() == 20);

  int kills = 0;
  for (const std::size_t at : {2u, 5u, 9u, 14u}) {
    Process process(dt2it_words(train_words(pairs, broken, saving)));
    while (!process.ended_within(std::chrono::milliseconds(1)))
      if (lines_in(broken.string() + ".log") >= at) break;
    process.signal(SIGKILL);
    kills += process.wait().signal == SIGKILL;
  }
  CHECK(kills >= 2);
  const Finished rest = ::dt2it::dt2it(train_words(pairs, broken, saving));
  INFO(rest.err);
  REQUIRE(rest.code == 0);
  CHECK(curve(broken) == curve(whole));
  CHECK(files_of(broken) == files_of(whole));
  CHECK(fs::exists(whole / "checkpoints/step-18/value_head.safetensors"));
  CHECK(fs::exists(whole / "checkpoints/step-15/model.safetensors"));
  CHECK_FALSE(fs::exists(whole / "checkpoints/step-12"));
  CHECK_FALSE(fs::exists(whole.string() + ".state"));
  CHECK_THAT(::dt2it::dt2it(train_words(pairs, whole, saving)).err,
             Catch::Contains("complete already"));
}

TEST_CASE("Two and three processes have the loss curve of one") {
  const TemporaryFolder folder;
  const fs::path pairs = pair_file(folder.path(), 48), alone = folder.path() / "alone";
  REQUIRE(::dt2it::dt2it(train_words(pairs, alone)).code == 0);
  const auto expected = curve(alone);
  for (const int count : {2, 3}) {
    CAPTURE(count);
    const fs::path out = folder.path() / ("together" + std::to_string(count));
    for (const Finished& one : Ranks(count, train_words(pairs, out)).wait()) {
      INFO(one.err);
      REQUIRE(one.code == 0);
    }
    const auto together = curve(out);
    REQUIRE(together.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CAPTURE(i);
      CHECK(together[i].loss == Approx(expected[i].loss).epsilon(1e-3).margin(2e-5));
      CHECK(together[i].norm == Approx(expected[i].norm).epsilon(1e-2));
    }
    CHECK(together[0].loss == Approx(expected[0].loss).epsilon(1e-6));
    CHECK(together[1].loss == Approx(expected[1].loss).epsilon(1e-5));
  }
}

TEST_CASE(
    "When one of two processes is killed the other ends with a clear error, and both go on later") {
  const TemporaryFolder folder;
  const fs::path pairs = pair_file(folder.path(), 240), out = folder.path() / "out";
  const Words words = train_words(pairs, out, {"--set", "save_every=2"});
  {
    Ranks ranks(2, words);
    while (!ranks[0].ended_within(std::chrono::milliseconds(2)) &&
           lines_in(out.string() + ".log") < 5) {
    }
    ranks[1].signal(SIGKILL);
    REQUIRE(ranks[0].ended_within(std::chrono::seconds(30)));
    const Finished left = ranks.wait()[0];
    CHECK(left.code == 5);
    CHECK_THAT(left.err, Catch::Contains("another process is gone"));
  }
  CHECK(fs::exists(out.string() + ".state/training/current"));
  // Also in one process: the saved pieces are put together.
  const Finished alone = ::dt2it::dt2it(words);
  INFO(alone.err);
  CHECK(alone.code == 0);
  CHECK(lines_in(out.string() + ".log") >= 80);
  CHECK(fs::exists(out / "model.safetensors"));
}

TEST_CASE("What dt2it train is told wrongly is said") {
  const TemporaryFolder folder;
  const fs::path pairs = pair_file(folder.path(), 12), out = folder.path() / "out";
  CHECK_THAT(::dt2it::dt2it({"train", pairs.string(), "-o", out.string()}).err,
             Catch::Contains("--backbone"));
  CHECK_THAT(::dt2it::dt2it({"train", pairs.string()}).err, Catch::Contains("-o DIR"));
  CHECK(::dt2it::dt2it({"train"}).code == 2);
  CHECK_THAT(::dt2it::dt2it(train_words(pairs, out, {"--set", "tie_theta=0.5"})).err,
             Catch::Contains("tie_theta"));
  CHECK_THAT(
      ::dt2it::dt2it(train_words(pairs, out, {"--set", "loss=dpo", "--set", "margin=1"})).err,
      Catch::Contains("bradley_terry"));
  CHECK_THAT(::dt2it::dt2it(train_words(folder.path() / "nothing.jsonl", out)).err,
             Catch::Contains("nothing.jsonl"));
  const Finished frozen = ::dt2it::dt2it(train_words(pairs, out, {"--set", "keep=best"}));
  CHECK(frozen.code == 2);
  CHECK_THAT(frozen.err, Catch::Contains("held-out"));
  const Finished lonely =
      Process(dt2it_words(train_words(pairs, out)), {{"WORLD_SIZE", "2"}, {"RANK", "7"}}).wait();
  CHECK(lonely.code == 2);
  CHECK_THAT(lonely.err, Catch::Contains("RANK"));
  const Finished stages = Process(dt2it_words({"run", "experiments/demo.toml", "--runs",
                                               (folder.path() / "runs").string()}),
                                  {{"WORLD_SIZE", "2"}})
                              .wait();
  CHECK(stages.code == 2);
  CHECK_THAT(stages.err, Catch::Contains("dt2it train"));
}
