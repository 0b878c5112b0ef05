// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <optional>

#include "core/cli/inputs.hpp"
#include "core/cli/verbs.hpp"
#include "core/config/experiment.hpp"
#include "core/data/records.hpp"
#include "core/run/scope.hpp"
#include "core/stages/training_log.hpp"
#include "core/util/file_lock.hpp"
#include "core/util/files.hpp"
#include "core/util/json.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"
#include "dt2it/trainer.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

struct Options {
  CommonOptions common;
  InputOptions input;
  std::vector<std::string> held_out, trainer_settings, backbone_settings;
  std::string trainer = "native", backbone;
  fs::path experiment, out, state, log, tensorboard;
  std::uint64_t seed = 0;
  bool quiet = false;
};

// torchrun and its like start the same command several times; the first process speaks and writes.
bool leads() {
  const char* rank = std::getenv("RANK");
  return !rank || std::string(rank) == "0";
}

bool several() {
  const char* size = std::getenv("WORLD_SIZE");
  return size && std::string(size) != "1";
}

// The trainer and all that it names, from an experiment file or from the words.
std::vector<ComponentConfig> components_of(const Options& options, const Catalog& catalog) {
  if (!options.experiment.empty()) {
    if (!options.backbone.empty())
      throw ConfigError(
          "--backbone: the experiment says it; change it with --set backbones.NAME.key=value");
    const Experiment experiment =
        load_all({options.experiment.string()}, options.common, catalog).front();
    const ComponentConfig* trainer = experiment.component(Trainer::kKind, options.trainer);
    if (!trainer)
      throw ConfigError(fmt::format("{}: no [trainers.{}] is defined", options.experiment.string(),
                                    options.trainer));
    std::vector<ComponentConfig> components = experiment.components;
    for (const ComponentConfig& component : components)
      if (component.kind == Trainer::kKind && component.name == options.trainer) {
        ComponentConfig own = component;
        own.name = "trainer";
        components.push_back(own);
        break;
      }
    return components;
  }
  const ComponentDescription* description =
      catalog.find(Trainer::kKind, options.trainer.substr(0, options.trainer.find(':')));
  const bool takes_backbone =
      !description ||
      std::any_of(description->params.begin(), description->params.end(),
                  [](const ParamSpec& spec) { return spec.component_kind == "backbones"; });
  if (!takes_backbone) {  // such as llama_factory:FOLDER
    if (!options.backbone.empty())
      throw ConfigError(fmt::format("trainers/{} takes no --backbone", description->name));
    return {component_of(catalog, Trainer::kKind, "trainer", options.trainer,
                         options.trainer_settings)};
  }
  if (options.backbone.empty())
    throw ConfigError("dt2it train: no model to start from (--backbone qwen3_vl:CHECKPOINT, say)");
  std::vector<std::string> settings = options.trainer_settings;
  settings.push_back("backbone=\"base\"");
  return {component_of(catalog, Trainer::kKind, "trainer", options.trainer, settings),
          component_of(catalog, "backbones", "base", options.backbone, options.backbone_settings)};
}

// Several data sets one behind the other.
class Joined final : public Stream<PreferencePair> {
 public:
  explicit Joined(std::vector<std::shared_ptr<Dataset>> sets) : sets_(std::move(sets)) {}
  bool next(PreferencePair& pair) override {
    for (; at_ < sets_.size(); ++at_, stream_ = nullptr) {
      if (!stream_) stream_ = sets_[at_]->pairs();
      while (stream_->next(pair)) {
        if (!pair.prompt.messages.empty()) return true;
        if (unusable_++ == 0) first_ = pair.extra;  // ties and what cannot be read: why
      }
    }
    if (unusable_ > 0) {
      spdlog::warn("{} records give no pair, the first: {}", unusable_, first_);
      unusable_ = 0;
    }
    return false;
  }

 private:
  std::vector<std::shared_ptr<Dataset>> sets_;
  std::size_t at_ = 0, unusable_ = 0;
  std::string first_;
  std::unique_ptr<Stream<PreferencePair>> stream_;
};

// One object: what is the same each time, and what is not.
std::string log_line(const TrainStep& step) {
  const std::string same = to_json(step), timing = timing_json(step);
  const std::string key = "\"seconds\"";
  return same.substr(0, same.size() - 1) + ',' + timing.substr(timing.find(key)) + '\n';
}

// On a terminal a line that is rewritten, otherwise a line every so often.
void show(const TrainStep& step) {
  const bool terminal = isatty(STDERR_FILENO) != 0, last = step.step == step.total_steps;
  if (!terminal && !last && step.step % std::max<std::int64_t>(1, step.total_steps / 20) != 0)
    return;
  std::string line =
      fmt::format("step {} of {}: loss {:.4f}, accuracy {:.1f} %, margin {:.3f}", step.step,
                  step.total_steps, step.loss, 100 * step.accuracy, step.margin);
  if (step.seconds > 0)
    line += fmt::format(", {:.3g} pairs/s, {:.0f} tokens/s",
                        static_cast<double>(step.pairs) / step.seconds,
                        static_cast<double>(step.tokens) / step.seconds);
  if (step.held_out)
    line += fmt::format("; held out: loss {:.4f}, accuracy {:.1f} %", step.held_out->loss,
                        100 * step.held_out->accuracy);
  std::cerr << (terminal ? "\r\033[K" : "") << line
            << (terminal && !last && !step.held_out ? "" : "\n") << std::flush;
}

int train_model(Options& options, const std::string& command) {
  Installation installation(options.common);
  PluginRegistry& registry = installation.registry;
  std::vector<ComponentConfig> components = components_of(options, registry);
  const std::vector<ComponentConfig> pairs = pair_datasets(options.input, registry, "pairs");
  InputOptions held_out_input = options.input;
  held_out_input.inputs = options.held_out;
  const std::vector<ComponentConfig> held_out = pair_datasets(held_out_input, registry, "held_out");
  components.insert(components.end(), pairs.begin(), pairs.end());
  components.insert(components.end(), held_out.begin(), held_out.end());

  if (fs::exists(options.out / "training.json")) {
    if (leads()) std::cerr << options.out.string() << ": is complete already\n";
    return 0;
  }
  if (options.state.empty()) options.state = options.out.string() + ".state";
  // Each process has media and scratch files of its own: they need not share a disk.
  const fs::path own =
      several() ? options.state / fmt::format("process-{}", std::getenv("RANK")) : options.state;
  make_folder(own);
  std::string holder;
  const auto lock = FileLock::try_lock(own / "lock", holder);
  if (!lock) throw Error(fmt::format("{}: is in use by {}", own.string(), holder));

  InputMedia media(options.input, registry, own);
  StageScope scope(registry, components, media.store(), options.seed, own,
                   [&](LogLevel level, std::string_view message) {
                     if (level >= LogLevel::warning) std::cerr << message << '\n';
                   });
  const auto sets = [&](const std::vector<ComponentConfig>& configs) {
    std::vector<std::shared_ptr<Dataset>> made;
    for (const ComponentConfig& config : configs)
      made.push_back(scope.context().component<Dataset>(config.name));
    return made;
  };
  const auto training_sets = sets(pairs), held_out_sets = sets(held_out);

  const fs::path fresh = options.out.string() + ".new";
  TrainRequest request;
  request.pairs = [&] { return std::make_unique<Joined>(training_sets); };
  if (!held_out_sets.empty())
    request.held_out = [&] { return std::make_unique<Joined>(held_out_sets); };
  request.output = fresh;
  request.state = options.state / "training";
  request.seed = options.seed;
  if (leads()) {
    fs::remove_all(fresh);
    make_folder(fresh);
  }
  make_folder(request.state);
  std::ofstream log;
  if (!options.log.empty() && leads()) {
    log.open(options.log, std::ios::app);
    if (!log) throw Error(options.log.string() + ": cannot be written");
  }
  std::optional<TrainingLog> curves;
  if (!options.tensorboard.empty() && leads()) curves.emplace(options.tensorboard);
  request.on_step = [&](const TrainStep& step) {
    if (curves) curves->write(step);
    if (log.is_open()) log << log_line(step) << std::flush;
    if (!options.quiet) show(step);
  };
  const std::atomic<bool>& stop = catch_interrupts();
  request.stop_requested = [&stop] { return stop.load(); };
  if (!scope.context().component<Trainer>("trainer")->train(request)) {
    if (leads()) std::cerr << "stopped; what is done is saved. Go on with:\n  " << command << '\n';
    throw Interrupted();
  }
  if (!leads()) return 0;
  make_folder(fs::absolute(options.out).parent_path());
  fs::remove(options.out);  // an empty folder
  fs::rename(fresh, options.out);
  std::error_code ignored;
  fs::remove_all(options.state, ignored);
  if (!options.quiet) std::cerr << options.out.string() << '\n';
  return 0;
}

}  // namespace

int train(const Arguments& arguments) {
  Options options;
  po::options_description words("options");
  words.add_options()("inputs", po::value(&options.input.inputs),
                      "files or folders of preference pairs")(
      "backbone,b", po::value(&options.backbone)->value_name("KIND:FOLDER"),
      "model to start from: qwen3_vl:CHECKPOINT ...")(
      "out,o", po::value(&options.out)->value_name("DIR"),
      "where the checkpoint goes; must not exist, or be empty")(
      "held-out", po::value(&options.held_out)->composing()->value_name("FILE"),
      "pairs to look at during training; may be given often")(
      "trainer,t", po::value(&options.trainer)->value_name("KIND"),
      "trainer (default: native), or with --experiment its name there")(
      "set", po::value(&options.trainer_settings)->composing()->value_name("KEY=VALUE"),
      "a parameter of the trainer (with --experiment: TABLE.NAME.KEY=VALUE); may be given often")(
      "backbone-set", po::value(&options.backbone_settings)->composing()->value_name("KEY=VALUE"),
      "a parameter of the backbone; may be given often")(
      "experiment", po::value(&options.experiment)->value_name("FILE"),
      "take the trainer and what it names from this experiment")(
      "profile", po::value(&options.common.profile)->value_name("NAME"),
      "with --experiment: its profile (default: mini)")(
      "state", po::value(&options.state)->value_name("DIR"),
      "what a stopped training goes on from (default: DIR.state beside the checkpoint)")(
      "log", po::value(&options.log)->value_name("FILE"), "a line of JSON for each step")(
      "tensorboard", po::value(&options.tensorboard)->value_name("DIR"),
      "the same as event files of TensorBoard")("seed", po::value(&options.seed)->value_name("N"),
                                                "(default: 0)")(
      "quiet,q", po::bool_switch(&options.quiet), "no progress")(
      "plugin-path", po::value(&options.common.plugin_path)->composing()->value_name("DIR"),
      "look for plugins here first; may be given often");
  add_input_options(words, options.input);
  if (!parse(arguments, words, "inputs",
             "usage: dt2it train PAIRS... --backbone KIND:FOLDER -o DIR [options]\n"
             "       torchrun --no-python --nproc-per-node N dt2it train ... (the batch is shared "
             "among the processes)\n\n"
             "Trains a model on the preference pairs of files. The same command goes on after a "
             "stop."))
    return 0;
  if (options.input.inputs.empty()) throw ConfigError("dt2it train: no pairs given");
  if (options.out.empty()) throw ConfigError("dt2it train: where to? (-o DIR)");
  options.out = output_folder(options.out);
  if (fs::exists(options.out) &&
      (!fs::is_directory(options.out) ||
       (!fs::is_empty(options.out) && !fs::exists(options.out / "training.json"))))
    throw ConfigError(options.out.string() +
                      ": is there already (an empty or new folder is expected)");
  if (!options.experiment.empty()) options.common.settings = options.trainer_settings;
  return train_model(options, command_line("train", arguments));
}

}  // namespace dt2it::cli
