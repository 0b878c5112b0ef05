// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "core/nn/json_text.hpp"
#include "core/nn/optimizer.hpp"
#include "core/nn/safetensors.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/trainer.hpp"
#include "plugins/trainers/native/batch_loss.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

class NativeTrainer final : public Trainer {
 public:
  struct Params {
    std::string backbone;
    std::string loss = "bradley_terry";
    double learning_rate = 1e-5;
    std::vector<double> betas{0.9, 0.999};
    double epsilon = 1e-8;
    double weight_decay = 0;
    std::string optimizer = "adamw";
    double muon_learning_rate = 0.02;
    std::int64_t batch_size = 32;
    std::int64_t micro_batch_size = 0;
    std::int64_t epochs = 1;
    double warmup_ratio = 0.1;
    double max_grad_norm = 1;
    std::string head_init = "zeros";
    std::string head_input = "normed";
    double head_dropout = 0;
    std::string positive = "right";
    std::string negative = "wrong";
    int threads = 1;

    static void describe(Schema<Params>& schema) {
      schema.component<Backbone>("backbone", &Params::backbone, "Model to start from.").required();
      schema.field("loss", &Params::loss,
                   "bradley_terry: a reward head that tells chosen from rejected; next_token: the chosen responses.")
          .choices({"bradley_terry", "next_token"});
      schema.field("learning_rate", &Params::learning_rate, "Highest learning rate; linear warm-up, then half a cosine to 0.")
          .min(0);
      schema.field("betas", &Params::betas, "AdamW's two decay rates.").min(0).max(1);
      schema.field("epsilon", &Params::epsilon, "AdamW's epsilon.").min(0);
      schema.field("weight_decay", &Params::weight_decay, "Decoupled weight decay.").min(0);
      schema.field("optimizer", &Params::optimizer, "muon: for the decoder's matrices, AdamW for the rest.")
          .choices({"adamw", "muon"});
      schema.field("muon_learning_rate", &Params::muon_learning_rate, "Highest learning rate of Muon.").min(0);
      schema.field("batch_size", &Params::batch_size, "Pairs of one optimiser step.").min(1);
      schema.field("micro_batch_size", &Params::micro_batch_size,
                   "Pairs of one forward pass (gradients are added up); 0: the whole batch.")
          .min(0);
      schema.field("epochs", &Params::epochs, "Passes over the pairs.").min(1);
      schema.field("warmup_ratio", &Params::warmup_ratio, "Share of the steps in which the learning rate rises.").min(0).max(1);
      schema.field("max_grad_norm", &Params::max_grad_norm, "Gradients are scaled down to this norm; 0: never.").min(0);
      schema.field("head_init", &Params::head_init,
                   "Reward head at the start: zeros; normal (deviation 0.02); contrast (the difference of the output "
                   "weights of `positive` and `negative`); checkpoint (the backbone's own).")
          .choices({"zeros", "normal", "contrast", "checkpoint"});
      schema.field("head_input", &Params::head_input, "Hidden state that the head reads: before or after the final norm.")
          .choices({"normed", "unnormed"});
      schema.field("head_dropout", &Params::head_dropout, "Dropout before the head (LLaMA-Factory: 0.1).").min(0).max(0.99);
      schema.field("positive", &Params::positive, "Word for head_init contrast.");
      schema.field("negative", &Params::negative, "Word for head_init contrast.");
      schema.field("threads", &Params::threads, "Threads for the computation; the result depends on it in the last bits.")
          .min(1).max(256);
    }
  };

  NativeTrainer(const Params& params, Context& context) : params_(params), context_(context) {
    if (params.betas.size() != 2) throw ConfigError("trainers/native: betas must be two numbers");
  }

  bool train(const TrainRequest& request) override;

 private:
  bool ranks() const { return params_.loss == "bradley_terry"; }
  std::optional<EncodedPair> encode(Backbone& backbone, const PreferencePair& pair);
  nn::RewardHead initial_head(Backbone& backbone, std::uint64_t seed) const;
  at::Tensor dropout_mask(std::int64_t rows, std::int64_t width, Rng& rng) const;
  std::string summary(std::size_t pairs, std::size_t skipped, const TrainStep& last, std::uint64_t seed) const;

  const Params params_;
  Context& context_;
};

std::optional<EncodedPair> NativeTrainer::encode(Backbone& backbone, const PreferencePair& pair) {
  EncodedPair encoded;
  const auto add = [&](const Prompt& prompt, std::span<const std::string_view> responses) {
    EncodedTree tree = backbone.encode(prompt, responses);
    if (tree.status != Status::ok) {
      context_.log(LogLevel::warning, fmt::format("pair '{}' is left out: {}", pair.id, tree.detail));
      return false;
    }
    encoded.trees.push_back(std::move(tree.tree));
    return true;
  };
  const std::string_view chosen = pair.chosen.text, rejected = pair.rejected.text;
  const std::string_view both[] = {chosen, rejected};
  bool ok = true;
  if (!ranks())
    ok = add(pair.prompt, {&chosen, 1});
  else if (pair.rejected_prompt)
    ok = add(pair.prompt, {&chosen, 1}) && add(*pair.rejected_prompt, {&rejected, 1});
  else
    ok = add(pair.prompt, both);
  if (!ok) return std::nullopt;
  return encoded;
}

nn::RewardHead NativeTrainer::initial_head(Backbone& backbone, std::uint64_t seed) const {
  const at::NoGradGuard no_grad;
  const std::int64_t width = backbone.hidden_size();
  if (params_.head_init == "checkpoint") return nn::RewardHead::load(backbone.checkpoint(), width);
  nn::RewardHead head{at::zeros({1, width}, at::kFloat), at::zeros({1}, at::kFloat)};
  if (params_.head_init == "normal") {
    Rng rng(stable_hash("head", seed));
    auto* weight = head.weight.data_ptr<float>();
    for (std::int64_t i = 0; i < width; ++i) weight[i] = static_cast<float>(rng.normal(0, 0.02));
  } else if (params_.head_init == "contrast") {
    const auto column = [&](const std::string& word) {
      const auto ids = backbone.tokenize(word);
      if (ids.size() != 1)
        throw ConfigError(fmt::format("trainers/native: '{}' is {} tokens, head_init contrast needs one", word, ids.size()));
      return backbone.logits(at::eye(width, at::kFloat)).select(1, ids[0]);
    };
    head.weight.copy_((column(params_.positive) - column(params_.negative)).unsqueeze(0));
  }
  return head;
}

at::Tensor NativeTrainer::dropout_mask(std::int64_t rows, std::int64_t width, Rng& rng) const {
  if (params_.head_dropout <= 0) return {};
  at::Tensor mask = at::empty({rows, width}, at::kFloat);
  auto* data = mask.data_ptr<float>();
  const auto kept = static_cast<float>(1 / (1 - params_.head_dropout));
  for (std::int64_t i = 0; i < rows * width; ++i) data[i] = rng.chance(params_.head_dropout) ? 0.f : kept;
  return mask;
}

// No times and no paths: the same data and seed give the same bytes.
std::string NativeTrainer::summary(std::size_t pairs, std::size_t skipped, const TrainStep& last, std::uint64_t seed) const {
  return fmt::format(
      "{{\n  \"loss\": {},\n  \"head_input\": {},\n  \"head_init\": {},\n  \"pairs\": {},\n  \"left_out\": {},\n"
      "  \"epochs\": {},\n  \"steps\": {},\n  \"batch_size\": {},\n  \"learning_rate\": {},\n  \"optimizer\": {},\n"
      "  \"seed\": {},\n  \"last_loss\": {}\n}}\n",
      nn::json_text(params_.loss), nn::json_text(params_.head_input), nn::json_text(params_.head_init), pairs, skipped,
      params_.epochs, last.total_steps, params_.batch_size, params_.learning_rate, nn::json_text(params_.optimizer), seed,
      last.loss);
}

bool NativeTrainer::train(const TrainRequest& request) {
  at::set_num_threads(params_.threads);
  const auto backbone = context_.component<Backbone>(params_.backbone);
  backbone->reload();  // whatever was done to the shared component before
  const HiddenState state = params_.head_input == "unnormed" ? HiddenState::unnormed : HiddenState::normed;

  std::vector<PreferencePair> records;
  records.reserve(request.pair_count);
  for (const auto stream = request.pairs(); ;) {
    PreferencePair pair;
    if (!stream->next(pair)) break;
    records.push_back(std::move(pair));
  }
  if (records.empty()) throw DataError("trainers/native: there are no pairs to train on");

  nn::RewardHead head = initial_head(*backbone, request.seed);
  std::vector<NamedParameter> parameters = backbone->parameters();
  if (ranks()) {
    // The bias cancels in every margin: its gradient is rounding noise, which Adam would blow up.
    head.weight.requires_grad_(true);
    parameters.push_back({"v_head.summary.weight", head.weight, true});
  }
  nn::OptimizerConfig config;
  config.learning_rate = params_.learning_rate;
  config.betas = {params_.betas[0], params_.betas[1]};
  config.epsilon = params_.epsilon;
  config.weight_decay = params_.weight_decay;
  config.muon = params_.optimizer == "muon";
  config.muon_learning_rate = params_.muon_learning_rate;
  nn::Optimizer optimizer(parameters, config);

  const std::size_t batch_size = static_cast<std::size_t>(params_.batch_size);
  const std::size_t per_epoch = (records.size() + batch_size - 1) / batch_size;
  TrainStep step;
  step.total_steps = static_cast<std::int64_t>(per_epoch) * params_.epochs;

  // Everything that changes while training, for going on after a stop.
  auto live = optimizer.state();
  for (const NamedParameter& parameter : parameters) live.emplace_back("weight/" + parameter.name, parameter.tensor);
  const fs::path saved = request.state / "state.safetensors";
  std::int64_t done = 0;
  if (!request.state.empty() && fs::exists(saved)) {
    const at::NoGradGuard no_grad;
    const nn::SafetensorsFile file(saved);
    for (auto& [name, tensor] : live) tensor.copy_(file.load(name));
    done = std::stoll(file.metadata().at("steps"));
  }

  std::size_t skipped = 0;
  std::vector<std::size_t> order;
  for (std::int64_t s = done; s < step.total_steps; ++s) {
    if (request.stop_requested && request.stop_requested()) {
      if (!request.state.empty()) nn::write_safetensors(saved, live, {{"steps", std::to_string(s)}});
      return false;
    }
    const auto epoch = static_cast<std::size_t>(s) / per_epoch, place = static_cast<std::size_t>(s) % per_epoch;
    if (order.empty() || place == 0)
      order = Rng(stable_hash(fmt::format("order/{}", epoch), request.seed)).permutation(records.size());
    Rng dropout(stable_hash(fmt::format("dropout/{}", s), request.seed));

    std::vector<EncodedPair> batch;
    for (std::size_t i = place * batch_size; i < std::min(records.size(), (place + 1) * batch_size); ++i) {
      if (auto pair = encode(*backbone, records[order[i]]))
        batch.push_back(std::move(*pair));
      else
        ++skipped;
    }
    // Micro batches hold pairs of similar length; the gradient does not depend on how they are cut.
    std::vector<const EncodedPair*> sorted;
    for (const EncodedPair& pair : batch) sorted.push_back(&pair);
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->tokens() > b->tokens(); });
    const std::size_t micro = params_.micro_batch_size > 0 ? static_cast<std::size_t>(params_.micro_batch_size) : batch_size;
    double count = static_cast<double>(sorted.size());  // pairs or tokens that the mean is over
    if (!ranks())
      count = std::accumulate(sorted.begin(), sorted.end(), 0.0,
                              [](double sum, const EncodedPair* pair) { return sum + static_cast<double>(response_tokens(*pair)); });

    step.step = s + 1;
    step.loss = step.accuracy = step.margin = 0;
    step.tokens = 0;
    optimizer.zero_grad();
    for (std::size_t begin = 0; begin < sorted.size(); begin += micro) {
      const auto part = std::span(sorted).subspan(begin, std::min(micro, sorted.size() - begin));
      BatchLoss result = ranks() ? bradley_terry(*backbone, head, state, part,
                                                 dropout_mask(2 * static_cast<std::int64_t>(part.size()),
                                                              backbone->hidden_size(), dropout))
                                 : next_token(*backbone, part);
      const at::Tensor loss = result.loss / count;
      loss.backward();
      step.loss += loss.item<double>();
      step.accuracy += result.right / count;
      step.margin += result.margin / count;
      for (const EncodedPair* pair : part) step.tokens += static_cast<std::int64_t>(pair->tokens());
    }
    const double scale = nn::cosine_schedule(s, step.total_steps, params_.warmup_ratio);
    step.learning_rate = params_.learning_rate * scale;
    step.gradient_norm = optimizer.clip_gradients(params_.max_grad_norm);
    if (!std::isfinite(step.loss) || !std::isfinite(step.gradient_norm))
      throw ModelError(fmt::format("trainers/native: loss or gradient is not finite at step {} of {}", step.step, step.total_steps));
    if (!sorted.empty()) optimizer.step(scale);
    if (request.on_step) request.on_step(step);
  }
  if (skipped > 0)
    context_.log(LogLevel::warning, fmt::format("{} of {} pairs were left out of training", skipped,
                                                records.size() * static_cast<std::size_t>(params_.epochs)));

  optimizer.zero_grad();
  backbone->save(request.output);
  if (ranks()) head.save(request.output);
  nn::write_text_file(request.output / "training.json", summary(records.size(), skipped, step, request.seed));
  return true;
}

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("trainers/native", "1.0.0", registrar) {
  registrar.add<dt2it::Trainer, dt2it::NativeTrainer>(
      "native", "Trains a reward model (Bradley-Terry) or a language model (next token) in this process.");
}
