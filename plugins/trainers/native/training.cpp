// SPDX-License-Identifier: Apache-2.0
// The course of a training: data, head, optimiser, steps, checkpoints. What a step computes: training_step.cpp.
#include "plugins/trainers/native/training.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/nn/text_file.hpp"
#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::native {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kPairsLookedAt = 128;
constexpr std::int64_t kUnitVectors = 256;

std::vector<PreferencePair> read_all(Stream<PreferencePair>& stream) {
  std::vector<PreferencePair> records;
  for (PreferencePair pair; stream.next(pair);) {
    records.push_back(std::move(pair));
    pair = {};
  }
  return records;
}

std::int64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

bool is_projector(const std::string& name) {
  return name.find("visual.merger.") != std::string::npos;
}

double number_of(const std::map<std::string, std::string>& facts, const char* name) {
  const auto found = facts.find(name);
  return found == facts.end() ? 0 : std::stod(found->second);
}

}  // namespace

Training::Training(const Params& params, Context& context, const TrainRequest& request,
                   std::shared_ptr<Backbone> backbone, nn::ProcessGroup& group)
    : params_(params),
      context_(context),
      request_(request),
      backbone_(std::move(backbone)),
      group_(group),
      objective_(params.objective()),
      snapshots_(request.state, group),
      watch_(params.stuck_steps) {
  read_pairs();
  facts_.base = backbone_->checkpoint().filename().string();
  facts_.seed = request.seed;
  facts_.head_input = head_input();
  facts_.pairs = train_.records.size();
  for (const PreferencePair& pair : train_.records) ++facts_.sources[pair.source];
}

HiddenState Training::state() const {
  return facts_.head_input == "before_norm" ? HiddenState::unnormed : HiddenState::normed;
}

// Whether the training goes on with a reward head that is there already.
bool Training::head_of_checkpoint() const {
  return objective_ == Objective::reward &&
         (params_.initial_head() == "checkpoint" ||
          (params_.head_init == "auto" && has_reward_head(backbone_->checkpoint())));
}

// A head that was trained on one hidden state means nothing on the other.
std::string Training::head_input() const {
  const std::string& wanted = params_.head_input;
  if (!head_of_checkpoint()) return wanted == "auto" ? "final_norm" : wanted;
  const std::string folder = backbone_->checkpoint().string(),
                    stated = stated_head_input(backbone_->checkpoint());
  if (wanted == "auto" && stated.empty()) {
    const std::string doubt = doubt_about_head_input(backbone_->checkpoint());
    if (leads() && !doubt.empty()) context_.log(LogLevel::warning, doubt);
    return "final_norm";
  }
  if (wanted != "auto" && !stated.empty() && wanted != stated)
    throw ConfigError(fmt::format(
        "trainers/native: head_input = \"{}\", but the head of {} was trained on {}, as its "
        "training.json says (leave head_input out to go on with it, or start a new head: "
        "head_init = \"zeros\")",
        wanted, folder, stated));
  return wanted == "auto" ? stated : wanted;
}

void Training::read_pairs() {
  train_.records = read_all(*request_.pairs());
  if (train_.records.empty()) throw DataError("trainers/native: there are no pairs to train on");
  if (request_.held_out) held_out_.records = read_all(*request_.held_out());
  if (params_.keep == "best" && held_out_.records.empty())
    throw ConfigError("trainers/native: keep = \"best\" needs held-out pairs, and there are none");
  std::map<std::string, std::size_t> numbers;
  for (const PreferencePair& pair : train_.records) {
    const auto [at, fresh] = numbers.try_emplace(pair.source, sources_.size());
    if (fresh) sources_.push_back(pair.source);
    source_of_.push_back(at->second);
  }
  order_.emplace(params_, request_.seed, train_.records);
}

void Training::look_at_data() {
  if (!leads()) return;
  facts_.check = check_data(train_.records, kPairsLookedAt, [&](std::size_t record) {
    const Unit unit = encode(train_.records, {&record, 1}, false);
    if (unit.comparisons.empty()) return Fit::unusable;
    return unit.cut ? Fit::cut : Fit::whole;
  });
  for (const std::string& finding : facts_.check.findings())
    context_.log(LogLevel::warning, "training data: " + finding);
}

nn::RewardHead Training::linear_head(std::uint64_t seed) const {
  // torch's nn.Linear(hidden, 1), drawn first thing after the seed is set.
  const std::int64_t width = backbone_->hidden_size();
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const double gain = std::sqrt(2.0 / (1 + std::pow(std::sqrt(5.0), 2)));
  const double bound = std::sqrt(3.0) * (gain / std::sqrt(static_cast<double>(width)));
  const double bias_bound = 1 / std::sqrt(static_cast<double>(width));
  nn::RewardHead head;
  head.weight = at::empty({1, width}, at::kFloat).uniform_(-bound, bound, generator);
  head.bias = at::empty({1}, at::kFloat).uniform_(-bias_bound, bias_bound, generator);
  return head;
}

nn::RewardHead Training::initial_head() const {
  const at::NoGradGuard no_grad;
  const std::int64_t width = backbone_->hidden_size();
  const std::string kind = params_.initial_head();
  if (head_of_checkpoint()) return nn::RewardHead::load(backbone_->checkpoint(), width);
  if (kind == "linear")
    return linear_head(params_.order_seed >= 0 ? static_cast<std::uint64_t>(params_.order_seed)
                                               : request_.seed & 0x7fffffff);
  nn::RewardHead head{at::zeros({1, width}, at::kFloat), at::zeros({1}, at::kFloat)};
  if (kind == "normal") {
    Rng rng(stable_hash("head", request_.seed));
    auto* weight = head.weight.data_ptr<float>();
    for (std::int64_t i = 0; i < width; ++i) weight[i] = static_cast<float>(rng.normal(0, 0.02));
  } else if (kind == "contrast") {
    const auto one_token = [&](const std::string& word) {
      const auto ids = backbone_->tokenize(word);
      if (ids.size() != 1)
        throw ConfigError(fmt::format(
            "trainers/native: '{}' is {} tokens, head_init contrast needs one", word, ids.size()));
      return ids[0];
    };
    const std::int64_t positive = one_token(params_.positive),
                       negative = one_token(params_.negative);
    // The output layer's weights are its logits of unit vectors: of some at a time, each has a logit for every token.
    const at::Tensor units =
        at::eye(width, parameters_.empty() ? at::TensorOptions(at::kFloat)
                                           : parameters_[0].tensor.options().requires_grad(false));
    for (std::int64_t i = 0; i < width; i += kUnitVectors) {
      const std::int64_t count = std::min(kUnitVectors, width - i);
      const at::Tensor logits = backbone_->logits(units.narrow(0, i, count));
      const auto weights = [&](std::int64_t token) {
        return logits.select(1, token).to(at::kFloat);
      };
      head.weight[0].narrow(0, i, count).copy_(weights(positive) - weights(negative));
    }
  }
  return head;
}

nn::OptimizerConfig Training::optimizer_config() const {
  nn::OptimizerConfig config;
  config.learning_rate = params_.learning_rate;
  config.betas = {params_.betas[0], params_.betas[1]};
  config.epsilon = params_.epsilon;
  config.weight_decay = params_.weight_decay;
  config.master_weights = params_.master_weights;
  config.muon = params_.optimizer == "muon";
  config.muon_learning_rate = params_.muon_learning_rate;
  const Params& params = params_;
  config.rate_of = [&params](const std::string& name) {
    std::optional<double> own;
    if (name.starts_with("v_head."))
      own = params.head_learning_rate;
    else if (name.find("visual.") != std::string::npos)
      own = is_projector(name) ? params.projector_learning_rate : params.vision_learning_rate;
    if (!own || params.learning_rate == 0) return 1.0;
    return *own / params.learning_rate;
  };
  return config;
}

bool Training::asked_to_stop() {
  double stop = request_.stop_requested && request_.stop_requested() ? 1 : 0;
  group_.sum(&stop, 1);
  return stop > 0;
}

bool Training::run() {
  look_at_data();
  parameters_ = backbone_->parameters();
  if (objective_ == Objective::reward) {
    const at::Device device =
        parameters_.empty() ? at::Device(at::kCPU) : parameters_[0].tensor.device();
    head_ = initial_head().to(device);
    const auto train = [&](const char* name, at::Tensor& tensor) {
      if (!tensor.defined()) return;
      tensor.requires_grad_(true);
      parameters_.push_back({name, tensor, true});
    };
    train("v_head.dense.weight", head_.dense);
    train("v_head.dense.bias", head_.dense_bias);
    train("v_head.summary.weight", head_.weight);
    // The last bias cancels in every margin: its gradient is rounding noise, which Adam would blow up. LLaMA-Factory lets it.
    if (params_.llamafactory() || params_.centering > 0) train("v_head.summary.bias", head_.bias);
  }
  bool any = false;
  for (const NamedParameter& parameter : parameters_) any = any || parameter.trainable;
  if (!any)
    throw ConfigError(
        "trainers/native: every part of the backbone is frozen, there is nothing to train");
  optimizer_.emplace(parameters_, optimizer_config(), &group_);
  if (objective_ == Objective::dpo) {
    find_reference(train_, "reference");
    find_reference(held_out_, "held_out_reference");
  }
  std::int64_t done = 0;
  if (const auto resumed = snapshots_.load(parameters_, *optimizer_)) {
    done = resumed->step;
    facts_.left_out = static_cast<std::size_t>(number_of(resumed->facts, "left_out"));
    facts_.truncated = static_cast<std::size_t>(number_of(resumed->facts, "truncated"));
    facts_.best_step = static_cast<std::int64_t>(number_of(resumed->facts, "best_step"));
    facts_.best_accuracy = number_of(resumed->facts, "best_accuracy");
    if (params_.keep == "best" && facts_.best_step > 0 &&
        !fs::exists(best_folder() / "training.json")) {
      if (leads())
        context_.log(LogLevel::warning,
                     fmt::format("{}: the weights of step {}, the best so far, are gone; the best "
                                 "of the steps from {} on are kept",
                                 best_folder().string(), facts_.best_step, done + 1));
      facts_.best_step = 0;
      facts_.best_accuracy = 0;
    }
    facts_.last.loss = number_of(resumed->facts, "last_loss");
    watch_.at_ln2 = static_cast<std::int64_t>(number_of(resumed->facts, "at_ln2"));
    watch_.all_equal = static_cast<std::int64_t>(number_of(resumed->facts, "all_equal"));
  }
  const std::int64_t total = order_->steps();
  facts_.last.total_steps = total;
  const nn::Schedule shape = params_.schedule == "cosine"   ? nn::Schedule::cosine
                             : params_.schedule == "linear" ? nn::Schedule::linear
                                                            : nn::Schedule::constant;
  {
    Feeder feeder([&](std::int64_t step) { return make_batch(step); }, done, total,
                  params_.encoder_threads > 0 ? static_cast<std::size_t>(params_.prefetch) : 0);
    for (std::int64_t s = done; s < total; ++s) {
      if (asked_to_stop()) {
        save_snapshot(s);
        return false;
      }
      const auto begin = Clock::now();
      const Batch batch = feeder.next();
      Sums sums = step_on(batch, s);
      sums.add_up(group_);
      TrainStep step = describe(sums, s);
      const double scale =
          params_.llamafactory()
              ? nn::transformers_scheduled_rate(shape, s, total, params_.warmup_ratio)
              : nn::scheduled_rate(shape, s, total, params_.warmup_ratio);
      step.learning_rate = params_.learning_rate * scale;
      step.gradient_norm = optimizer_->clip_gradients(params_.max_grad_norm);
      check_step(step, sums);
      if (sums.count > 0) optimizer_->step(scale);
      optimizer_->zero_grad();
      step.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
      step.peak_memory_bytes = peak_memory();
      facts_.left_out += static_cast<std::size_t>(sums.left_out);
      facts_.truncated += static_cast<std::size_t>(sums.cut);
      facts_.last = step;
      const bool last = s + 1 == total, epoch_over = (s + 1) % order_->steps_per_epoch() == 0;
      if (!held_out_.records.empty() &&
          (last ||
           (params_.evaluate_every > 0 ? (s + 1) % params_.evaluate_every == 0 : epoch_over)))
        look_at_held_out(step);
      if (request_.on_step && leads()) request_.on_step(step);
      if (params_.save_every > 0 && (s + 1) % params_.save_every == 0 && !last) {
        keep_checkpoint(s + 1);
        save_snapshot(s + 1);
      }
    }
  }
  finish();
  return true;
}

TrainStep Training::describe(const Sums& sums, std::int64_t step) const {
  TrainStep result;
  const double count = std::max(1.0, sums.count), pairs = std::max(1.0, sums.pairs);
  result.step = step + 1;
  result.total_steps = order_->steps();
  result.loss = sums.loss;
  result.accuracy = sums.right / count;
  result.margin = sums.margin / pairs;
  result.chosen_reward = sums.chosen / pairs;
  result.rejected_reward = sums.rejected / pairs;
  result.tokens = static_cast<std::int64_t>(sums.tokens);
  result.pairs = static_cast<std::int64_t>(sums.pairs);
  if (objective_ != Objective::next_token)
    for (std::size_t i = 0; i < sources_.size(); ++i)
      if (sums.source_pairs[i] > 0 && !sources_[i].empty())
        result.sources.push_back({sources_[i], static_cast<std::int64_t>(sums.source_pairs[i]),
                                  static_cast<std::int64_t>(sums.source_right[i])});
  std::sort(result.sources.begin(), result.sources.end(),
            [](const SourceAccuracy& a, const SourceAccuracy& b) { return a.source < b.source; });
  return result;
}

void Training::check_step(const TrainStep& step, const Sums& sums) {
  if (!std::isfinite(step.loss) || !std::isfinite(step.gradient_norm))
    fail(fmt::format("{} is not finite (a lower learning rate, gradient clipping or float32 helps "
                     "most often)",
                     std::isfinite(step.loss) ? "the gradient" : "the loss"),
         step.step - 1);
  if (objective_ == Objective::next_token || sums.pairs == 0) return;
  const bool warming = static_cast<double>(step.step) <=
                       params_.warmup_ratio * static_cast<double>(step.total_steps);
  if (const auto why = watch_.see(sums.plain_loss / sums.pairs, sums.spread, warming))
    fail(*why, step.step - 1);
}

void Training::fail(const std::string& why, std::int64_t done) {
  std::string text =
      fmt::format("trainers/native: stopped at step {} of {}: {}", done + 1, order_->steps(), why);
  bool finite = true;
  for (const NamedParameter& parameter : parameters_)
    finite =
        finite && (!parameter.trainable || parameter.tensor.detach().sum().isfinite().item<bool>());
  if (leads() && snapshots_.possible() && finite) {
    const fs::path folder = snapshots_.folder() / "checkpoints" / fmt::format("step-{}", done);
    fs::create_directories(folder.parent_path());
    replace_folder(folder, [&](const fs::path& fresh) { write_checkpoint(fresh); });
    text += fmt::format(". The weights after step {} are in {}", done, folder.string());
  }
  throw ModelError(text);
}

void Training::look_at_held_out(TrainStep& step) {
  step.held_out = evaluate();
  const bool better = facts_.best_step == 0 || step.held_out->accuracy > facts_.best_accuracy;
  if (!better) return;
  facts_.best_step = step.step;
  facts_.best_accuracy = step.held_out->accuracy;
  if (params_.keep != "best" || !leads()) return;
  replace_folder(best_folder(), [&](const fs::path& fresh) { write_checkpoint(fresh); });
}

fs::path Training::best_folder() const {
  return (snapshots_.possible() ? snapshots_.folder() : request_.output) / "best";
}

void Training::save_snapshot(std::int64_t step) {
  snapshots_.save(step, parameters_, *optimizer_,
                  {{"left_out", std::to_string(facts_.left_out)},
                   {"truncated", std::to_string(facts_.truncated)},
                   {"best_step", std::to_string(facts_.best_step)},
                   {"best_accuracy", fmt::format("{}", facts_.best_accuracy)},
                   {"last_loss", fmt::format("{}", facts_.last.loss)},
                   {"at_ln2", std::to_string(watch_.at_ln2)},
                   {"all_equal", std::to_string(watch_.all_equal)}});
}

void Training::write_checkpoint(const fs::path& folder) const {
  backbone_->save(folder);
  if (objective_ == Objective::reward) head_.save(folder);
  nn::write_text_file(folder / "training.json", training_json(params_, facts_));
  nn::write_text_file(folder / "README.md", model_card(params_, facts_));
}

void Training::keep_checkpoint(std::int64_t step) {
  if (params_.keep_checkpoints == 0 || !leads() || !snapshots_.possible()) return;
  const fs::path folder = snapshots_.folder() / "checkpoints";
  fs::create_directories(folder);
  replace_folder(folder / fmt::format("step-{}", step),
                 [&](const fs::path& fresh) { write_checkpoint(fresh); });
  std::vector<std::pair<std::int64_t, fs::path>> kept;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && !name.ends_with(".new"))
      kept.emplace_back(std::stoll(name.substr(5)), entry.path());
  }
  std::sort(kept.begin(), kept.end());
  for (std::size_t i = 0; i + static_cast<std::size_t>(params_.keep_checkpoints) < kept.size(); ++i)
    fs::remove_all(kept[i].second);
}

void Training::finish() {
  if (facts_.left_out > 0 && leads())
    context_.log(LogLevel::warning,
                 fmt::format("{} of {} pairs were left out of training", facts_.left_out,
                             train_.records.size() * static_cast<std::size_t>(params_.epochs)));
  optimizer_->zero_grad();
  if (leads()) {
    if (params_.keep == "best") {
      const fs::path best = best_folder();
      share_files(best, request_.output);
      if (!snapshots_.possible()) fs::remove_all(best);
      // What it says of the training is said at its end. Written anew: the state's own files stay as they are.
      nn::write_text_file(request_.output / "training.json", training_json(params_, facts_));
      nn::write_text_file(request_.output / "README.md", model_card(params_, facts_));
    } else {
      write_checkpoint(request_.output);
    }
    const fs::path kept = snapshots_.folder() / "checkpoints";
    if (snapshots_.possible() && params_.keep_checkpoints > 0 && fs::exists(kept))
      share_files(kept, request_.output / "checkpoints");
  }
  group_.barrier();
}

}  // namespace dt2it::native
