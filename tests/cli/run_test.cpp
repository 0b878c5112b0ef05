// SPDX-License-Identifier: Apache-2.0
#include "tests/cli/process.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

const std::string kData = "tests/fixtures/experiments/data.toml";

Words run_words(const fs::path& runs, const Words& more = {}) {
  Words words = dt2it_words({"run", kData, "--runs", runs.string()});
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// What has been journalled so far, in bytes.
std::uintmax_t journalled(const fs::path& runs) {
  std::uintmax_t bytes = 0;
  std::error_code ignored;
  for (fs::recursive_directory_iterator it(runs / ".work", ignored), end; it != end;
       it.increment(ignored))
    if (it->path().extension() == ".journal" &&
        it->path().filename() != "records.journal") {  // that of data sets, done at once
      const std::uintmax_t size = fs::file_size(it->path(), ignored);
      if (!ignored) bytes += size;
    }
  return bytes;
}

// Until that much is journalled, or the process has ended.
bool wait_for_work(Process& process, const fs::path& runs) {
  for (int i = 0; i < 2000 && journalled(runs) < 2000; ++i)
    if (process.ended_within(milliseconds(2))) return false;
  return true;
}

// One writer that takes its time.
class Slow {
 public:
  explicit Slow(int pause_ms) {
    folder_.write("none.toml", "");
    folder_.write(
        "slow.toml",
        "[datasets.d]\ntype = \"fixture\"\ncount = 40\n[mllms.m]\ntype = \"fixture\"\npause_ms = " +
            std::to_string(pause_ms) +
            "\n[stages.prompts]\ntype = \"collect\"\ndataset = \"d\"\n"
            "[stages.candidates]\nprompts = \"prompts\"\npool = [\"m\"]\ncount = 1\n");
  }
  Words words() const {
    return dt2it_words({"run", path("slow.toml"), "--profile", path("none.toml"), "--plugin-path",
                        build_path("/tests/host_plugins"), "--runs", path("runs"), "--workers",
                        "2"});
  }
  fs::path runs() const { return folder_.path() / "runs"; }

 private:
  std::string path(const char* name) const { return (folder_.path() / name).string(); }
  testing::TemporaryFolder folder_;
};

bool wait_for(const std::function<bool()>& condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return false;
}

}  // namespace

TEST_CASE("A run prints its tables, writes its page, and is finished the second time") {
  testing::TemporaryFolder runs;
  const Finished first = Process(run_words(runs.path())).wait();
  INFO(first.err);
  REQUIRE(first.code == 0);
  CHECK_THAT(first.out,
             Catch::Contains("VL-RewardBench") && Catch::Contains("Labels against known truth"));
  CHECK_THAT(first.err, Catch::Contains("data distil.candidates: done, 40"));
  CHECK(fs::exists(runs.path() / "data" / "report.html"));
  CHECK(fs::is_empty(runs.path() / ".work"));
  const auto files = stored_files(runs.path());
  const Finished second = Process(run_words(runs.path())).wait();
  CHECK(second.code == 0);
  CHECK(second.out == first.out);
  CHECK(second.err == "all 12 stages were there already\n");
  CHECK(Process(run_words(runs.path(), {"--quiet"})).wait().err.empty());
  CHECK(differences(files, stored_files(runs.path())) == std::vector<std::string>{});

  const Finished plan = dt2it({"plan", kData, "--runs", runs.path().string()});
  CHECK_THAT(plan.out, Catch::EndsWith("12 stages, 12 done, 0 to do\n"));
  const Finished report = dt2it(
      {"report", (runs.path() / "data").string(), "--html", (runs.path() / "page.html").string()});
  CHECK(report.code == 0);
  CHECK(fs::exists(runs.path() / "page.html"));
  const Finished clean = dt2it({"clean", "--runs", runs.path().string()});
  CHECK_THAT(clean.out, Catch::StartsWith("0 folders"));
  CHECK(differences(files, stored_files(runs.path())) == std::vector<std::string>{});
}

TEST_CASE("Jobs and workers change nothing in the files") {
  testing::TemporaryFolder one, many;
  REQUIRE(Process(run_words(one.path(), {"--jobs", "1", "--workers", "1"})).wait().code == 0);
  REQUIRE(Process(run_words(many.path(), {"--jobs", "4", "--workers", "16"})).wait().code == 0);
  CHECK(stored_files(one.path()).size() > 30);
  CHECK(differences(stored_files(one.path()), stored_files(many.path())) ==
        std::vector<std::string>{});
}

TEST_CASE("clean removes what no run uses and what was left unfinished") {
  testing::TemporaryFolder runs;
  REQUIRE(Process(run_words(runs.path())).wait().code == 0);
  const auto before = stored_files(runs.path());
  REQUIRE(Process(run_words(runs.path(), {"--set", "stages.distil.max_pairs=1"})).wait().code == 0);
  fs::create_directories(runs.path() / ".work" / "mix-0000000000000000" / "output");
  const Finished dry = dt2it({"clean", "--dry-run", "--runs", runs.path().string()});
  CHECK_THAT(dry.out, Catch::Contains("would remove mix-0000000000000000"));
  CHECK(fs::exists(runs.path() / ".work" / "mix-0000000000000000"));
  CHECK(dt2it({"clean", "--runs", runs.path().string()}).code == 0);
  CHECK(fs::is_empty(runs.path() / ".work"));
  // The run folder now points at the second run's stages: those of the first that differ have gone.
  const auto after = stored_files(runs.path());
  CHECK(differences(before, after).size() > 4);
  CHECK_THAT(
      dt2it({"plan", kData, "--runs", runs.path().string(), "--set", "stages.distil.max_pairs=1"})
          .out,
      Catch::EndsWith("12 stages, 12 done, 0 to do\n"));
}

TEST_CASE("Ctrl-C ends what is in flight, saves it and says how to go on") {
  Slow slow(30);
  Process process(slow.words());
  REQUIRE(wait_for([&] { return journalled(slow.runs()) > 500; }));
  process.signal(SIGINT);
  const Finished stopped = process.wait();
  CHECK(stopped.code == 130);
  CHECK_THAT(stopped.err, Catch::Contains("stopping: finishing what is in flight") &&
                              Catch::Contains("what is done is saved. Go on with:\n  dt2it run " +
                                              slow.words()[2]));
  const std::uintmax_t saved = journalled(slow.runs());
  CHECK(saved > 500);
  const Finished again = Process(slow.words()).wait();
  CHECK(again.code == 0);
  CHECK_THAT(again.err, Catch::Contains("candidates: done, 40"));
  Slow unbroken(30);
  REQUIRE(Process(unbroken.words()).wait().code == 0);
  CHECK(differences(stored_files(slow.runs()), stored_files(unbroken.runs())) ==
        std::vector<std::string>{});
}

TEST_CASE("A second Ctrl-C stops at once") {
  Slow slow(20000);
  Process process(slow.words());
  REQUIRE(wait_for(
      [&] { return fs::exists(slow.runs() / ".work") && !fs::is_empty(slow.runs() / ".store"); }));
  std::this_thread::sleep_for(milliseconds(200));
  process.signal(SIGINT);
  REQUIRE(wait_for([&] { return process.err_so_far().find("stopping:") != std::string::npos; }));
  CHECK_FALSE(process.ended_within(milliseconds(300)));  // two answers are on their way
  process.signal(SIGINT);
  REQUIRE(process.ended_within(milliseconds(1000)));
  CHECK(process.wait().code == 130);
}

TEST_CASE("Two processes share a runs folder: one works, the other waits and says so") {
  testing::TemporaryFolder together, alone;
  const Words settings{"--set", "datasets.prompts.count=150"};
  Process first(run_words(together.path(), settings));
  REQUIRE(wait_for_work(first, together.path()));
  Process second(run_words(together.path(), settings));
  const Finished one = first.wait(), two = second.wait();
  INFO(one.err << two.err);
  CHECK(one.code == 0);
  CHECK(two.code == 0);
  CHECK_THAT(one.err + two.err, Catch::Contains("is being worked on by process ") &&
                                    Catch::Contains("; waiting for it"));
  CHECK(one.out == two.out);
  CHECK(fs::is_empty(together.path() / ".work"));
  REQUIRE(Process(run_words(alone.path(), settings)).wait().code == 0);
  CHECK(differences(stored_files(together.path()), stored_files(alone.path())) ==
        std::vector<std::string>{});
}

TEST_CASE("A run ends with the paths of what it trained") {
  testing::TemporaryFolder runs;
  const Finished run = dt2it({"run", "tests/fixtures/experiments/all_stages.toml", "--quiet",
                              "--runs", runs.path().string()});
  INFO(run.err);
  REQUIRE(run.code == 0);
  const std::string folder = (runs.path() / "all_stages").string();
  CHECK_THAT(run.out, Catch::EndsWith("\nreport: " + folder + "/report.html\ncheckpoint: " +
                                      folder + "/stages/iterate/checkpoint\ncheckpoint: " + folder +
                                      "/stages/offline_rl.dpo/checkpoint\n"));
  CHECK(fs::exists(folder + "/stages/iterate/checkpoint/config.json"));
}

TEST_CASE("An experiment elsewhere extends one that comes with the program") {
  testing::TemporaryFolder own;
  // Its plan, without the line that names the experiment.
  const auto plan = [&](const std::string& file) {
    const Finished done = dt2it({"plan", file}, {}, own.path());
    INFO(done.err);
    REQUIRE(done.code == 0);
    return done.out.substr(done.out.find('\n'));
  };
  for (const std::string shipped :
       {"examples/one_pair.toml", "experiments/table7/method1_pointwise.toml"}) {
    own.write("own.toml", "extends = \"" + shipped + "\"\n");
    CHECK(plan("own.toml") == plan(shipped));
  }
  own.write("own.toml", "extends = \"examples/none.toml\"\n");
  const Finished absent = dt2it({"check", "own.toml"}, {}, own.path());
  CHECK(absent.code == 2);
  CHECK_THAT(absent.err + absent.out,
             Catch::Contains("own.toml:1:11: there is no file examples/none.toml"));
  // What is beside it comes first.
  fs::create_directory(own.path() / "examples");
  own.write("examples/one_pair.toml", "oops = 1\n");
  own.write("own.toml", "extends = \"examples/one_pair.toml\"\n");
  const Finished beside = dt2it({"check", "own.toml"}, {}, own.path());
  CHECK_THAT(beside.err + beside.out, Catch::Contains("examples/one_pair.toml:1:1: unknown key"));
}

TEST_CASE("A report of a run says how it was made") {
  testing::TemporaryFolder own;
  own.write("row.toml", "extends = \"examples/one_pair.toml\"\n");
  const Words options = {"--set",         "datasets.prompts.count=12",
                         "--plugin-path", build_path("/tests/host_plugins"),
                         "--runs",        (own.path() / "runs").string()};
  Words words = {"run", "row.toml", "--quiet"};
  words.insert(words.end(), options.begin(), options.end());
  const Finished run = dt2it(words, {}, own.path());
  INFO(run.err);
  REQUIRE(run.code == 0);
  REQUIRE(dt2it({"report", "runs/row", "--json", "page.json"}, {}, own.path()).code == 0);
  CHECK_THAT(read_file(own.path() / "page.json"),
             Catch::Contains("\"dt2it run row.toml --profile mini --set "
                             "datasets.prompts.count=12 --plugin-path " +
                             build_path("/tests/host_plugins") + "\""));
}

}  // namespace dt2it
