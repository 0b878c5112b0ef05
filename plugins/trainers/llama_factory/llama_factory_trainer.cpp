// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>

#include "dt2it/plugin.hpp"
#include "dt2it/trainer.hpp"
#include "plugins/trainers/llama_factory/child_process.hpp"
#include "plugins/trainers/llama_factory/data_writer.hpp"
#include "plugins/trainers/llama_factory/files.hpp"
#include "plugins/trainers/llama_factory/resume.hpp"
#include "plugins/trainers/llama_factory/settings.hpp"
#include "plugins/trainers/llama_factory/training_log.hpp"

namespace dt2it::llama_factory {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::size_t kShownLines = 20;

class LlamaFactoryTrainer final : public Trainer {
 public:
  using Params = llama_factory::Params;

  LlamaFactoryTrainer(const Params& params, Context& context) : params_(params), context_(context) {
    check(params);
  }

  bool train(const TrainRequest& request) override;

 private:
  void prepare_data(const TrainRequest& request, const Layout& layout);
  bool run(const char* verb, const fs::path& settings, const Layout& layout,
           const TrainRequest& request, const std::map<std::string, std::string>& environment,
           LineFollower* steps);
  void collect(const fs::path& from, const fs::path& to) const;
  std::string summary(const fs::path& result, const TrainStep& last, std::int64_t seed) const;

  const Params params_;
  Context& context_;
  TrainStep last_;
};

void LlamaFactoryTrainer::prepare_data(const TrainRequest& request, const Layout& layout) {
  const fs::path done = layout.data() / "complete";
  if (fs::exists(done)) return;
  if (!request.pairs) throw DataError("trainers/llama_factory: there are no pairs to train on");
  fs::remove_all(layout.data());
  const auto pairs = request.pairs();
  const WrittenData written =
      write_data(*pairs, context_.media(), layout.data(), params_.stage != "sft");
  for (const auto& [reason, count] : written.left_out)
    context_.log(LogLevel::warning,
                 fmt::format("{} pairs are left out of training: {}", count, reason));
  write_text(done, "");
}

// False when it was stopped on request. Throws ModelError with the end of its log when it fails.
bool LlamaFactoryTrainer::run(const char* verb, const fs::path& settings, const Layout& layout,
                              const TrainRequest& request,
                              const std::map<std::string, std::string>& environment,
                              LineFollower* steps) {
  ChildCommand command;
  command.arguments = params_.launcher;
  command.arguments.insert(command.arguments.end(), params_.command.begin(), params_.command.end());
  command.arguments.insert(command.arguments.end(), {verb, settings.string()});
  command.environment = params_.environment;
  command.environment.try_emplace("HF_DATASETS_CACHE", (layout.root / "cache").string());
  for (const auto& [name, value] : environment) {
    std::string& joined = command.environment[name];
    joined = name == "PYTHONPATH" && !joined.empty() ? value + ":" + joined : value;
  }
  command.folder = layout.root;
  command.log = layout.log();
  std::unique_ptr<ChildProcess> process;
  try {
    process = std::make_unique<ChildProcess>(command);
  } catch (const Error& error) {
    throw ConfigError(
        fmt::format("trainers/llama_factory: {}; `command` and `launcher` must name programs that "
                    "are installed "
                    "(pip install llamafactory)",
                    error.what()));
  }
  context_.log(LogLevel::info, fmt::format("{} (its output: {})", fmt::join(command.arguments, " "),
                                           layout.log().string()));
  for (bool ended = false; !ended;) {
    if (request.stop_requested && request.stop_requested()) {
      process->stop(
          std::chrono::milliseconds(static_cast<std::int64_t>(params_.stop_seconds * 1000)));
      return false;
    }
    ended = process->poll().has_value();  // before reading, so that the last lines are not missed
    std::string line;
    while (steps && steps->next(line))
      if (const auto step = parse_log_line(line)) {
        last_ = *step;
        if (request.on_step) request.on_step(*step);
      }
    if (!ended) std::this_thread::sleep_for(50ms);
  }
  const int code = *process->poll();
  if (code != 0)
    throw ModelError(
        fmt::format("trainers/llama_factory: '{}' failed with exit code {}; the end of {}:{}",
                    fmt::join(command.arguments, " "), code, layout.log().string(),
                    last_lines(layout.log(), kShownLines)));
  return true;
}

// What makes a checkpoint; files that LLaMA-Factory does not write again come from the one it
// started from.
void LlamaFactoryTrainer::collect(const fs::path& from, const fs::path& to) const {
  const auto wanted = [](const fs::path& file) {
    const std::string name = file.filename().string(), type = file.extension().string();
    if (name == "trainer_state.json" || name.ends_with("_results.json") ||
        name == "dataset_info.json")
      return false;
    return type == ".safetensors" || type == ".json" || type == ".jinja" || name == "merges.txt";
  };
  for (const auto& entry : fs::directory_iterator(from))
    if (entry.is_regular_file() && wanted(entry.path()))
      fs::copy_file(entry.path(), to / entry.path().filename(),
                    fs::copy_options::overwrite_existing);
  for (const char* name :
       {"generation_config.json", "preprocessor_config.json", "video_preprocessor_config.json",
        "processor_config.json", "chat_template.json", "vocab.json", "merges.txt"})
    if (!fs::exists(to / name) && fs::exists(params_.checkpoint / name))
      fs::copy_file(params_.checkpoint / name, to / name);
}

// No times and no paths, as trainers/native writes it; reward_models/mrm reads head_input.
std::string LlamaFactoryTrainer::summary(const fs::path& result, const TrainStep& last,
                                         std::int64_t seed) const {
  boost::json::object text{{"trainer", "llama_factory"},
                           {"stage", params_.stage},
                           {"finetuning_type", params_.finetuning_type},
                           {"steps", last.total_steps},
                           {"epochs", params_.epochs},
                           {"batch_size", params_.batch_size},
                           {"learning_rate", params_.learning_rate},
                           {"seed", seed},
                           {"last_loss", last.loss}};
  const boost::json::value config = read_json(result / "config.json");
  text["transformers"] = text_member(config, "transformers_version");
  if (params_.stage == "rm") {
    // Before 5.0 transformers handed out Qwen3-VL's last hidden state without the final norm.
    const bool old = std::atoi(text_member(config, "transformers_version").c_str()) < 5;
    text["head_input"] =
        old && text_member(config, "model_type") == "qwen3_vl" ? "before_norm" : "final_norm";
  }
  return boost::json::serialize(text) + "\n";
}

bool LlamaFactoryTrainer::train(const TrainRequest& request) {
  const Layout layout(
      fs::absolute(request.state.empty() ? context_.scratch() / "llama_factory" : request.state));
  if (request.state.empty()) fs::remove_all(layout.root);
  fs::create_directories(layout.root);
  if (request.held_out)
    context_.log(LogLevel::warning, "trainers/llama_factory does not look at held-out pairs");
  prepare_data(request, layout);
  const auto seed = params_.seed.value_or(static_cast<std::int64_t>(request.seed & 0x7fffffff));

  // `trained` says that only the reading back is left.
  const fs::path trained = layout.root / "trained.json";
  const bool reward = params_.stage == "rm";
  if (!fs::exists(trained)) {
    const fs::path resume = last_checkpoint(layout.result(), reward);
    std::map<std::string, std::string> environment;
    if (resume.empty()) {
      fs::remove_all(layout.result());
    } else {
      context_.log(LogLevel::info, fmt::format("goes on from {}", resume.filename().string()));
      if (needs_resume_hook(params_)) environment = resume_hook(layout.root / "hook", resume);
    }
    write_text(layout.settings(), training_yaml(params_, layout, seed, resume));
    LineFollower steps(layout.result() / "trainer_log.jsonl", true);
    if (!run("train", layout.settings(), layout, request, environment, &steps)) return false;
    if (reward && !fs::exists(layout.result() / "value_head.safetensors"))
      throw ModelError(fmt::format(
          "trainers/llama_factory: it ended without a reward head in {}; the end of {}:{}",
          layout.result().string(), layout.log().string(), last_lines(layout.log(), kShownLines)));
    write_text(trained,
               fmt::format("{{\"steps\": {}, \"loss\": {}}}\n", last_.total_steps, last_.loss));
  } else {
    const boost::json::value done = read_json(trained);
    last_.total_steps = done.at("steps").to_number<std::int64_t>();
    last_.loss = done.at("loss").to_number<double>();
  }

  fs::path result = layout.result();
  if (params_.finetuning_type == "lora") {
    result = layout.root / "merged";
    fs::remove_all(result);
    const fs::path settings = layout.root / "export.yaml";
    write_text(settings, export_yaml(params_, layout.result(), result));
    if (!run("export", settings, layout, request, {}, nullptr)) return false;
    fs::create_directories(request.output / "adapter");
    for (const char* name :
         {"adapter_model.safetensors", "adapter_config.json", "value_head.safetensors"})
      if (fs::exists(layout.result() / name))
        fs::copy_file(layout.result() / name, request.output / "adapter" / name);
  }
  collect(result, request.output);
  write_text(request.output / "training.json", summary(request.output, last_, seed));
  return true;
}

}  // namespace
}  // namespace dt2it::llama_factory

DT2IT_PLUGIN("trainers/llama_factory", "1.0.0", registrar) {
  registrar.add<dt2it::Trainer, dt2it::llama_factory::LlamaFactoryTrainer>(
      "llama_factory",
      "Trains with LLaMA-Factory in processes of its own: on a cluster, through any launcher.");
}
