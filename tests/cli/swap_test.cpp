// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "core/data/records.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/cli/process.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

std::vector<PreferencePair> pairs_of(const fs::path& run, const std::string& stage) {
  PairReader reader(run / "stages" / stage / "pairs.jsonl");
  return testing::drain(reader);
}

std::set<std::string> ids_of(const std::vector<PreferencePair>& pairs) {
  std::set<std::string> ids;
  for (const PreferencePair& pair : pairs) ids.insert(pair.id);
  return ids;
}

}  // namespace

TEST_CASE("Another judge is one line of TOML; what it does not touch is shared") {
  const std::string file = read_file(source_path("/tests/fixtures/experiments/swapped_judge.toml"));
  int lines = 0;  // besides the comment and `extends`
  for (std::size_t begin = 0; begin < file.size();) {
    const std::size_t end = std::min(file.find('\n', begin), file.size());
    const std::string line = file.substr(begin, end - begin);
    lines += !line.empty() && line[0] != '#' && !line.starts_with("extends");
    begin = end + 1;
  }
  CHECK(lines == 1);

  testing::TemporaryFolder runs;
  const Finished run =
      dt2it({"run", "tests/fixtures/experiments/data.toml",
             "tests/fixtures/experiments/swapped_judge.toml", "--runs", runs.path().string()});
  INFO(run.err);
  REQUIRE(run.code == 0);
  const auto target = [&](const std::string& experiment, const std::string& stage) {
    return fs::canonical(runs.path() / experiment / "stages" / stage);
  };
  CHECK(target("data", "distil.candidates") == target("swapped_judge", "distil.candidates"));
  CHECK(target("data", "distil.listwise") != target("swapped_judge", "distil.listwise"));
  CHECK(target("data", "evaluate") == target("swapped_judge", "evaluate"));
  const auto first = pairs_of(runs.path() / "data", "distil"),
             second = pairs_of(runs.path() / "swapped_judge", "distil");
  CHECK(first.size() > 50);
  CHECK(second.size() > 50);
  CHECK(ids_of(first) != ids_of(second));  // another opinion
}

TEST_CASE("A model of another style writes other texts, by one setting") {
  testing::TemporaryFolder runs;
  const Words words{"run", "tests/fixtures/experiments/data.toml", "--set",
                    "datasets.prompts.count=5", "--runs"};
  Words plain = words, other = words;
  plain.push_back((runs.path() / "plain").string());
  other.insert(other.end(),
               {(runs.path() / "other").string(), "--set", "mllms.gpt_5_chat.style=\"terse\""});
  REQUIRE(dt2it(plain).code == 0);
  REQUIRE(dt2it(other).code == 0);
  const auto prompts = [&](const char* which) {
    return fs::canonical(runs.path() / which / "data/stages/distil.prompts").filename();
  };
  CHECK(prompts("plain") == prompts("other"));
  CHECK(fs::canonical(runs.path() / "plain/data/stages/distil.candidates").filename() !=
        fs::canonical(runs.path() / "other/data/stages/distil.candidates").filename());
}

}  // namespace dt2it
