// SPDX-License-Identifier: Apache-2.0
// The mini world by way of HTTP: the mock endpoint simulates the models, the run asks them as it asks real ones.
#include <fmt/format.h>

#include "tests/cli/process.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

std::string pairs_below(const fs::path& runs) {
  for (const auto& entry : fs::recursive_directory_iterator(runs / ".store"))
    if (entry.path().filename() == "pairs.jsonl") return read_file(entry.path());
  return {};
}

}  // namespace

TEST_CASE("Models behind the mock endpoint give the pairs that the same models give in process") {
  testing::TemporaryFolder folder;
  const std::string file = folder
                               .write("small.toml", R"([stages.distil]
pool = ["gpt_5_chat", "gpt_4o_mini", "qwen2_5_vl_7b", "qwen2_5_vl_32b", "internvl3_5_8b", "internvl3_5_38b"]
scorers = ["listwise", "pointwise"]
diversity = "enhance"
limit = 12
)")
                               .string();
  Process mock(
      {build_path("/bin/dt2it-mock"), "--port", "0", "--simulate", file, "--faults", "0.1"});
  const std::string said = "listening at ";
  std::string out;
  while ((out = mock.out_so_far()).find('\n') == std::string::npos)
    if (mock.ended_within(std::chrono::milliseconds(20))) FAIL(mock.wait().err);
  const std::size_t at = out.find(said) + said.size();
  const std::string url = out.substr(at, out.find(' ', at) - at);

  const auto run = [&](const std::string& profile) {
    const fs::path runs = folder.path() / profile;
    const Finished end =
        Process(
            dt2it_words({"run", file, "--profile", profile, "--runs", runs.string(), "--quiet"}),
            {{"DT2IT_MOCK", url}})
            .wait();
    INFO(end.out << end.err);
    REQUIRE(end.code == 0);
    CHECK((end.out.find("Calls of remote models") != std::string::npos) ==
          (profile == "mini_http"));
    return pairs_below(runs);
  };
  const std::string in_process = run("mini");
  CHECK(in_process.size() > 5000);
  CHECK(run("mini_http") == in_process);
}

}  // namespace dt2it
