// SPDX-License-Identifier: Apache-2.0
#include "core/run/graph.hpp"

#include <set>

#include "dt2it/error.hpp"
#include "tests/core/run/host_fixture.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

// Everything that a distillation and an iteration name.
const std::string kComponents = R"(
[datasets.prompts]
type = "fixture"
[datasets.one]
type = "fixture"
[datasets.two]
type = "fixture"
[datasets.three]
type = "fixture"
[mllms.writer]
type = "fixture"
[mllms.critic]
type = "fixture"
[mllms.idle]
type = "fixture"
[judges.teacher]
type = "fixture"
mllm = "critic"
[scorers.listwise]
type = "fixture"
judge = "teacher"
[scorers.pointwise]
type = "fixture"
[diversity.enhance]
type = "fixture"
[reward_models.current]
type = "fixture"
[reward_models.voter_1]
type = "fixture"
[reward_models.voter_2]
type = "fixture"
[curators.vote_flip]
type = "fixture"
reward_models = ["voter_1", "voter_2"]
[curators.consistency]
type = "fixture"
reward_model = "current"
[curators.reannotate]
type = "fixture"
[trainers.bradley_terry]
type = "fixture"
)";

std::string param_of(const PlannedStage& stage, const std::string& model,
                     const std::string& param) {
  for (const ComponentConfig& component : stage.components)
    if (component.kind == "reward_models" && component.name == model) {
      const auto at = component.params.find(param);
      return at == component.params.end() ? "none" : std::get<std::string>(at->second.data);
    }
  return "not within reach";
}

const std::string kDistil = kComponents + R"(
[stages.distil]
dataset = "prompts"
pool = ["writer"]
scorers = ["listwise", "pointwise"]
diversity = "enhance"
)";

const std::string kIterate = kComponents + R"(
[stages.initial]
type = "collect_pairs"
dataset = "prompts"
[stages.train]
type = "iterate"
initial = ["initial"]
sets = ["one", "two", "three"]
sets_per_round = [2, 1]
voters = ["voter_1", "voter_2"]
)";

std::vector<std::string> names_of(const StageGraph& graph) {
  std::vector<std::string> names;
  for (const PlannedStage& stage : graph.stages)
    names.push_back(stage.config.name + " " + stage.config.type);
  return names;
}

std::string checkpoint_of(const PlannedStage& stage, const std::string& model) {
  return param_of(stage, model, "checkpoint");
}

std::string error_of(HostFixture& host, const std::string& toml) {
  try {
    host.plan(toml);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("Keys do not depend on names that only the experiment knows") {
  HostFixture host;
  const std::string other = R"(
[datasets.prompts]
type = "fixture"
[stages.something_else]
type = "collect"
dataset = "prompts"
)";
  const std::string one = host.key(kDistil, "distil.prompts");
  CHECK(one.size() == 32);
  CHECK(host.key(kDistil, "distil.prompts") == one);
  CHECK(host.key(other, "something_else") == one);

  // Neither do those of stages further on.
  const std::string renamed = R"(
[datasets.prompts]
type = "fixture"
[stages.a]
type = "collect_pairs"
dataset = "prompts"
[stages.b]
type = "mix"
pairs = ["a"]
[stages.c]
type = "collect_pairs"
dataset = "prompts"
[stages.d]
type = "mix"
pairs = ["c"]
)";
  const StageGraph graph = host.plan(renamed);
  CHECK(graph.find("b")->key == graph.find("d")->key);
  CHECK(graph.find("b")->identity == graph.find("d")->identity);
  CHECK(graph.find("a")->key != graph.find("b")->key);

  // Unless the result holds them.
  const std::string measured = renamed + R"(
[stages.bias_b]
type = "bias"
pairs = ["b"]
[stages.bias_d]
type = "bias"
pairs = ["d"]
[stages.again]
type = "bias"
pairs = ["d"]
)";
  const StageGraph named = host.plan(measured);
  CHECK(named.find("bias_b")->key != named.find("bias_d")->key);
  CHECK(named.find("again")->key == named.find("bias_d")->key);
}

TEST_CASE("Keys change with everything that a result depends on, and with nothing else") {
  HostFixture host;
  const fs::path notes = host.write("notes.txt", "first");
  const auto key = [&](const std::vector<std::string>& settings, const char* stage = "distil") {
    return host.key(kDistil, stage, settings);
  };
  const std::string base = key({});
  // Every change below gives a key of its own.
  std::set<std::string> keys{base};
  const auto changed = [&](const std::vector<std::string>& settings) {
    INFO(settings.front());
    CHECK(keys.insert(key(settings)).second);
  };
  changed({"stages.distil.max_pairs=3"});
  changed({"stages.distil.temperature=0.5"});  // of an input
  changed({"stages.distil.scorers=[\"listwise\"]"});
  changed({"stages.distil.scorers=[\"pointwise\", \"listwise\"]"});
  changed({"experiment.seed=1"});
  changed({"mllms.writer.reply=x"});  // within reach of an input
  changed({"mllms.critic.reply=x"});  // behind scorer and judge
  changed({"datasets.prompts.count=4"});
  changed({"stages.distil.with.mllms.critic.reply=y"});
  CHECK(key({"mllms.idle.reply=x"}) == base);        // nobody names it
  CHECK(key({"mllms.critic.reply=\"5\""}) == base);  // the default, written out
  CHECK(key({"curators.reannotate.strength=1"}) == base);
  CHECK(key({"mllms.critic.reply=x"}, "distil.candidates") == key({}, "distil.candidates"));
  CHECK(key({"mllms.critic.reply=x"}, "distil.listwise") != key({}, "distil.listwise"));

  // The content of files counts, and for data sets their names; not where they are.
  changed({"datasets.prompts.file=" + notes.string()});
  const std::string first = key({"datasets.prompts.file=" + notes.string()});
  fs::create_directories(host.path() / "elsewhere");
  const fs::path copy = host.write("elsewhere/notes.txt", "first");
  CHECK(key({"datasets.prompts.file=" + copy.string()}) == first);
  const fs::path renamed = host.write("other.txt", "first");
  CHECK(key({"datasets.prompts.file=" + renamed.string()}) != first);
  host.write("notes.txt", "second");
  CHECK(key({"datasets.prompts.file=" + notes.string()}) != first);
  CHECK(key({"datasets.prompts.file=" + (host.path() / "none").string()}) != first);

  // So do plugin versions.
  HostFixture newer(host_plugins("_2"));
  CHECK(newer.key(kDistil, "distil") != base);
  CHECK(HostFixture().key(kDistil, "distil") == base);
}

TEST_CASE("Stages name the accelerators that they compute on") {
  PlannedStage stage;
  const auto add = [&](const char* kind, const char* device) {
    stage.components.push_back({kind, "m", "any", {{"device", {std::string(device)}}}, {}, {}});
  };
  add("backbones", "cpu");
  stage.components.push_back({"judges", "j", "any", {}, {}, {}});
  CHECK(accelerators_of(stage, true).empty());
  add("backbones", "auto");
  CHECK(accelerators_of(stage, false).empty());
  CHECK((accelerators_of(stage, true) == std::set<std::string>{"cuda:0"}));
  add("mllms", "cuda:1");
  add("backbones", "cuda");
  CHECK((accelerators_of(stage, true) == std::set<std::string>{"cuda:0", "cuda:1"}));
}

TEST_CASE("distil expands into the five steps") {
  HostFixture host;
  const StageGraph graph = host.plan(kDistil);
  CHECK(names_of(graph) ==
        std::vector<std::string>{"distil.prompts collect", "distil.candidates candidates",
                                 "distil.listwise score", "distil.diversity diversify",
                                 "distil.rescore score", "distil.pointwise score", "distil pair"});
  CHECK(graph.find("distil.rescore")->inputs == std::vector<std::string>{"distil.diversity"});
  CHECK(graph.find("distil")->inputs == std::vector<std::string>{"distil.pointwise"});

  const StageGraph plain =
      host.plan(kDistil, {"stages.distil.scorers=[\"listwise\"]", "stages.distil.diversity=\"\""});
  CHECK(names_of(plain) == std::vector<std::string>{"distil.prompts collect",
                                                    "distil.candidates candidates",
                                                    "distil.listwise score", "distil pair"});
  // Rows that differ in one step share the others.
  CHECK(plain.find("distil.listwise")->key == graph.find("distil.listwise")->key);
  CHECK(plain.find("distil")->key != graph.find("distil")->key);
}

TEST_CASE("iterate expands round by round and binds models and voters") {
  HostFixture host;
  const StageGraph graph = host.plan(kIterate);
  CHECK(names_of(graph) ==
        std::vector<std::string>{
            "initial collect_pairs", "train.model_0 train", "train.voter_1 train",
            "train.set_one collect_pairs", "train.set_two collect_pairs", "train.votes_1 vote",
            "train.curated_1 curate", "train.merged_1 mix", "train.interim_model_1 train",
            "train.data_1 curate", "train.model_1 train", "train.set_three collect_pairs",
            "train.votes_2 vote", "train.curated_2 curate", "train.merged_2 mix",
            "train.interim_model_2 train", "train.data_2 curate", "train train"});
  // The first round is curated by the model of D0, its merged set by the model trained on it.
  const PlannedStage& votes = *graph.find("train.votes_1");
  CHECK(checkpoint_of(votes, "voter_1") == "stage:train.model_0");
  CHECK(checkpoint_of(votes, "voter_2") == "stage:train.voter_1");
  CHECK(checkpoint_of(votes, "current") ==
        "not within reach");  // the same model as voter_1: asked once
  const PlannedStage& first = *graph.find("train.curated_1");
  CHECK(param_of(first, "current", "rewards") == "stage:train.votes_1");
  CHECK(param_of(first, "current", "model") == "voter_1");
  CHECK(param_of(first, "voter_2", "rewards") == "stage:train.votes_1");
  CHECK(param_of(first, "voter_2", "model") == "voter_2");
  CHECK(checkpoint_of(*graph.find("train.data_1"), "current") == "stage:train.interim_model_1");
  CHECK(checkpoint_of(*graph.find("train.data_1"), "voter_1") == "not within reach");
  // The second by the last one of the first.
  CHECK(checkpoint_of(*graph.find("train.votes_2"), "current") == "stage:train.model_1");
  CHECK(param_of(*graph.find("train.curated_2"), "current", "model") == "current");
  CHECK(checkpoint_of(*graph.find("train.data_2"), "current") == "stage:train.interim_model_2");
  const auto& merged = graph.find("train.merged_2")->inputs;
  CHECK(std::set<std::string>(merged.begin(), merged.end()) ==
        std::set<std::string>{"train.curated_2", "train.data_1"});
  CHECK(graph.find("train")->inputs == std::vector<std::string>{"train.data_2"});
  // Voters differ in the order of their data.
  CHECK(graph.find("train.voter_1")->key != graph.find("train.model_0")->key);
  // Round 1 of a longer experiment is that of a shorter one.
  const StageGraph shorter = host.plan(
      kIterate, {"stages.train.sets=[\"one\", \"two\"]", "stages.train.sets_per_round=[2]"});
  CHECK(shorter.find("train")->key == graph.find("train.model_1")->key);
}

TEST_CASE("iterate without voters asks the last model in the curators") {
  HostFixture host;
  const StageGraph graph = host.plan(kIterate, {"stages.train.voters=[]"});
  CHECK_FALSE(graph.find("train.votes_1"));
  CHECK(checkpoint_of(*graph.find("train.curated_1"), "current") == "stage:train.model_0");
}

TEST_CASE("iterate with an early stop puts a gate before each later round") {
  HostFixture host;
  CHECK_THAT(error_of(host, kIterate + "early_stop = true\n"),
             Catch::Contains("early_stop needs held_out"));
  const StageGraph graph = host.plan(kIterate + "early_stop = true\nheld_out = [\"initial\"]\n");
  CHECK(graph.find("train")->config.type == "early_stop");
  CHECK(graph.find("train.gate_1")->inputs ==
        std::vector<std::string>{"train.model_0", "train.model_1"});
  for (const char* stage :
       {"train.curated_1", "train.model_1", "train.set_three", "train.gate_1", "train"})
    CHECK(graph.find(stage)->config.gate.empty());
  for (const char* stage : {"train.votes_2", "train.curated_2", "train.merged_2",
                            "train.interim_model_2", "train.data_2", "train.model_2"})
    CHECK(graph.find(stage)->config.gate == "train.gate_1");
}

TEST_CASE("What only shows after expansion is a located error") {
  HostFixture host;
  std::string wrong = kIterate;
  wrong.replace(wrong.find("[2, 1]"), 6, "[2, 2]");
  const std::string message = error_of(host, wrong);
  const auto line =
      1 + std::count(wrong.begin(),
                     wrong.begin() + static_cast<std::ptrdiff_t>(wrong.find("[stages.train]")),
                     '\n');
  CHECK_THAT(message, Catch::StartsWith((host.path() / "experiment.toml").string() + ":" +
                                        std::to_string(line) + ":"));
  CHECK_THAT(message, Catch::Contains("adds up to 4, but there are 3 sets"));

  const std::string part =
      kDistil + "[stages.more]\ntype = \"mix\"\npairs = [\"distil.nothing\"]\n";
  CHECK_THAT(error_of(host, part),
             Catch::Contains("reads stage 'distil.nothing', which there is not"));
}

TEST_CASE("Plans without fingerprints read no data and have no keys") {
  HostFixture host;
  const Experiment experiment = host.load(kDistil);
  const StageGraph graph = plan_stages(experiment, host.stages(), host.registry(), nullptr);
  CHECK(graph.stages.size() == 7);
  CHECK(graph.stages.front().key.empty());
}

}  // namespace dt2it
