// SPDX-License-Identifier: Apache-2.0
// What costs a user time before anything is run: start-up, and the check of all experiments.
#include <algorithm>
#include <cstdio>
#include <set>

#include "tests/cli/process.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMeasures = false;
#else
constexpr bool kMeasures = true;
#endif

// Names of the shared libraries that the dynamic linker opened.
std::set<std::string> libraries_of(const Words& words) {
  const Finished run = dt2it(words, {{"LD_DEBUG", "files"}});
  CHECK_THAT(words.front() + ": " + std::to_string(run.code), Catch::EndsWith(": 0"));
  std::set<std::string> names;
  for (std::size_t at = 0; (at = run.err.find("file=", at)) != std::string::npos;) {
    at += 5;
    const std::size_t end = run.err.find_first_of(" \n", at);
    names.insert(fs::path(run.err.substr(at, end - at)).filename().string());
  }
  return names;
}

std::vector<std::string> heavy(const std::set<std::string>& names) {
  std::vector<std::string> found;
  for (const std::string& name : names)
    for (const char* part : {"libtorch", "libc10", "libdt2it_nn", "libopencv"})
      if (name.starts_with(part)) found.push_back(name);
  return found;
}

std::size_t toml_files(const fs::path& folder) {
  std::size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    count += entry.path().extension() == ".toml" && entry.path().filename() != "paper_results.toml";
  return count;
}

bool with_torch() { return fs::exists(build_path("/lib/dt2it/plugins/trainers/native.so")); }

}  // namespace

TEST_CASE("Help, listings and checks never load LibTorch or OpenCV") {
  CHECK(heavy(libraries_of({"--help"})).empty());
  CHECK(heavy(libraries_of({"run", "--help"})).empty());
  CHECK(heavy(libraries_of({"plugins"})).empty());
  CHECK(heavy(libraries_of({"check", "tests/fixtures/experiments/data.toml", "--profile", "mini"}))
            .empty());
  CHECK(heavy(libraries_of({"plan", "tests/fixtures/experiments/data.toml"})).empty());
  if (with_torch()) CHECK(heavy(libraries_of({"check", "experiments"})).empty());
  // This would be seen: drawing needs OpenCV.
  testing::TemporaryFolder folder;
  const auto drawing = libraries_of({"run", "tests/fixtures/experiments/data.toml", "--set",
                                     "datasets.prompts.count=1", "--runs", folder.path().string()});
  CHECK_FALSE(heavy(drawing).empty());
  CHECK(std::none_of(drawing.begin(), drawing.end(),
                     [](const std::string& name) { return name.starts_with("libtorch"); }));
}

TEST_CASE("Start-up takes at most 50 ms") {
  if (!kMeasures) {
    std::puts("skipped: a sanitizer slows the program down");
    return;
  }
  std::vector<double> times;
  for (int i = 0; i < 5; ++i) {
    const auto begin = Clock::now();
    CHECK(dt2it({"--help"}).code == 0);
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
  }
  std::sort(times.begin(), times.end());
  INFO("median " << times[2] << " ms");
  CHECK(times[2] <= 50);
}

TEST_CASE("Every experiment there is checks under every profile, in two seconds") {
  if (!with_torch()) {
    std::puts(
        "skipped: the experiments name plugins that need LibTorch (built with DT2IT_TORCH=OFF)");
    return;
  }
  const std::size_t files = toml_files(source_path("/experiments"));
  const std::size_t profiles = toml_files(source_path("/configs/profiles"));
  REQUIRE(files > 0);
  REQUIRE(profiles > 0);
  const auto begin = Clock::now();
  const Finished run = dt2it({"check", "experiments"});
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  INFO(run.err);
  CHECK(run.code == 0);
  CHECK_THAT(run.out, Catch::StartsWith(std::to_string(files) + " files fine under ") &&
                          Catch::Contains("(" + std::to_string(files * profiles) + " checks)"));
  if (kMeasures) CHECK(seconds <= 2);
}

TEST_CASE("Every verb explains itself, also where options are required") {
  for (const char* verb :
       {"run", "check", "show", "plan", "plugins", "evaluate", "report", "convert", "clean"}) {
    INFO(verb);
    const Finished run = dt2it({verb, "--help"});
    CHECK(run.code == 0);
    CHECK_THAT(run.out, Catch::StartsWith("usage: dt2it " + std::string(verb)));
    CHECK(run.err.empty());
  }
  CHECK_THAT(dt2it({"--version"}).out, Catch::StartsWith("dt2it "));
  CHECK(dt2it({}).code == 0);
}

}  // namespace dt2it
