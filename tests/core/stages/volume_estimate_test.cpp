// SPDX-License-Identifier: Apache-2.0
#include "core/stages/volume_estimate.hpp"

#include "dt2it/error.hpp"
#include "tests/core/run/host_fixture.hpp"

namespace dt2it {
namespace {

const char* kPlan = R"(
[plan]
currency = "USD"
gpu_flops = 1e15
train_utilisation = 0.5
score_utilisation = 0.5
decode_utilisation = 0.1
recompute = 1
vision_parameters = 0
prompt_tokens = 100
image_tokens = 0
test_image_tokens = 0
answer_tokens = 200
rubric_tokens = 1000
judgement_tokens = 500
grading_tokens = 300
diversified_share = 0.5
inconsistent_share = 0.25
discarded_share = 0
bytes_per_record = 1000
bytes_per_image = 0
bytes_per_token = 0
bytes_per_call = 0
bytes_per_checkpoint = 1e9
pairs_per_prompt = { listwise = 3, diversified = 4, agreed = 2 }
datasets = { small = 100, big = 1000 }
benchmarks = { default = 500 }
questions = { default = 60 }
parameters = { default = 1e9, reward_model = 8e9 }
)";

double of(const std::vector<VolumeEstimate>& all, const std::string& stage,
          double VolumeEstimate::* member) {
  for (const VolumeEstimate& one : all)
    if (one.stage == stage) return one.*member;
  FAIL("no stage " << stage);
  return 0;
}

}  // namespace

TEST_CASE("Volumes: records are handed on, training costs what its tokens cost") {
  HostFixture host;
  const PlanFacts facts = PlanFacts::read(host.write("profile.toml", kPlan));
  const StageGraph graph = host.plan(R"(
[datasets.small]
type = "fixture"
[datasets.big]
type = "fixture"
[mllms.writer]
type = "fixture"
[judges.j]
type = "fixture"
mllm = "writer"
[scorers.listwise]
type = "fixture"
[scorers.second]
type = "fixture"
[trainers.t]
type = "fixture"
[stages.prompts]
type = "collect"
dataset = "small"
limit = 80
[stages.candidates]
prompts = "prompts"
pool = ["writer"]
count = 4
[stages.score]
candidates = "candidates"
scorer = "listwise"
[stages.pair]
candidates = "score"
scorers = ["listwise"]
[stages.open]
type = "collect_pairs"
dataset = "big"
[stages.cut]
type = "mix"
pairs = ["open"]
as_many_as = ["pair"]
[stages.train]
pairs = ["pair", "cut"]
trainer = "t"
)");
  const auto all = estimate_volumes(graph, facts);
  REQUIRE(all.size() == graph.stages.size());
  CHECK(of(all, "candidates", &VolumeEstimate::calls) == 320);
  CHECK(of(all, "candidates", &VolumeEstimate::sent) == 320 * 100);
  CHECK(of(all, "candidates", &VolumeEstimate::answered) == 320 * 200);
  CHECK(of(all, "pair", &VolumeEstimate::disk) == 80 * 3 * 2000);
  CHECK(of(all, "cut", &VolumeEstimate::disk) == 240 * 2000);
  // LLaMA-Factory's form: the prompt twice; forward, backward, once more forward.
  CHECK(of(all, "train", &VolumeEstimate::gpu_hours) ==
        Approx(480.0 * 8 * 8e9 * (2 * 100 + 2 * 200) / (1e15 * .5) / 3600));
  CHECK(of(all, "train", &VolumeEstimate::disk) == 1e9);
}

TEST_CASE("Volumes: what [plan] lacks or states wrongly is told by name") {
  HostFixture host;
  const StageGraph graph = host.plan(
      "[datasets.other]\ntype = \"fixture\"\n[stages.prompts]\ntype = \"collect\"\ndataset = "
      "\"other\"\n");
  CHECK_THROWS_WITH(estimate_volumes(graph, PlanFacts::read(host.write("profile.toml", kPlan))),
                    Catch::Contains("does not state 'datasets.other'"));
  CHECK_THROWS_WITH(PlanFacts::read(host.write("bad.toml", "[plan]\ngpus = -1\n")),
                    Catch::Contains("bad.toml:2:8"));
  CHECK_THROWS_WITH(PlanFacts::read(host.write("bad.toml", "[plan]\ngpus = true\n")),
                    Catch::Contains("numbers and strings"));
  CHECK(PlanFacts::read(host.write("none.toml", "")).empty());
  host.write("base.toml", "[plan]\ngpus = 8\nhours = 2\n");
  const PlanFacts facts =
      PlanFacts::read(host.write("child.toml", "extends = \"base.toml\"\n[plan]\ngpus = 4\n"));
  CHECK(facts.number("gpus") == 4);
  CHECK(facts.number("hours") == 2);
}

}  // namespace dt2it
