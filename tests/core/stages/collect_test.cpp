// SPDX-License-Identifier: Apache-2.0
// Collecting prompts with the real readers, and the helpers of the steps.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <set>

#include "core/stages/candidate_set.hpp"
#include "core/stages/mixture.hpp"
#include "core/util/journal.hpp"
#include "dt2it/error.hpp"
#include "dt2it/testing/fake_media_store.hpp"
#include "tests/core/run/host_fixture.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

using testing::sample_prompt;
using testing::sample_response;

std::string png() {
  const Bytes bytes = testing::detail::plain_png(testing::sample_image(64, 48, 3));
  return {bytes.begin(), bytes.end()};
}

std::string record(const std::string& question, const std::string& more) {
  return R"({"question":")" + question + "\"" + more + "}\n";
}

std::vector<Prompt> collect(HostFixture& host, const std::string& settings,
                            std::filesystem::path* folder = nullptr) {
  const auto folders = host.run(R"(
[datasets.d]
type = "prompts"
file = "mixed.jsonl"
[stages.collect]
dataset = "d"
)" + settings);
  if (folder) *folder = folders.at("collect");
  return read_prompts(folders.at("collect") / "prompts.jsonl");
}

}  // namespace

TEST_CASE("What cannot be used is dropped, each with a reason on record") {
  HostFixture host(build_path("/lib/dt2it/plugins"));
  host.write("a.png", png());
  host.write(
      "mixed.jsonl",
      record("One?", R"(,"answer":"1","image":"a.png","dataset_name":"GQA")") +
          record("  ONE? ", R"(,"answer":"1","image":"a.png","dataset_name":"GQA")") +
          record("Two?", R"(,"answer":"2","image":"gone.png","dataset_name":"GQA")") +
          record("Three?", R"(,"image":"a.png","dataset_name":"geo3k")") +
          record("图中有几只猫?", R"(,"answer":"5","image":"a.png","dataset_name":"GeoQA+")") +
          "{broken\n");
  std::filesystem::path folder;
  CHECK(collect(host, "").size() == 5);  // as it is, but for what is no record
  const auto prompts = collect(
      host,
      "deduplicate = true\nneed_reference = true\nimages = \"present\"\nscripts = [\"latin\"]\n",
      &folder);
  REQUIRE(prompts.size() == 1);
  CHECK(prompts[0].reference == "1");
  const std::string funnel = read_file(folder / "funnel.json"),
                    dropped = read_file(folder / "dropped.jsonl"),
                    mixture = read_file(folder / "mixture.json");
  for (const char* reason :
       {"unusable record", "duplicate", "image missing", "no reference answer", "other script"}) {
    CHECK_THAT(funnel, Catch::Contains("\"" + std::string(reason) + "\":1"));
    CHECK_THAT(dropped, Catch::Contains("\"reason\":\"" + std::string(reason) + "\""));
  }
  CHECK_THAT(funnel, Catch::Contains(R"("name":"records","count":6)"));
  CHECK_THAT(dropped, Catch::Contains("mixed.jsonl:6") && Catch::Contains("gone.png"));
  CHECK_THAT(
      mixture,
      Catch::Contains(
          R"("source":"geo3k","table9":"Geometry3K","domain":"reasoning","read":1,"kept":0)"));
  CHECK_THAT(mixture,
             Catch::Contains(R"("absent":["IconQA")") && !Catch::Contains(R"("absent":["GQA")"));
}

TEST_CASE(
    "Images of 50 megapixels, and such as do not decode, are dropped by what their bytes say") {
  HostFixture host(build_path("/lib/dt2it/plugins"));
  std::string huge = png(), torn = png();
  const auto set = [&](std::size_t at, std::uint32_t value) {
    for (std::size_t i = 0; i < 4; ++i) huge[at + i] = static_cast<char>(value >> (24 - 8 * i));
  };
  set(16, 10000);
  set(20, 5000);
  torn.resize(torn.size() / 2);
  host.write("a.png", png());
  host.write("huge.png", huge);
  host.write("torn.png", torn);
  host.write("text.png", "no picture");
  host.write("mixed.jsonl", record("One?", R"(,"image":"a.png")") +
                                record("Two?", R"(,"image":"huge.png")") +
                                record("Three?", R"(,"image":"torn.png")") +
                                record("Four?", R"(,"image":"text.png")"));
  std::filesystem::path folder;
  CHECK(collect(host, "images = \"present\"\n", &folder).size() ==
        2);  // the torn one has a good head
  const auto prompts = collect(host, "images = \"decoded\"\n", &folder);
  REQUIRE(prompts.size() == 1);
  CHECK(prompts[0].messages[0].content[1].text == "One?");
  const std::string dropped = read_file(folder / "dropped.jsonl");
  CHECK_THAT(dropped, Catch::Contains("huge.png: 10000 x 5000 pixels (allowed: 49000000)") &&
                          Catch::Contains("torn.png: ") &&
                          Catch::Contains("text.png: of no known type"));
  CHECK_THAT(read_file(folder / "funnel.json"), Catch::Contains(R"("image cannot be used":3)"));
}

TEST_CASE("Quotas by source and domain: exact, seeded, in order") {
  HostFixture host(build_path("/lib/dt2it/plugins"));
  std::string text;
  for (int i = 0; i < 60; ++i)
    text += record("Q" + std::to_string(i), i % 3 == 0   ? R"(,"dataset_name":"GQA")"
                                            : i % 3 == 1 ? R"(,"dataset_name":"AI2D")"
                                                         : R"(,"dataset_name":"GEOS")");
  host.write("mixed.jsonl", text);
  const auto count = [](const std::vector<Prompt>& prompts) {
    std::map<std::string, int> counts;
    int last = -1;
    for (const Prompt& prompt : prompts) {
      ++counts[prompt.source];
      const int number = std::stoi(prompt.messages[0].content[0].text.substr(1));
      CHECK(number > last);
      last = number;
    }
    return counts;
  };
  using Counts = std::map<std::string, int>;
  const auto some = collect(host, "quota = { GQA = 5, \"*\" = 12 }\n");
  CHECK(count(some) == Counts{{"GQA", 5}, {"AI2D", 12}, {"GEOS", 12}});
  CHECK(collect(host, "quota = { GQA = 5, \"*\" = 12 }\n") == some);
  CHECK_FALSE(collect(host, "quota = { GQA = 5, \"*\" = 12 }\n[experiment]\nseed = 9\n") == some);
  const auto domains =
      count(collect(host, "quota = { AI2D = 2 }\ndomain_quota = { reasoning = 10 }\n"));
  CHECK(domains.at("GQA") == 20);
  CHECK(domains.at("GEOS") + (domains.contains("AI2D") ? domains.at("AI2D") : 0) == 10);
  CHECK_THROWS_WITH(collect(host, "quota = { DVQA = 5 }\n"), Catch::Contains("'DVQA'"));
}

TEST_CASE("Decontamination before anything is spent: evidence for each prompt") {
  HostFixture host(build_path("/lib/dt2it/plugins"));
  host.write("a.png", png());
  host.write("bench.jsonl", record("How many red circles are in this picture of two boxes?",
                                   R"(,"image":"a.png")"));
  host.write("mixed.jsonl", record("How many red circles are in this picture of two boxes",
                                   R"(,"image":"a.png")") +
                                record("What else?", R"(,"image":"a.png")"));
  std::filesystem::path folder;
  const auto prompts = collect(host, R"(decontaminate = "clean"
[curators.clean]
type = "decontaminate"
datasets = ["bench"]
[datasets.bench]
type = "prompts"
file = "bench.jsonl"
)",
                               &folder);
  REQUIRE(prompts.size() == 1);
  CHECK(prompts[0].messages[0].content[1].text == "What else?");
  CHECK_THAT(read_file(folder / "dropped.jsonl"), Catch::Contains(R"("reason":"contaminated")") &&
                                                      Catch::Contains(R"("exact":true)") &&
                                                      Catch::Contains("bench/0"));
}

namespace {

std::filesystem::path journal_of(const HostFixture& host) {
  try {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(host.path() / "runs/.work"))
      if (entry.path().filename() == "records.journal") return entry.path();
  } catch (const std::filesystem::filesystem_error&) {  // another process is at work in there
  }
  return {};
}

// A process of its own that collects and is killed once so much is on record.
void collect_and_kill(HostFixture& host, const std::string& settings, std::uintmax_t bytes) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    collect(host, settings);
    ::_exit(0);
  }
  for (int i = 0; i < 20000; ++i) {
    std::error_code ignored;
    if (std::filesystem::is_directory(host.path() / "runs/.work", ignored))
      if (const auto journal = journal_of(host);
          !journal.empty() && std::filesystem::file_size(journal, ignored) >= bytes)
        break;
    ::usleep(1000);
  }
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WIFSIGNALED(status));
}

}  // namespace

TEST_CASE("A collection goes on where it was killed, and ends in the same files") {
  std::string text;
  for (int i = 0; i < 60000; ++i)
    text += i % 7 == 3 ? "{broken\n"
                       : record("Question number " + std::to_string(i % 50000) + "?",
                                i % 5 == 1 ? R"(,"dataset_name":"GQA")"
                                           : R"(,"answer":"1","dataset_name":"GQA")");
  const std::string settings =
      "deduplicate = true\nneed_reference = true\nquota = { GQA = 20000 }\n";
  HostFixture whole(build_path("/lib/dt2it/plugins")), broken(build_path("/lib/dt2it/plugins"));
  whole.write("mixed.jsonl", text);
  broken.write("mixed.jsonl", text);
  std::filesystem::path folder, other;
  REQUIRE(collect(whole, settings, &folder).size() == 20000);
  collect_and_kill(broken, settings, 1'000'000);
  collect_and_kill(broken, settings, 4'000'000);
  CHECK(collect(broken, settings, &other).size() == 20000);
  const auto without_folder = [](const HostFixture& host, std::string text) {
    const std::string name = host.path().string();
    for (std::size_t at = 0; (at = text.find(name, at)) != std::string::npos;)
      text.erase(at, name.size());
    return text;
  };
  for (const char* file : {"prompts.jsonl", "dropped.jsonl", "mixture.json", "funnel.json"})
    CHECK((without_folder(whole, read_file(folder / file)) ==
           without_folder(broken, read_file(other / file))));

  // What is on record is believed, not found out again.
  HostFixture planted(build_path("/lib/dt2it/plugins"));
  planted.write("mixed.jsonl", text);
  collect_and_kill(planted, settings, 500'000);
  Journal(journal_of(planted)).append(59999, R"(D{"id":"x","source":"GQA","reason":"planted"})");
  collect(planted, settings, &other);
  CHECK_THAT(read_file(other / "funnel.json"), Catch::Contains(R"("planted":1)"));
  CHECK(read_file(other / "dropped.jsonl")
            .ends_with("{\"id\":\"x\",\"source\":\"GQA\",\"reason\":\"planted\"}\n"));
}

TEST_CASE("collect_pairs leaves out what gives no pair, and says why") {
  HostFixture host(build_path("/lib/dt2it/plugins"));
  host.write("pairs.jsonl", R"({"id":"1","prompt":"Q","chosen":"a","rejected":"b"})"
                            "\n{broken\n"
                            R"({"id":"3","prompt":"Q","chosen":"a","rejected":"b","is_tie":true})"
                            "\n");
  const auto folder = host.run(R"(
[datasets.d]
type = "preferences"
file = "pairs.jsonl"
source = "MM-RLHF"
[stages.pairs]
type = "collect_pairs"
dataset = "d"
)")
                          .at("pairs");
  const auto pairs = read_pairs(folder / "pairs.jsonl");
  REQUIRE(pairs.size() == 1);
  CHECK(pairs[0].source == "MM-RLHF");
  CHECK_THAT(
      read_file(folder / "funnel.json"),
      Catch::Contains(
          R"({"name":"records of d","count":3,"dropped":{}},{"name":"pairs of d","count":1,"dropped":{"tie":1,"unusable record":1}})"));
  CHECK_THAT(read_file(folder / "dropped.jsonl"),
             Catch::Contains("pairs.jsonl:2") &&
                 Catch::Contains(R"({"id":"3","source":"MM-RLHF","reason":"tie"})"));
}

TEST_CASE("Candidates that say the same are one") {
  CHECK(near_identical("The answer is 4.", "the answer is  4", 1));
  CHECK_FALSE(near_identical("The answer is 4.", "the answer is 5", 1));
  CHECK_FALSE(near_identical("+", "-", 1));
  CHECK(near_identical("+", "+", 1));
  const std::string one = "The red ball lies on the table beside a small cup and a plate",
                    other = one + " of fruit";
  CHECK(near_identical(one, other, 0.8));
  CHECK_FALSE(near_identical(one, other, 0.9));
  CandidateSet set;
  set.prompt = sample_prompt("p", "What?");
  for (const char* text : {"Yes.", "no", "YES", "yes!", "No."})
    set.candidates.push_back(sample_response(std::to_string(set.candidates.size()), text));
  set.candidates.push_back(sample_response("5", "no"));
  set.candidates.back().status = Status::truncated;
  CHECK(merge_candidates(set, 1) == 3);
  REQUIRE(set.candidates.size() == 3);
  CHECK(set.candidates[0].extra == R"({"merged":["2","3"]})");
  CHECK(set.candidates[1].extra == R"({"merged":["4"]})");
  CHECK(set.candidates[2].status == Status::truncated);
}

TEST_CASE("The script of a question") {
  CHECK(main_script("What is 5 + 5?") == "latin");
  CHECK(main_script("图中 A 是什么") == "han");
  CHECK(main_script("これは何ですか") == "kana");
  CHECK(main_script("что это") == "cyrillic");
  CHECK(main_script("5 + 5 = ?") == "latin");
  CHECK(main_script("\xff\xc3") != "");
}

}  // namespace dt2it
