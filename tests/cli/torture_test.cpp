// SPDX-License-Identifier: Apache-2.0
// kill -9 at random moments, from fixed seeds: whatever happens, the files in the end are those of an unbroken
// run. DT2IT_TORTURE=N sets the number of kills (default 30), DT2IT_TORTURE_EXPERIMENT another experiment than data.toml:
// `./dev torture` takes all_stages.toml, which trains too.
#include <cstdio>
#include <functional>
#include <map>
#include <set>

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

// Types of the stages whose folders (TYPE-KEY) lie in a folder.
std::set<std::string> stage_types(const fs::path& folder) {
  std::set<std::string> types;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (const auto dash = name.rfind('-'); dash != std::string::npos && name[0] != '.')
      types.insert(name.substr(0, dash));
  }
  return types;
}

// Waits until a stage of one of these types is at work, or the process has ended: false.
bool at_work(Process& process, const fs::path& work, const std::set<std::string>& types) {
  while (!process.ended_within(milliseconds(0))) {
    for (const std::string& type : stage_types(work))
      if (types.contains(type)) return true;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return false;
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
  // Runs in a new folder, killed again and again by whatever `kill` does, which says false to let it go on to its end.
  const auto round = [&](const std::function<bool(Process&, const fs::path& work)>& kill) {
    testing::TemporaryFolder runs;
    const fs::path work = runs.path() / ".work";
    for (;;) {
      Process process(run_words(runs.path(), rng.integer(1, 3), rng.integer(1, 8)));
      if (kill(process, work)) process.signal(SIGKILL);
      const Finished end = process.wait();
      INFO(end.err);
      if (end.signal == SIGKILL) {
        ++killed;
        for (const std::string& type : stage_types(work)) ++interrupted[type];
        continue;
      }
      REQUIRE(end.code == 0);
      break;
    }
    ++runs_completed;
    CHECK(differences(stored_files(runs.path()), expected) == std::vector<std::string>{});
    CHECK(differences(media_of(runs.path()), pictures) == std::vector<std::string>{});
    CHECK(fs::is_empty(work));
  };
  while (killed < kills)
    round([&](Process& process, const fs::path&) {
      // The last try of each round is left alone, so that rounds end; short lives are the more frequent ones.
      const double life = 5 + whole_ms * 0.9 * rng.uniform() * rng.uniform();
      return killed < kills && !process.ended_within(milliseconds(static_cast<int>(life)));
    });
  // Stages that last a few milliseconds are hit by chance only: the types that were not are waited for.
  const int at_random = killed;
  const std::set<std::string> types = stage_types(whole.path() / ".store");
  for (int tries = 0; tries < 3; ++tries) {
    const auto missed = [&] {
      std::set<std::string> left;
      for (const std::string& type : types)
        if (!interrupted.contains(type)) left.insert(type);
      return left;
    };
    if (missed().empty()) break;
    int aimed = 0;
    round([&](Process& process, const fs::path& work) {
      return aimed++ < 40 && at_work(process, work, missed());
    });
  }
  std::string stages;
  for (const auto& [stage, count] : interrupted)
    stages += " " + stage + " " + std::to_string(count);
  std::printf("%d kills at random and %d aimed, in %d runs; unfinished when one came:%s\n",
              at_random, killed - at_random, runs_completed, stages.c_str());
  CHECK(interrupted.size() + 1 >= types.size());  // one may be over sooner than a kill can come
}

}  // namespace dt2it
