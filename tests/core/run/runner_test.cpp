// SPDX-License-Identifier: Apache-2.0
#include "core/run/runner.hpp"

#include <chrono>
#include <fstream>
#include <thread>

#include "dt2it/error.hpp"
#include "tests/core/run/host_fixture.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

const std::string kPairs = R"(
[datasets.d]
type = "fixture"
count = 6
[trainers.t]
type = "fixture"
[reward_models.trained]
type = "fixture"
checkpoint = "stage:train"
[benchmarks.b]
type = "fixture"
items = ["2|1", "1|2", "3|3", "x|1"]
[stages.pairs]
type = "collect_pairs"
dataset = "d"
[stages.train]
pairs = ["pairs"]
trainer = "t"
[stages.evaluate]
reward_model = "trained"
benchmarks = ["b"]
)";

}  // namespace

TEST_CASE("Equal keys give equal bytes, whatever the jobs, the workers and the folder") {
  HostFixture host;
  RunOptions one{host.path() / "one", 1, 1, true}, many{host.path() / "many", 4, 8, true};
  host.run(kPairs, one);
  host.run(kPairs, many);
  const auto files = stored_files(host.path() / "one");
  CHECK(files.size() == 11);
  CHECK(files == stored_files(host.path() / "many"));
  CHECK(fs::is_empty(host.path() / "one" / ".work"));
}

TEST_CASE("Finished stages are not run again; changed ones are") {
  HostFixture host;
  const auto first = host.run(kPairs);
  const auto time = fs::last_write_time(first.at("train") / "training.jsonl");
  const auto again = host.run(kPairs);
  CHECK(again == first);
  CHECK(fs::last_write_time(again.at("train") / "training.jsonl") == time);
  std::string changed = kPairs;
  changed.replace(changed.find("3|3"), 3, "3|4");
  const auto second = host.run(changed);
  CHECK(second.at("train") == first.at("train"));
  CHECK(second.at("evaluate") != first.at("evaluate"));
  // The run folder points at the present ones; the others stay in the store.
  const fs::path link = host.path() / "runs" / "experiment@" / "stages" / "evaluate";
  CHECK(fs::canonical(link) == fs::canonical(second.at("evaluate")));
  CHECK(fs::exists(first.at("evaluate")));
}

TEST_CASE("A failed training goes on where it stopped and ends in the same bytes") {
  HostFixture host;
  RunOptions whole{host.path() / "whole", 1, 1, true}, broken{host.path() / "broken", 1, 1, true};
  std::string failing = kPairs;
  failing.replace(failing.find("[trainers.t]\ntype = \"fixture\""), 29,
                  "[trainers.t]\ntype = \"fixture\"\nfail_at = 3");
  try {
    host.run(failing, broken);
    FAIL("the training fails");
  } catch (const ModelError& error) {
    CHECK_THAT(error.what(),
               Catch::Contains("stage 'train': ") && Catch::Contains("the loss is no number"));
  }
  CHECK_FALSE(fs::exists(host.path() / "broken" / "experiment@" / "stages" / "train"));
  CHECK(fs::exists(host.path() / "broken" / "experiment@" / "stages" / "pairs"));
  const auto resumed = host.run(failing, broken);
  const std::string curve = read_file(resumed.at("train") / "training.jsonl");
  CHECK(std::count(curve.begin(), curve.end(), '\n') == 5);
  // "failed" is part of the parameters, so compare with an unbroken run of the plain trainer by content.
  const auto plain = host.run(kPairs, whole);
  CHECK(read_file(plain.at("train") / "training.jsonl") == curve);
  CHECK(read_file(plain.at("train") / "checkpoint" / "model.txt") ==
        read_file(resumed.at("train") / "checkpoint" / "model.txt"));
}

TEST_CASE("A stop is an interruption; the next run ends the same") {
  HostFixture host;
  std::string slow = kPairs;
  slow.replace(slow.find("[trainers.t]\ntype = \"fixture\""), 29,
               "[trainers.t]\ntype = \"fixture\"\nsteps = 20\npause_ms = 20");
  std::thread ctrl_c([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    host.stop = true;
  });
  CHECK_THROWS_AS(host.run(slow), Interrupted);
  ctrl_c.join();
  host.stop = false;
  host.run(slow);
  HostFixture other;
  other.run(slow);
  CHECK(stored_files(host.path() / "runs") == stored_files(other.path() / "runs"));
}

TEST_CASE("Two runners on the same folder share the work") {
  HostFixture host;
  const std::string slow = kPairs +
                           "[stages.candidates]\nprompts = \"prompts\"\npool = [\"m\"]\n"
                           "[stages.prompts]\ntype = \"collect\"\ndataset = \"d\"\n"
                           "[mllms.m]\ntype = \"fixture\"\npause_ms = 20\n";
  std::map<std::string, fs::path> folders;
  HostFixture second;
  RunOptions options{host.path() / "runs", 2, 2, true};
  std::thread other([&] { second.run(slow, options); });
  folders = host.run(slow, options);
  other.join();
  for (const auto& [name, folder] : folders) CHECK(fs::exists(folder));
  CHECK(fs::is_empty(host.path() / "runs" / ".work"));
  HostFixture alone;
  alone.run(slow);
  CHECK(stored_files(host.path() / "runs") == stored_files(alone.path() / "runs"));
}

TEST_CASE("An iteration runs from end to end") {
  HostFixture host;
  const auto folders = host.run(R"(
[datasets.start]
type = "fixture"
[datasets.one]
type = "fixture"
prefix = "one"
[datasets.two]
type = "fixture"
prefix = "two"
[trainers.bradley_terry]
type = "fixture"
[reward_models.current]
type = "fixture"
[reward_models.v1]
type = "fixture"
[reward_models.v2]
type = "fixture"
[curators.vote_flip]
type = "fixture"
flip_open = ["one0"]
reward_models = ["v1", "v2"]
[curators.consistency]
type = "fixture"
reward_model = "current"
discard = ["two1"]
[curators.reannotate]
type = "fixture"
keep = ["one0"]
[stages.initial]
type = "collect_pairs"
dataset = "start"
[stages.train]
type = "iterate"
initial = ["initial"]
sets = ["one", "two"]
sets_per_round = [1, 1]
voters = ["v1", "v2"]
)");
  const auto last = read_pairs(folders.at("train.data_2") / "pairs.jsonl");
  CHECK(last.size() == 8);  // 3 + 3 + 3 - 1
  for (const PreferencePair& pair : last) {
    CHECK(pair.id != "two1");
    if (pair.id == "one0")
      CHECK(pair.chosen.id == "b");  // flipped once: the second chain has no flip
    if (pair.id == "one1") CHECK(pair.chosen.id == "a");
  }
  CHECK(fs::exists(folders.at("train") / "checkpoint" / "model.txt"));
}

}  // namespace dt2it
