// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/llama_factory/settings.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>

#include "plugins/trainers/llama_factory/files.hpp"
#include "plugins/trainers/llama_factory/resume.hpp"
#include "plugins/trainers/llama_factory/training_log.hpp"
#include "tests/core/temporary_folder.hpp"

using namespace dt2it;
using namespace dt2it::llama_factory;
using dt2it::testing::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

Params params(const TemporaryFolder& folder, const char* family = "qwen3_vl") {
  folder.write("config.json", std::string("{\"model_type\": \"") + family + "\"}");
  Params result;
  result.checkpoint = folder.path();
  return result;
}
bool has_line(const std::string& yaml, const std::string& line) {
  return ("\n" + yaml).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("The settings of the paper as LLaMA-Factory's yaml") {
  const TemporaryFolder folder;
  Params p = params(folder);
  p.batch_size = 512;
  p.processes = 64;
  p.extra = {{"deepspeed", "ds.json"}, {"lr_scheduler_type", "linear"}};
  const Layout layout("/state \"x\"");
  const std::string yaml = training_yaml(p, layout, 42, {});
  for (const char* line : {"stage: \"rm\"",
                           "finetuning_type: \"full\"",
                           "template: \"qwen3_vl_nothink\"",
                           "learning_rate: 1.0e-05",
                           "warmup_ratio: 0.1",
                           "max_grad_norm: 1.0",
                           "per_device_train_batch_size: 1",
                           "gradient_accumulation_steps: 8",
                           "num_train_epochs: 1.0",
                           "freeze_vision_tower: true",
                           "freeze_multi_modal_projector: true",
                           "freeze_language_model: false",
                           "image_max_pixels: 268324",
                           "cutoff_len: 7168",
                           "bf16: true",
                           "seed: 42",
                           "disable_shuffling: false",
                           "deepspeed: ds.json",
                           "lr_scheduler_type: linear",
                           "logging_nan_inf_filter: false",
                           "output_dir: \"/state \\\"x\\\"/out\"",
                           "dataset_dir: \"/state \\\"x\\\"/data\""}) {
    CAPTURE(line);
    CHECK(has_line(yaml, line));
  }
  CHECK(has_line(yaml, "model_name_or_path: \"" + folder.path().string() + "\""));
  CHECK_FALSE(has_line(yaml, "lr_scheduler_type: \"cosine\""));
  CHECK(yaml.find("lora") == std::string::npos);
  CHECK(yaml.find("pref_beta") == std::string::npos);
  CHECK(chat_template(params(folder, "qwen2_5_vl")) == "qwen2_vl");
}

TEST_CASE("Where a training goes on is said in the way of its stage") {
  const TemporaryFolder folder;
  Params p = params(folder);
  const Layout layout("/state");
  const fs::path from = "/state/out/checkpoint-4";
  CHECK(has_line(training_yaml(p, layout, 1, from),
                 "model_name_or_path: \"/state/out/checkpoint-4\""));
  CHECK(needs_resume_hook(p));
  p.finetuning_type = "lora";
  p.lora_dropout = 1e-7;
  const std::string lora = training_yaml(p, layout, 1, from);
  CHECK(has_line(lora, "adapter_name_or_path: \"/state/out/checkpoint-4\""));
  CHECK(has_line(lora, "model_name_or_path: \"" + folder.path().string() + "\""));
  CHECK(has_line(lora, "lora_dropout: 1.0e-07"));
  CHECK(needs_resume_hook(p));
  p.finetuning_type = "full";
  p.stage = "dpo";
  const std::string dpo = training_yaml(p, layout, 1, from);
  CHECK(has_line(dpo, "model_name_or_path: \"" + folder.path().string() + "\""));
  CHECK(has_line(dpo, "pref_beta: 0.1"));
  CHECK_FALSE(needs_resume_hook(p));
}

TEST_CASE("Settings that cannot be are refused") {
  const TemporaryFolder folder;
  Params p = params(folder);
  CHECK_NOTHROW(check(p));
  const auto refused = [&](const std::string& why, auto change) {
    Params wrong = p;
    change(wrong);
    CHECK_THROWS_WITH(check(wrong), Catch::Contains(why));
  };
  refused("batch_size 32 is not a multiple of micro_batch_size x processes = 12",
          [](Params& w) { w.micro_batch_size = 3, w.processes = 4; });
  refused("extra may not set output_dir", [](Params& w) { w.extra = {{"output_dir", "x"}}; });
  refused("'a b' is no key", [](Params& w) { w.extra = {{"a b", "x"}}; });
  refused("flash_attn must be one line",
          [](Params& w) { w.extra = {{"flash_attn", "fa2\nstage: sft"}}; });
  refused("command must name a program", [](Params& w) { w.command = {}; });
  p = params(folder, "llava");
  CHECK_THROWS_WITH(check(p), Catch::Contains("model_type 'llava' has no known template"));
  p.chat_template = "llava";
  CHECK_NOTHROW(check(p));
}

TEST_CASE("Lines of LLaMA-Factory's log") {
  const auto step = parse_log_line(
      R"({"current_steps": 3, "total_steps": 8, "loss": 0.5, "lr": 1e-05, "epoch": 0.3, "percentage": 37.5})");
  REQUIRE(step);
  CHECK(step->step == 3);
  CHECK(step->total_steps == 8);
  CHECK(step->loss == .5);
  CHECK(step->learning_rate == 1e-5);
  CHECK(std::isnan(step->accuracy));
  CHECK(std::isnan(step->gradient_norm));
  CHECK(parse_log_line(
            R"({"current_steps": 3, "total_steps": 8, "loss": 1, "accuracy": 0.75, "lr": 0.0})")
            ->accuracy == .75);
  CHECK_FALSE(parse_log_line(R"({"current_steps": 8, "total_steps": 8, "epoch": 1.0})"));
  CHECK_FALSE(parse_log_line(R"({"current_steps": 8, "eval_loss": 1.0})"));
  CHECK_FALSE(parse_log_line("not JSON"));
  CHECK_THROWS_WITH(
      parse_log_line(R"({"current_steps": 3, "total_steps": 8, "loss": NaN, "lr": 1e-05})"),
      Catch::Contains("not finite"));
}

TEST_CASE("A growing log gives whole lines only") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "log";
  const auto add = [&](const char* text) { std::ofstream(file, std::ios::app) << text; };
  LineFollower follower(file, true);
  std::string line;
  CHECK_FALSE(follower.next(line));
  add("one\ntw");
  REQUIRE(follower.next(line));
  CHECK(line == "one");
  CHECK_FALSE(follower.next(line));
  add("o\n\nthree\n");
  for (const char* expected : {"two", "", "three"}) {
    REQUIRE(follower.next(line));
    CHECK(line == expected);
  }
  LineFollower later(file, true);
  add("four\n");
  REQUIRE(later.next(line));
  CHECK(line == "four");
  CHECK_FALSE(later.next(line));
}

TEST_CASE("The newest whole checkpoint counts, half ones go") {
  const TemporaryFolder folder;
  CHECK(last_checkpoint(folder.path() / "absent", true).empty());
  const auto make = [&](const char* name, std::initializer_list<const char*> files) {
    fs::create_directory(folder.path() / name);
    for (const char* file : files) write_text(folder.path() / name / file, "");
  };
  make("checkpoint-9", {"trainer_state.json", "model.safetensors", "value_head.safetensors"});
  make("checkpoint-10",
       {"trainer_state.json", "model.safetensors.index.json", "value_head.safetensors"});
  make("checkpoint-12",
       {"trainer_state.json", "model.safetensors"});  // killed before the head was split off
  make("checkpoint-14", {"value_head.safetensors", "model.safetensors"});
  make("checkpoint-best", {});
  CHECK(last_checkpoint(folder.path(), false) == folder.path() / "checkpoint-12");
  CHECK_FALSE(fs::exists(folder.path() / "checkpoint-14"));
  CHECK(last_checkpoint(folder.path(), true) == folder.path() / "checkpoint-10");
  CHECK_FALSE(fs::exists(folder.path() / "checkpoint-12"));
  CHECK(fs::exists(folder.path() / "checkpoint-best"));
}

TEST_CASE("The end of a log as it was seen") {
  const TemporaryFolder folder;
  CHECK(last_lines(folder.path() / "absent", 3).empty());
  const fs::path file = folder.write("log", "a\n10%\r50%\r100%\r\n\nlast");
  CHECK(last_lines(file, 2) == "\n  100%\n  last");
  folder.write("log", std::string(200000, 'x') + "\n" + std::string(1000, 'y'));
  CHECK(last_lines(file, 1) == "\n  " + std::string(400, 'y'));
}
