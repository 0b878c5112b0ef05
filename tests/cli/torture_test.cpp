// SPDX-License-Identifier: Apache-2.0
// kill -9 at random moments, from fixed seeds: whatever happens, the files in the end are those of an unbroken
// run. DT2IT_TORTURE=N sets the number of kills (default 30), DT2IT_TORTURE_EXPERIMENT another experiment than data.toml:
// `./dev torture` takes all_stages.toml, which trains too.
#include <cstdio>
#include <map>

#include "dt2it/rng.hpp"
#include "tests/cli/process.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

Words run_words(const fs::path& runs, int jobs, int workers) {
  Words words{"run"};
  if (const char* other = std::getenv("DT2IT_TORTURE_EXPERIMENT"))
    words.emplace_back(other);
  else
    words.insert(words.end(),
                 {"tests/fixtures/experiments/data.toml", "--set", "datasets.prompts.count=120"});
  words.insert(words.end(), {"--runs", runs.string(), "--jobs", std::to_string(jobs), "--workers",
                             std::to_string(workers)});
  return dt2it_words(words);
}

std::map<std::string, std::string> media_of(const fs::path& runs) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(runs / ".media"))
    if (entry.is_regular_file() && entry.path().filename().string()[0] != '.')
      files[entry.path().lexically_relative(runs).string()] = read_file(entry.path());
  return files;
}

}  // namespace

TEST_CASE("A run that is killed again and again ends in the bytes of an unbroken one") {
  const char* wanted = std::getenv("DT2IT_TORTURE");
  const int kills = wanted ? std::atoi(wanted) : 30;
  REQUIRE(kills > 0);
  testing::TemporaryFolder whole;
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE(Process(run_words(whole.path(), 2, 4)).wait().code == 0);
  const double whole_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  const auto expected = stored_files(whole.path());
  const auto pictures = media_of(whole.path());
  REQUIRE(expected.size() > 30);
  REQUIRE(pictures.size() > 50);

  Rng rng(20250817);
  int killed = 0, runs_completed = 0;
  std::map<std::string, int> interrupted;  // types of stages unfinished when a kill came: how often
  while (killed < kills) {
    testing::TemporaryFolder runs;
    for (;;) {
      Process process(run_words(runs.path(), rng.integer(1, 3), rng.integer(1, 8)));
      // The last try of each round is left alone, so that rounds end; short lives are the more frequent ones.
      const double life = 5 + whole_ms * 0.9 * rng.uniform() * rng.uniform();
      if (killed < kills && !process.ended_within(milliseconds(static_cast<int>(life))))
        process.signal(SIGKILL);
      const Finished end = process.wait();
      INFO(end.err);
      if (end.signal == SIGKILL) {
        ++killed;
        std::error_code ignored;
        for (const auto& entry : fs::directory_iterator(runs.path() / ".work", ignored))
          if (entry.is_directory()) {
            const std::string name = entry.path().filename().string();
            ++interrupted[name.substr(0, name.rfind('-'))];
          }
        continue;
      }
      REQUIRE(end.code == 0);
      break;
    }
    ++runs_completed;
    CHECK(differences(stored_files(runs.path()), expected) == std::vector<std::string>{});
    CHECK(differences(media_of(runs.path()), pictures) == std::vector<std::string>{});
    CHECK(fs::is_empty(runs.path() / ".work"));
  }
  std::string stages;
  for (const auto& [stage, count] : interrupted)
    stages += " " + stage + " " + std::to_string(count);
  std::printf("%d kills in %d runs; unfinished when one came:%s\n", killed, runs_completed,
              stages.c_str());
  CHECK(interrupted.size() >= 4);
}

}  // namespace dt2it
