// SPDX-License-Identifier: Apache-2.0
// Whole runs over HTTP by the command line: plan, run, report, export, and the same again from the export alone.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <sstream>

#include "tests/cli/process.hpp"
#include "tests/mock_endpoint/mock_endpoint.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

// Answers writers with a sentence and judges with scores that depend on what they are shown.
std::string answer_to(const mock::Request& request) {
  if (request.body.find("<task>") == std::string::npos)
    return fmt::format("An answer of {} words.", std::hash<std::string>{}(request.body) % 7);
  std::string responses;
  for (int id = 1;
       request.body.find(fmt::format("<response id=\\\"{}\\\">", id)) != std::string::npos; ++id)
    responses += fmt::format(R"({}{{"id":{},"scores":{{"accuracy":{}}}}})", id > 1 ? "," : "", id,
                             (std::hash<std::string>{}(request.body) >> (4 * id)) % 11);
  return R"({"weights":{"accuracy":1},"responses":[)" + responses + "]}";
}

struct Files {
  testing::TemporaryFolder folder;
  fs::path none, online, offline;
  explicit Files(const std::string& url, const std::string& more = "") {
    std::ofstream prompts(folder.path() / "prompts.jsonl");
    for (int i = 0; i < 60; ++i)
      prompts << fmt::format(
          R"({{"id":"p{}","messages":[{{"role":"user","content":"Question number {}?"}}]}})"
          "\n",
          i, i);
    prompts.close();
    none = folder.write("none.toml", "");
    const std::string rest = R"(
[datasets.own]
type = "jsonl"
file = "prompts.jsonl"
[judges.teacher]
type = "rubric"
mllm = "teacher"
criteria = ["accuracy"]
[scorers.listwise]
type = "listwise"
judge = "teacher"
[stages.distil]
dataset = "own"
pool = ["writer"]
candidates = 3
)";
    std::string models, replays;
    for (const std::string name : {"writer", "teacher"}) {
      models += fmt::format(
          "[mllms.{}]\ntype = \"openai\"\nmodel = \"{}\"\nendpoint = \"{}\"\napi_key_env = "
          "\"\"\nprice_input = 1.0\nprice_output = 4.0\nprice_date = \"2026-08-01\"\n{}",
          name, name, url, more);
      replays += fmt::format(
          "[mllms.{}]\ntype = \"replay\"\nmodel = \"{}\"\nfile = \"calls.jsonl\"\n", name, name);
    }
    online = folder.write("online.toml", models + rest);
    offline = folder.write("offline.toml", replays + rest);
  }
  Finished run(const fs::path& file, const std::string& runs, Words more = {}) const {
    Words words{"run",         file.string(), "--profile",
                none.string(), "--runs",      (folder.path() / runs).string(),
                "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return dt2it(words);
  }
  std::string file(const std::string& runs, const std::string& name) const {
    for (const auto& entry : fs::recursive_directory_iterator(folder.path() / runs / ".store"))
      if (entry.path().filename() == name) return read_file(entry.path());
    return {};
  }
  std::string pairs(const std::string& runs) const { return file(runs, "pairs.jsonl"); }
};

}  // namespace

TEST_CASE("A run is planned, made, reported on, exported, and made again from the export alone") {
  mock::Options options;
  options.answer = answer_to;
  mock::Endpoint endpoint(options);
  const Files files(endpoint.url());

  const Finished plan = dt2it({"plan", files.online.string(), "--profile", files.none.string(),
                               "--runs", (files.folder.path() / "runs").string()});
  INFO(plan.out << plan.err);
  CHECK(plan.code == 0);
  CHECK(endpoint.asked() == 0);
  CHECK(plan.out.find("candidates        180") != std::string::npos);
  CHECK(plan.out.find("listwise           60") != std::string::npos);
  CHECK(plan.out.find("prices of 2026-08-01") != std::string::npos);

  const Finished run = files.run(files.online, "runs");
  INFO(run.out << run.err);
  REQUIRE(run.code == 0);
  CHECK(run.out.find("Calls of remote models") != std::string::npos);
  CHECK(endpoint.asked() == 240);
  const std::string pairs = files.pairs("runs");
  CHECK(pairs.size() > 1000);

  const std::string store = (files.folder.path() / "runs").string();
  const Finished list = dt2it({"calls", "ls", "--runs", store, "--limit", "3"});
  CHECK(list.out.find("3 of 240 calls") != std::string::npos);
  const std::string name = list.out.substr(list.out.find('\n') + 1, 16);
  const Finished shown = dt2it({"calls", "show", name, "--runs", store});
  CHECK(shown.code == 0);
  CHECK(shown.out.find("Question number") != std::string::npos);
  const std::string calls = (files.folder.path() / "calls.jsonl").string();
  CHECK(dt2it({"calls", "export", calls, "--runs", store}).out.find("240 calls") !=
        std::string::npos);

  SECTION("by mllms/replay") {
    const Finished again = files.run(files.offline, "replayed");
    INFO(again.err);
    REQUIRE(again.code == 0);
    CHECK(files.pairs("replayed") == pairs);
  }
  SECTION("by a store that it was imported into, without a network") {
    const std::string other = (files.folder.path() / "other").string();
    CHECK(dt2it({"calls", "import", calls, "--runs", other})
              .out.find("240 calls read, 240 of them new") != std::string::npos);
    CHECK(dt2it({"calls", "import", calls, "--runs", other}).out.find("0 of them new") !=
          std::string::npos);
    const Finished again = files.run(files.online, "other", {"--offline"});
    INFO(again.err);
    REQUIRE(again.code == 0);
    CHECK(files.pairs("other") == pairs);
  }
  SECTION("pruned calls are gone") {
    CHECK(dt2it({"calls", "prune", "--runs", store}).code == 2);
    CHECK(dt2it({"calls", "prune", "--model", "writer", "--runs", store})
              .out.find("180 calls removed") != std::string::npos);
    CHECK(dt2it({"calls", "ls", "--runs", store}).out.find("of 60 calls") != std::string::npos);
  }
  CHECK(endpoint.asked() == 240);
}

TEST_CASE("The calls of curation are planned: of each pair, of samples, beside judging all") {
  mock::Endpoint endpoint({});
  testing::TemporaryFolder folder;
  std::ofstream pairs(folder.path() / "pairs.jsonl");
  for (int i = 0; i < 5000; ++i)
    pairs << fmt::format(
        R"({{"id":"p{}","prompt":{{"id":"p{}","messages":[{{"role":"user","content":"Question number {}?"}}]}},)"
        R"("chosen":{{"id":"a","text":"Yes, {}."}},"rejected":{{"id":"b","text":"No, {}."}},"source":"own"}})"
        "\n",
        i, i, i, i, i);
  pairs.close();
  const auto none = folder.write("none.toml", "");
  const auto plan = [&](const std::string& stages) {
    const auto file = folder.write("plan.toml", fmt::format(R"(
[mllms.j1]
type = "openai"
model = "one"
endpoint = "{0}"
api_key_env = ""
price_input = 1.0
price_output = 4.0
price_date = "2026-08-01"
max_tokens = 200
[mllms.j2]
type = "openai"
model = "two"
endpoint = "{0}"
api_key_env = ""
[judges.j1]
type = "rubric"
mllm = "j1"
[judges.j2]
type = "rubric"
mllm = "j2"
repeats = 3
[datasets.own]
type = "jsonl"
file = "pairs.jsonl"
[reward_models.voter]
type = "replay"
file = "not/there.jsonl"
[reward_models.current]
type = "replay"
file = "not/there.jsonl"
[curators.vote_flip]
type = "vote_flip"
reward_models = ["voter"]
[curators.consistency]
type = "consistency"
reward_model = "current"
[curators.reannotate]
type = "reannotate"
judges = ["j1", "j2"]
[curators.audited]
type = "audited"
curator = "vote_flip"
judges = ["j1"]
sample = 40
[stages.pairs]
type = "collect_pairs"
dataset = "own"
)",
                                                            endpoint.url()) +
                                                    stages);
    const Finished done = dt2it({"plan", file.string(), "--profile", none.string(), "--runs",
                                 (folder.path() / "runs").string()});
    INFO(done.out << done.err);
    CHECK(done.code == 0);
    return done.out;
  };
  const auto line = [](const std::string& out, const std::string& stage, const std::string& model) {
    std::istringstream lines(out);
    for (std::string one; std::getline(lines, one);)
      if (one.starts_with("  " + stage + " ") && one.find(" " + model + " ") != std::string::npos &&
          one.find("pairwise") != std::string::npos)
        return one;
    return std::string();
  };
  const std::string first =
      plan("[stages.curate]\npairs = [\"pairs\"]\ncurators = [\"reannotate\"]\n");
  INFO(first);
  CHECK(line(first, "curate", "one").find(" 10K ") !=
        std::string::npos);  // 5000 pairs, both orders
  CHECK(line(first, "curate", "two").find(" 30K ") != std::string::npos);  // thrice
  CHECK(line(first, "curate", "one").find("at most") == std::string::npos);
  CHECK(line(first, "curate", "one").find("prices of 2026-08-01") != std::string::npos);
  const std::string chain = plan(
      "[stages.curate]\npairs = [\"pairs\"]\ncurators = [\"audited\", \"consistency\", "
      "\"reannotate\"]\n");
  INFO(chain);
  CHECK(line(chain, "curate", "one").find(" 160 ") !=
        std::string::npos);  // 40 of all and 40 of the flips, both orders
  CHECK(line(chain, "curate", "one").find("at most") != std::string::npos);
  CHECK(line(chain, "curate", "two").find("at most") != std::string::npos);
  CHECK(chain.find("cannot be told") == std::string::npos);
  // What else a curate stage needs, such as votes, gives no pairs.
  const std::string voted = plan(R"(
[reward_models.stored]
type = "stored"
rewards = "stage:vote"
model = "voter"
[curators.by_votes]
type = "vote_flip"
reward_models = ["stored"]
[stages.vote]
pairs = ["pairs"]
reward_models = ["voter"]
[stages.curate]
pairs = ["pairs"]
curators = ["by_votes", "reannotate"]
)");
  INFO(voted);
  CHECK(line(voted, "curate", "one").find(" 10K ") != std::string::npos);
  CHECK(voted.find("cannot be told") == std::string::npos);
  CHECK(endpoint.asked() == 0);
}

TEST_CASE("One switch sends the same stage in batches, to the same pairs") {
  mock::Options options;
  options.answer = answer_to;
  mock::Endpoint endpoint(options);
  const Files files(endpoint.url()),
      in_batches(endpoint.url(), "batch = true\nbatch_poll_seconds = 0.05\n");
  REQUIRE(files.run(files.online, "runs").code == 0);
  const std::uint64_t asked = endpoint.asked();
  const Finished run = in_batches.run(in_batches.online, "runs");
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK(endpoint.asked() == asked);
  CHECK(in_batches.pairs("runs") == files.pairs("runs"));
}

TEST_CASE("An outage ends the run, and nothing of it is left in the results when the run goes on") {
  std::atomic<bool> down{true};
  mock::Options options;
  options.answer = answer_to;
  options.choose = [&](const mock::Request&) { return down ? "always_500" : "ok"; };
  mock::Endpoint endpoint(options);
  const Files files(endpoint.url(), "retries = 0\noutage_limit = 10\n");
  const Finished failed = files.run(files.online, "runs");
  CHECK(failed.code == 5);
  CHECK(failed.err.find("gave no answer to 10 calls in a row") != std::string::npos);
  CHECK(failed.err.find("run again to go on") != std::string::npos);
  down = false;
  REQUIRE(files.run(files.online, "runs").code == 0);
  const std::string candidates = files.file("runs", "candidates.jsonl");
  CHECK(candidates.size() > 1000);
  CHECK(candidates.find("unavailable") == std::string::npos);
}

TEST_CASE("Calls without an answer are no result: the run ends and the next one asks for them") {
  std::atomic<bool> trouble{true};
  mock::Options options;
  options.answer = answer_to;
  options.choose = [&](const mock::Request& request) {
    return trouble && request.body.find("Question number 7?") != std::string::npos ? "always_500"
                                                                                   : "ok";
  };
  mock::Endpoint endpoint(options);
  const Files files(endpoint.url(), "retries = 0\n");
  const Finished failed = files.run(files.online, "runs");
  INFO(failed.err);
  CHECK(failed.code == 5);
  CHECK(failed.err.find("1 of 60 items got no answer (the last: ") != std::string::npos);
  CHECK(failed.err.find("--keep-unanswered") != std::string::npos);
  const std::uint64_t asked = endpoint.asked();

  SECTION("once the trouble is over") {
    trouble = false;
    REQUIRE(files.run(files.online, "runs").code == 0);
    CHECK(endpoint.asked() == asked + 3 + 60);  // its candidates, and the scores of all
    CHECK(files.file("runs", "candidates.jsonl").find("unavailable") == std::string::npos);
  }
  SECTION("unless they are wanted as they are") {
    const Finished kept = files.run(files.online, "runs", {"--keep-unanswered"});
    INFO(kept.err);
    REQUIRE(kept.code == 0);
    CHECK(files.file("runs", "candidates.jsonl").find("unavailable") != std::string::npos);
  }
}

TEST_CASE("Without a network a store with holes ends the run, and with one it is filled") {
  mock::Options options;
  options.answer = answer_to;
  mock::Endpoint endpoint(options);
  const Files files(endpoint.url());
  REQUIRE(files.run(files.online, "runs").code == 0);
  const std::string calls = (files.folder.path() / "calls.jsonl").string();
  REQUIRE(
      dt2it({"calls", "export", calls, "--runs", (files.folder.path() / "runs").string()}).code ==
      0);
  std::istringstream all(read_file(calls));
  std::string some, line;
  for (int i = 0; std::getline(all, line); ++i)
    if (i % 10 != 0) some += line + "\n";
  const std::string holes = files.folder.write("holes.jsonl", some).string();
  const std::string other = (files.folder.path() / "other").string();
  REQUIRE(dt2it({"calls", "import", holes, "--runs", other}).code == 0);
  const Finished offline = files.run(files.online, "other", {"--offline"});
  INFO(offline.err);
  CHECK(offline.code == 5);
  CHECK(offline.err.find("got no answer (the last: offline, and no stored answer") !=
        std::string::npos);
  CHECK(endpoint.asked() == 240);
  REQUIRE(files.run(files.online, "other").code == 0);
  CHECK(endpoint.asked() == 264);
  CHECK(files.pairs("other") == files.pairs("runs"));
}

TEST_CASE(
    "A curation ends where judges gave no answer, and decides on those pairs when it goes on") {
  std::atomic<bool> trouble{true};
  mock::Options options;
  options.answer = answer_to;
  options.choose = [&](const mock::Request& request) {
    return trouble && request.body.find("Question number 650?") != std::string::npos ? "always_500"
                                                                                     : "ok";
  };
  mock::Endpoint endpoint(options);
  testing::TemporaryFolder folder;
  std::ofstream pairs(folder.path() / "pairs.jsonl");
  for (int i = 0; i < 700; ++i)
    pairs << fmt::format(
        R"({{"id":"p{0}","prompt":{{"id":"p{0}","messages":[{{"role":"user","content":"Question number {0}?"}}]}},)"
        R"("chosen":{{"id":"a","text":"Yes, {0}."}},"rejected":{{"id":"b","text":"No, {0}."}},"source":"own"}})"
        "\n",
        i);
  pairs.close();
  const auto none = folder.write("none.toml", "");
  const auto file = folder.write("curate.toml", fmt::format(R"(
[mllms.j1]
type = "openai"
model = "one"
endpoint = "{}"
api_key_env = ""
retries = 0
[judges.j1]
type = "rubric"
mllm = "j1"
criteria = ["accuracy"]
[datasets.own]
type = "jsonl"
file = "pairs.jsonl"
[curators.reannotate]
type = "reannotate"
judges = ["j1"]
[stages.pairs]
type = "collect_pairs"
dataset = "own"
[stages.curate]
pairs = ["pairs"]
curators = ["reannotate"]
)",
                                                            endpoint.url()));
  const auto run = [&](Words more = {}) {
    Words words{"run",         file.string(), "--profile",
                none.string(), "--runs",      (folder.path() / "runs").string(),
                "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return dt2it(words);
  };
  const Finished failed = run();
  INFO(failed.err);
  CHECK(failed.code == 5);
  CHECK(failed.err.find("calls got no answer") != std::string::npos);
  const std::uint64_t asked = endpoint.asked();
  CHECK(asked >= 1400);
  trouble = false;
  const Finished done = run();
  INFO(done.err);
  REQUIRE(done.code == 0);
  CHECK(endpoint.asked() == asked + 2);  // both orders of that one
  for (const auto& entry : fs::recursive_directory_iterator(folder.path() / "runs" / ".store"))
    if (entry.path().filename() == "decisions.jsonl") {
      const std::string decisions = read_file(entry.path());
      CHECK(std::ranges::count(decisions, '\n') == 700);
      CHECK(decisions.find("no comparison succeeded") == std::string::npos);
    }
}

TEST_CASE("A cap ends the run with what is done, and a higher one goes on") {
  mock::Options options;
  options.answer = answer_to;
  mock::Endpoint endpoint(options);
  const Files files(endpoint.url());
  const Finished capped = files.run(files.online, "runs", {"--max-tokens", "15000"});
  CHECK(capped.code == 5);
  CHECK(capped.err.find("cap is reached") != std::string::npos);
  const std::uint64_t asked = endpoint.asked();
  CHECK(asked > 0);
  CHECK(asked < 240);
  CHECK(files.run(files.online, "runs").code == 0);
  CHECK(endpoint.asked() == 240);
}

}  // namespace dt2it
