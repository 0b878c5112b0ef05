// SPDX-License-Identifier: Apache-2.0
#include "core/stages/decision_log.hpp"

#include <simdjson.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>

#include "tests/core/temporary_folder.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

const std::string kCurator = "one";

Decision decision_of(std::size_t row) {
  Decision decision;
  decision.action = static_cast<Decision::Action>(row % 4);
  decision.settled = row % 3 == 0;
  decision.reason = "because \"" + std::to_string(row) + "\"";
  if (row % 2)
    decision.strength = -0.1 * static_cast<double>(row), decision.strengths = {0.5, -1e-300};
  if (row % 5 == 0) decision.votes_chosen = 1.5;
  if (row % 7 == 0) decision.detail = R"({"n":[1,2]})";
  return decision;
}

// Of three pairs each.
std::vector<DecisionLog::Line> window(std::size_t number) {
  std::vector<DecisionLog::Line> lines;
  for (std::size_t row = 3 * number; row < 3 * number + 3; ++row) {
    PreferencePair pair;
    pair.id = "p" + std::to_string(row);
    pair.source = "s";
    pair.chosen.mllm = "writer";
    pair.chosen.text = "four";
    lines.emplace_back(row, kCurator, pair, decision_of(row));
  }
  return lines;
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("Decisions are on record in order, and are read back by the next process") {
  const TemporaryFolder whole, parted;
  {
    DecisionLog log(whole.path());
    for (std::size_t w = 0; w < 40; ++w) log.append(w, window(w));
    log.put_into(whole.path() / "copy.jsonl");
  }
  const std::string expected = text_of(whole.path() / "decisions.jsonl");
  CHECK(text_of(whole.path() / "copy.jsonl") == expected);
  simdjson::dom::parser parser;
  const std::string first = expected.substr(0, expected.find('\n'));
  const simdjson::dom::element line = parser.parse(first);
  CHECK(line["id"].get_string().value() == "p0");
  CHECK(line["votes_chosen"].get_double().value() == 1.5);
  CHECK(line["responses"]["chosen"]["length"].get_uint64().value() == 4);
  CHECK(line["responses"]["rejected"]["mllm"].get_string().value() == "");
  CHECK(line["detail"]["n"].at(1).get_uint64().value() == 2);

  {
    DecisionLog log(parted.path());
    for (std::size_t w = 0; w < 25; ++w) log.append(w, window(w));
  }  // what was appended is written
  // Half a window more, as a kill leaves it.
  std::ofstream(parted.path() / "decisions.jsonl", std::ios::app) << first.substr(0, 20);
  DecisionLog log(parted.path());
  for (std::size_t w = 0; w < 25; ++w) {
    REQUIRE(log.has(w));
    const std::vector<DecisionLog::Entry> entries = log.read(w);
    REQUIRE(entries.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      const Decision decision = decision_of(3 * w + i);
      CHECK(entries[i].row == 3 * w + i);
      CHECK(entries[i].curator == kCurator);
      CHECK(entries[i].decision.action == decision.action);
      CHECK(entries[i].decision.settled == decision.settled);
      CHECK(entries[i].decision.strength == decision.strength);
      CHECK(entries[i].decision.strengths == decision.strengths);
    }
  }
  CHECK_FALSE(log.has(25));
  for (std::size_t w = 25; w < 40; ++w) log.append(w, window(w));
  log.put_into(parted.path() / "copy.jsonl");
  CHECK(text_of(parted.path() / "copy.jsonl") == expected);
}

TEST_CASE("Decisions that are shorter than they were are made anew") {
  const TemporaryFolder folder;
  {
    DecisionLog log(folder.path());
    for (std::size_t w = 0; w < 3; ++w) log.append(w, window(w));
  }
  fs::resize_file(folder.path() / "decisions.jsonl", 30);
  DecisionLog log(folder.path());
  CHECK_FALSE(log.has(0));
}

}  // namespace dt2it
