// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "dt2it/testing/fakes.hpp"
#include "dt2it/trainer.hpp"
#include "plugins/trainers/llama_factory/files.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/paths.hpp"
#include "tests/plugins/plugin_library.hpp"
#include "tests/plugins/trainers_llama_factory/processes.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using llama_factory::read_text;
using llama_factory::write_text;
namespace fs = std::filesystem;

namespace {

const std::string kFake = source_path("/tests/plugins/trainers_llama_factory/fake_llamafactory.sh");

// A trainer with the fake program, and what a stage gives it.
struct Bench {
  TemporaryFolder folder;
  FakeContext context;
  std::vector<PreferencePair> pairs{sample_pair("a", "Why?", "So.", "No.")};
  std::vector<TrainStep> steps;
  TrainRequest request;

  explicit Bench(const std::string& mode = "ok") {
    fs::create_directories(fake());
    set_mode(mode);
    for (const char* name : {"start", "output", "state"})
      fs::create_directories(folder.path() / name);
    write_text(start() / "config.json", R"({"model_type": "qwen3_vl"})");
    write_text(start() / "preprocessor_config.json", "{}");
    request.pairs = [this] { return std::make_unique<VectorStream<PreferencePair>>(pairs); };
    request.pair_count = pairs.size();
    request.output = folder.path() / "output";
    request.state = folder.path() / "state";
    request.seed = (std::uint64_t{5} << 40) + 7;
    request.on_step = [this](const TrainStep& step) { steps.push_back(step); };
  }

  fs::path fake() const { return folder.path() / "fake"; }
  fs::path start() const { return folder.path() / "start"; }
  void set_mode(const std::string& mode) { write_text(fake() / "mode", mode); }
  std::string call(int number) const {
    return read_text(fake() / ("call" + std::to_string(number)));
  }
  bool called(int number) const { return fs::exists(fake() / ("call" + std::to_string(number))); }

  bool train(Table params = {}) {
    static const PluginLibrary plugin("trainers/llama_factory");
    params.try_emplace("checkpoint", value_of(start().string()));
    params.try_emplace("command", names({kFake.c_str()}));
    params.try_emplace("environment", Value{Table{{"FAKE_DIR", value_of(fake().string())}}});
    params.try_emplace("stop_seconds", value_of(0.2));
    return plugin.make<Trainer>("llama_factory", params, context)->train(request);
  }
};

std::string error_of(Bench& bench, Table params = {}) {
  try {
    bench.train(std::move(params));
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("Training with LLaMA-Factory: its steps are seen, its checkpoint is read back") {
  Bench bench;
  REQUIRE(bench.train());
  REQUIRE(bench.steps.size() == 8);
  for (std::size_t i = 0; i < 8; ++i) {
    CHECK(bench.steps[i].step == static_cast<std::int64_t>(i) + 1);
    CHECK(bench.steps[i].total_steps == 8);
    CHECK(bench.steps[i].loss == Approx(.89 - .01 * static_cast<double>(i)));
  }
  const fs::path& output = bench.request.output;
  CHECK(read_text(output / "model.safetensors") == "weights\n");
  CHECK(read_text(output / "value_head.safetensors") == "head\n");
  CHECK(fs::exists(output / "preprocessor_config.json"));  // from the checkpoint it started from
  CHECK_FALSE(fs::exists(output / "trainer_state.json"));
  CHECK_FALSE(fs::exists(output / "optimizer.pt"));
  CHECK_FALSE(fs::exists(output / "checkpoint-8"));
  CHECK(
      read_text(output / "training.json") ==
      R"({"trainer":"llama_factory","stage":"rm","finetuning_type":"full","steps":8,"epochs":1,"batch_size":32,)"
      R"("learning_rate":1E-5,"seed":7,"last_loss":8.2E-1,"transformers":"5.6.0","head_input":"final_norm"})"
      "\n");
  CHECK(bench.call(0).find("verb train\nresume \n") == 0);
  CHECK(read_text(bench.request.state / "llamafactory.log") == "loading the model\n");
  CHECK(fs::exists(bench.request.state / "data" / "pairs.jsonl"));
}

TEST_CASE("A launcher comes before the program") {
  Bench bench;
  write_text(bench.fake() / "launcher", "#!/bin/sh\necho launched with $1\nshift\nexec \"$@\"\n");
  fs::permissions(bench.fake() / "launcher", fs::perms::owner_all);
  REQUIRE(bench.train({{"launcher", names({(bench.fake() / "launcher").c_str(), "--nodes=8"})}}));
  CHECK(read_text(bench.request.state / "llamafactory.log") ==
        "launched with --nodes=8\nloading the model\n");
}

TEST_CASE("Stopped on request, its processes end; then it goes on from the last checkpoint") {
  Bench bench("hang");
  const fs::path grandchild = bench.fake() / "grandchild";
  bench.request.stop_requested = [&] {
    return fs::exists(grandchild) && fs::file_size(grandchild) > 0 && bench.steps.size() == 5;
  };
  CHECK_FALSE(bench.train());
  CHECK(bench.steps.back().step == 5);
  CHECK(soon([&] { return !runs(std::stoi(read_text(grandchild))); }));
  // A checkpoint that was being written when it was killed.
  const fs::path out = bench.request.state / "out";
  fs::create_directories(out / "checkpoint-99");

  bench.set_mode("ok");
  bench.request.stop_requested = nullptr;
  bench.steps.clear();
  bench.pairs.clear();  // the data is there already
  REQUIRE(bench.train());
  REQUIRE(bench.steps.size() == 4);
  CHECK(bench.steps.front().step == 5);
  CHECK(bench.steps.back().step == 8);
  const std::string from = (out / "checkpoint-4").string();
  CHECK(bench.call(1).find("resume " + from + "\npython " +
                           (bench.request.state / "hook").string()) != std::string::npos);
  CHECK(bench.call(1).find("model_name_or_path: \"" + from + "\"") != std::string::npos);
  CHECK(fs::exists(bench.request.state / "hook" / "sitecustomize.py"));
}

TEST_CASE("Reading back that was interrupted does not train again") {
  Bench bench;
  REQUIRE(bench.train());
  fs::remove_all(bench.request.output);
  fs::create_directories(bench.request.output);
  const std::size_t steps = bench.steps.size();
  REQUIRE(bench.train());
  CHECK(bench.steps.size() == steps);
  CHECK_FALSE(bench.called(1));
  CHECK(fs::exists(bench.request.output / "value_head.safetensors"));
  CHECK(read_text(bench.request.output / "training.json").find("\"steps\":8") != std::string::npos);
}

TEST_CASE("A failure shows what LLaMA-Factory said last") {
  Bench bench("fail");
  const std::string error = error_of(bench);
  CHECK(bench.steps.size() == 3);
  CHECK_THAT(error,
             Catch::Contains(kFake + " train ") && Catch::Contains("failed with exit code 3") &&
                 Catch::Contains("llamafactory.log:") &&
                 Catch::Contains("\n  step 4\n  Traceback\n  RuntimeError: the GPU is on fire"));
  CHECK(error.find("step 3") == std::string::npos);  // overwritten in place
}

TEST_CASE("A loss that is no number ends the training") {
  Bench bench("nan");
  CHECK_THAT(error_of(bench),
             Catch::Contains("loss is not finite") && Catch::Contains("\"current_steps\": 5"));
}

TEST_CASE("A reward training without a head at the end is an error") {
  Bench bench("headless");
  CHECK_THAT(error_of(bench), Catch::Contains("ended without a reward head") &&
                                  Catch::Contains("loading the model"));
}

TEST_CASE("A program that is not installed, and data that is not there") {
  Bench bench;
  CHECK_THAT(error_of(bench, {{"command", names({"no-such-llamafactory"})}}),
             Catch::Contains("'no-such-llamafactory' cannot be started") &&
                 Catch::Contains("pip install llamafactory"));
  Bench empty;
  empty.pairs.clear();
  CHECK_THAT(error_of(empty), Catch::Contains("no pairs to train on"));
}

TEST_CASE("Pairs that its data cannot hold are logged") {
  Bench bench;
  bench.pairs.push_back(sample_pair("b", "Where is <image>?", "Here.", "There."));
  REQUIRE(bench.train());
  CHECK(bench.context.logged("1 pairs are left out of training: a text that contains <image>"));
}

TEST_CASE("Adapters are merged, and kept beside") {
  Bench bench;
  REQUIRE(bench.train({{"finetuning_type", value_of("lora")}}));
  CHECK(bench.call(1).find("verb export\n") == 0);
  const std::string out = (bench.request.state / "out").string();
  CHECK(bench.call(1).find("adapter_name_or_path: \"" + out + "\"") != std::string::npos);
  CHECK(read_text(bench.request.output / "model.safetensors") == "weights\n");
  CHECK(read_text(bench.request.output / "adapter" / "value_head.safetensors") == "head\n");
}
