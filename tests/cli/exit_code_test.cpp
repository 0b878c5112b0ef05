// SPDX-License-Identifier: Apache-2.0
#include "tests/cli/process.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

// An experiment of its own in a folder of its own, with the small components of the host's tests.
class Small {
 public:
  explicit Small(const std::string& toml) {
    folder_.write("none.toml", "");
    folder_.write("small.toml", toml);
  }
  Finished run(const Words& more = {}, const std::string& verb = "run") const {
    Words words{verb,
                (folder_.path() / "small.toml").string(),
                "--profile",
                (folder_.path() / "none.toml").string(),
                "--plugin-path",
                build_path("/tests/host_plugins")};
    if (verb == "run") words.insert(words.end(), {"--runs", (folder_.path() / "runs").string()});
    words.insert(words.end(), more.begin(), more.end());
    return dt2it(words);
  }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    return folder_.write(name, text);
  }

 private:
  testing::TemporaryFolder folder_;
};

const char* const kTrain = R"([datasets.d]
type = "fixture"
[trainers.t]
type = "fixture"
[stages.pairs]
type = "collect_pairs"
dataset = "d"
[stages.train]
pairs = ["pairs"]
trainer = "t"
)";

}  // namespace

TEST_CASE("Exit code 0: it ran, and again without work") {
  Small small(kTrain);
  CHECK(small.run().code == 0);
  CHECK(small.run().code == 0);
  CHECK(small.run({}, "check").code == 0);
}

TEST_CASE("Exit code 1: what the machine refuses") {
  Small small(kTrain);
  small.write("file", "no folder");
  const Finished run = small.run({"--quiet"});
  CHECK(run.code == 0);
  const Finished blocked =
      dt2it({"run", small.path("small.toml"), "--profile", small.path("none.toml"), "--quiet",
             "--plugin-path", build_path("/tests/host_plugins"), "--runs", small.path("file")});
  CHECK(blocked.code == 1);
  CHECK_THAT(blocked.err, Catch::Contains("the folder " + small.path("file")) &&
                              Catch::Contains("cannot be made"));
}

TEST_CASE("Exit code 2: configuration and arguments, all problems with their places") {
  const auto wrong = [](const Words& words, const std::string& message) {
    const Finished run = dt2it(words);
    INFO(words.front() << ": " << run.err);
    CHECK(run.code == 2);
    CHECK_THAT(run.err, Catch::Contains(message));
    CHECK(run.out.empty());
  };
  wrong({"fly"}, "no verb 'fly'");
  wrong({"run"}, "no experiment file given");
  wrong({"run", "--fly", "x.toml"}, "fly");
  wrong({"run", "no/such/file.toml"}, "no/such/file.toml");
  wrong({"run", "tests/fixtures/experiments/data.toml", "--workers", "0"},
        "--workers must be at least 1");
  wrong({"run", "tests/fixtures/experiments/data.toml", "--jobs=-1"}, "--jobs");
  wrong({"run", "tests/fixtures/experiments/data.toml", "--profile", "none"},
        "there is no profile 'none'");
  wrong({"check"}, "no file or folder given");
  wrong({"check", "tests/cli"}, "no .toml file");
  wrong({"evaluate", "vl_rewardbench"}, "--data");
  wrong({"evaluate", "no_such_suite", "--data", "README.md", "--model", "length"},
        "vl_rewardbench");
  wrong({"evaluate", "vl_rewardbench", "--data", "README.md", "--model", "no_such_model"},
        "constant, ");
  wrong({"evaluate", "vl_rewardbench", "--data", "README.md", "--model", "constant_:1"},
        "no reward_models/constant_");
  wrong({"evaluate", "vl_rewardbench", "--data", "README.md", "--model", "length", "--set",
         "unit=lines"},
        "unit");
  wrong({"evaluate", "vl_rewardbench", "--data", "README.md", "--model", "length", "--dtype",
         "bfloat16"},
        "takes no --dtype");
  wrong({"plugins", "wings"}, "no plugins of kind 'wings'");
  wrong({"plugins", "curators/wings"}, "there are: adaptive_margin");
  wrong({"report"}, "no run folder given");

  Small small(R"([datasets.d]
type = "fixture"
cuont = 3
[stages.pairs]
type = "collect_pairs"
dataset = "e"
)");
  for (const char* verb : {"check", "run"}) {
    const Finished run = small.run({}, verb);
    CHECK(run.code == 2);
    CHECK_THAT(run.err, Catch::Contains(small.path("small.toml") + ":3:1: ") &&
                            Catch::Contains("small.toml:6:"));
  }
}

TEST_CASE("A setting that is not understood hides no other problem") {
  Small small(std::string(kTrain) + "cuont = 3\n");
  const Finished run = small.run({"--set", "oops"}, "check");
  CHECK(run.code == 2);
  CHECK_THAT(run.err, Catch::Contains("--set oops: not understood") &&
                          Catch::Contains("small.toml:11:1: unknown key 'cuont'") &&
                          Catch::EndsWith("2 problems in 1 file\n"));
}

TEST_CASE("Errors that only show after expansion are located once") {
  Small small(std::string(kTrain) + "[stages.late]\ntype = \"mix\"\npairs = [\"train.part\"]\n");
  const Finished run = small.run({}, "check");
  CHECK(run.code == 2);
  CHECK_THAT(run.err, Catch::StartsWith(small.path("small.toml") + ":11:"));
  CHECK(run.err.find("small.toml") == run.err.rfind("small.toml"));
}

TEST_CASE("Exit code 3: a plugin that cannot be used, or breaks its contract") {
  Small broken(std::string(kTrain) +
               "[curators.c]\ntype = \"fixture\"\nshort_of_one = true\n"
               "[stages.curate]\npairs = [\"pairs\"]\ncurators = [\"c\"]\n");
  const Finished contract = broken.run();
  CHECK(contract.code == 3);
  CHECK_THAT(contract.err,
             Catch::Contains("stage 'curate': curator 'c' gave 2 decisions for 3 pairs"));

  Small unusable(R"([datasets.d]
type = "fixture"
[mllms.m]
type = "fixture"
[scorers.s]
type = "wrong_abi"
[stages.distil]
dataset = "d"
pool = ["m"]
scorers = ["s"]
)");
  const Finished abi = unusable.run({"--plugin-path", build_path("/tests/bad_plugins/wrong_abi")});
  CHECK(abi.code == 3);
  CHECK_THAT(abi.err, Catch::Contains("4711"));
}

TEST_CASE("Exit code 4: data that is not there or broken") {
  testing::TemporaryFolder folder;
  const Finished absent =
      dt2it({"evaluate", "vl_rewardbench", "--data", "no/such.jsonl", "--model", "length"});
  CHECK(absent.code == 4);
  CHECK_THAT(absent.err, Catch::Contains("no/such.jsonl"));
  const auto file = folder.write("bad.jsonl",
                                 "{\"id\":\"a\",\"prompt\":\"?\",\"chosen\":\"b\",\"rejected\":"
                                 "\"c\",\"image\":\"x.png\"}\n{\"id\":");
  const Finished broken =
      dt2it({"evaluate", "vl_rewardbench", "--data", file.string(), "--model", "length"});
  CHECK(broken.code == 4);
  CHECK_THAT(broken.err, Catch::Contains(file.string() + ":2"));
  CHECK(dt2it({"report", folder.path().string()}).code == 4);
}

TEST_CASE("Exit code 5: a model that cannot be run; what was done is not lost") {
  Small small(std::string(kTrain) + "[experiment]\nabout = \"fails once\"\n");
  const Finished first = small.run({"--set", "trainers.t.fail_at=2"});
  CHECK(first.code == 5);
  CHECK_THAT(first.err,
             Catch::Contains("stage 'train': ") && Catch::Contains("the loss is no number"));
  CHECK(small.run({"--set", "trainers.t.fail_at=2"}).code == 0);
}

}  // namespace dt2it
