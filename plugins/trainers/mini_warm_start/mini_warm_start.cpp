// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "core/nn/index_tensor.hpp"
#include "core/nn/optimizer.hpp"
#include "core/nn/packed_batch.hpp"
#include "core/nn/safetensors.hpp"
#include "dt2it/error.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/trainer.hpp"
#include "plugins/common/mini_world/drawing.hpp"
#include "plugins/trainers/mini_warm_start/lessons.hpp"
#include "plugins/trainers/mini_warm_start/mini_checkpoint.hpp"

namespace dt2it::warm_start {
namespace {

namespace fs = std::filesystem;
using mini_world::Kind;

enum class Work { align, captions_one, captions_both, questions };

struct Phase {
  Work work;
  const char* name;
  std::int64_t steps;
  double warmup_steps, floor;
};

// Right and total predictions of each skill.
struct Tally {
  std::array<double, kSkillCount> right{}, total{};
  void clear() { *this = {}; }
};

// Makes the mini backbone from nothing: a tiny Qwen3-VL that can see the mini world, answer its questions about one or
// two pictures, and say of a given answer whether it is right. Makes its own data; takes no pairs. Steps are counted, never
// timed, and one thread gives the same bytes for the same seed.
class MiniWarmStart final : public Trainer {
 public:
  struct Params {
    std::int64_t align_steps = 150;
    std::int64_t caption_steps = 250;
    std::int64_t pair_caption_steps = 700;
    std::int64_t question_steps = 1200;
    double pair_caption_share = .65;
    double pair_question_share = .55;
    double critique_share = .4;
    double keep_share = .15;
    double marks_fade = .25;
    double marks_gone = .6;
    bool grounding = true;
    double muon_learning_rate = .02;
    double learning_rate = 4e-3;
    std::int64_t probe_count = 200;
    std::optional<std::int64_t> seed;
    double question_rate = .5;
    int threads = 1;

    static void describe(Schema<Params>& schema) {
      schema
          .field("align_steps", &Params::align_steps,
                 "Steps in which each visual token learns the words of what its cell shows.")
          .min(1);
      schema
          .field("caption_steps", &Params::caption_steps, "Steps of dense captions of one picture.")
          .min(1);
      schema
          .field("pair_caption_steps", &Params::pair_caption_steps,
                 "Steps of dense captions of one or two pictures.")
          .min(1);
      schema
          .field("question_steps", &Params::question_steps,
                 "Steps of questions and critiques, with a third layer.")
          .min(1);
      schema
          .field("pair_caption_share", &Params::pair_caption_share,
                 "Share of two pictures in those captions.")
          .min(0)
          .max(1);
      schema
          .field("pair_question_share", &Params::pair_question_share,
                 "Share of two pictures in the questions.")
          .min(0)
          .max(1);
      schema
          .field("critique_share", &Params::critique_share,
                 "Share of critiques among the questions.")
          .min(0)
          .max(1);
      schema
          .field("keep_share", &Params::keep_share,
                 "Share of captions that go on among the questions.")
          .min(0)
          .max(1);
      schema
          .field("marks_fade", &Params::marks_fade,
                 "Share of the question steps after which the marks that tell two pictures apart "
                 "begin to fade.")
          .min(0)
          .max(1);
      schema.field("marks_gone", &Params::marks_gone, "Share after which they are gone.")
          .min(0)
          .max(1);
      schema.field("grounding", &Params::grounding,
                   "Nouns of a question learn what the pictures say of them; without it questions "
                   "about two pictures stay "
                   "near chance.");
      schema.field("muon_learning_rate", &Params::muon_learning_rate, "Of the decoder's matrices.")
          .min(0);
      schema.field("learning_rate", &Params::learning_rate, "Of all other weights (AdamW).").min(0);
      schema.field("probe_count", &Params::probe_count, "Questions of each kind asked at the end.")
          .min(1);
      schema
          .field("question_rate", &Params::question_rate,
                 "Learning rates in the questions, as a share of those before: at the full rate "
                 "the first hundred steps "
                 "undo what the captions taught.")
          .min(0)
          .max(1);
      schema
          .field("seed", &Params::seed,
                 "Instead of the one that the stage derives from the experiment's: starts differ "
                 "much in what they learn.")
          .min(0);
      schema.field("threads", &Params::threads, "Threads for the computation.").min(1).max(256);
    }
  };

  MiniWarmStart(const Params& params, Context& context) : params_(params), context_(context) {
    if (params.marks_gone <= params.marks_fade)
      throw ConfigError("trainers/mini_warm_start: marks_gone must be above marks_fade");
  }

  bool train(const TrainRequest& request) override;

 private:
  void open_model(const fs::path& folder);
  std::vector<NamedParameter> trainable(Work work) const;
  std::vector<Lesson> lessons(Work work, Rng& rng) const;
  at::Tensor align_loss(Rng& rng, Tally& tally) const;
  at::Tensor hidden_states(std::span<const TokenTree* const> trees, double marks) const;
  at::Tensor lessons_loss(const std::vector<Lesson>& lessons, double marks, Tally& tally,
                          std::int64_t& tokens) const;
  void save(const fs::path& folder) const;
  double probe(const std::vector<Lesson>& lessons,
               const std::vector<std::string>& candidates) const;
  std::string probes(std::uint64_t seed) const;

  const Params params_;
  Context& context_;
  std::optional<nn::Tokenizer> tokenizer_;
  std::optional<Teacher> teacher_;
  std::unique_ptr<nn::VlModel> model_;
  nn::ImageProcessorConfig images_;
  // Added to the visual tokens of the first and second of two pictures, and faded out while questions are learnt. Telling
  // the pictures apart by the words before them is a skill that two layers hardly find while all else is new; with the
  // marks they first learn what to do with the difference, then where to read it. Not part of the model.
  at::Tensor marks_;
};

void MiniWarmStart::open_model(const fs::path& folder) {
  write_mini_description(folder);
  const nn::ModelConfig config = nn::ModelConfig::read(folder / "config.json");
  images_ = nn::ImageProcessorConfig::read(folder / "preprocessor_config.json");
  if (!tokenizer_) {
    tokenizer_.emplace(folder / "tokenizer.json");
    teacher_.emplace(*tokenizer_, config.image_token);
  }
  model_ = std::make_unique<nn::VlModel>(config);
}

std::vector<NamedParameter> MiniWarmStart::trainable(Work work) const {
  std::vector<NamedParameter> all;
  for (const auto& [name, tensor] : model_->parameters()) {
    const bool used = work != Work::align || name.starts_with("model.visual.") ||
                      name.ends_with("embed_tokens.weight");
    tensor.requires_grad_(used);
    if (used) all.push_back({name, tensor, true});
  }
  if (work != Work::align) all.push_back({"marks", marks_, true});
  return all;
}

std::vector<Lesson> MiniWarmStart::lessons(Work work, Rng& rng) const {
  constexpr int kOneCaption = 32, kPairs = 20, kOneQuestion = 24;
  if (work == Work::questions && rng.chance(params_.keep_share)) work = Work::captions_both;
  const double share = work == Work::questions       ? params_.pair_question_share
                       : work == Work::captions_both ? params_.pair_caption_share
                                                     : 0;
  const bool two = rng.chance(share);
  std::vector<Lesson> made;
  const int count = two ? kPairs : work == Work::questions ? kOneQuestion : kOneCaption;
  for (int i = 0; i < count; ++i) {
    if (work == Work::questions)
      made.push_back(two ? teacher_->questions_two(rng, params_.critique_share, params_.grounding)
                         : teacher_->questions_one(rng, params_.critique_share, params_.grounding));
    else
      made.push_back(two ? teacher_->dense_two(rng) : teacher_->dense_one(rng));
  }
  return made;
}

// Each merged visual token must be nearest to the words for its cell's colour, noun, size and place, in the (tied) word
// embeddings: after this the decoder can read pictures as if they were words.
at::Tensor MiniWarmStart::align_loss(Rng& rng, Tally& tally) const {
  using namespace mini_world;
  constexpr int kBatch = 48;
  constexpr double kSharpness = 4;
  std::vector<std::vector<std::int64_t>> words(5);
  for (const auto word : kColours) words[0].push_back(teacher_->id(word));
  for (const auto word : kNouns) words[1].push_back(teacher_->id(word));
  for (const char* word : {"small", "big"}) words[2].push_back(teacher_->id(word));
  for (const char* word : {"top", "bottom"}) words[3].push_back(teacher_->id(word));
  for (const char* word : {"left", "right"}) words[4].push_back(teacher_->id(word));
  for (std::size_t k = 0; k < 3; ++k) words[k].push_back(teacher_->id("no"));

  std::vector<std::vector<std::int64_t>> labels(5);
  std::vector<nn::Grid> grids;
  constexpr std::int64_t kSide = kImageSize / kPatch;
  at::Tensor pixels = at::empty({kBatch * kSide * kSide, images_.patch_length()}, at::kFloat);
  for (int b = 0; b < kBatch; ++b) {
    const Scene scene = random_scene(rng, 4, 10);
    Image image = draw(scene, rng);
    const PreparedVisual prepared{image.width, image.height, 1, kCells, std::move(image.rgb)};
    nn::write_patches(prepared, images_,
                      pixels.data_ptr<float>() + b * kSide * kSide * images_.patch_length());
    grids.push_back({1, kSide, kSide});
    for (int cell = 0; cell < kCells; ++cell) {
      const Object* object = nullptr;
      for (const Object& candidate : scene.objects)
        if (candidate.cell == cell) object = &candidate;
      labels[0].push_back(object ? object->colour : kColourCount);
      labels[1].push_back(object ? object->noun : kNounCount);
      labels[2].push_back(object ? object->size : kSizeCount);
      labels[3].push_back(cell / kGrid >= kGrid / 2);
      labels[4].push_back(cell % kGrid >= kGrid / 2);
    }
  }
  const at::Tensor visual = model_->vision(pixels, grids).output;
  const at::Tensor embeddings = model_->parameter("model.language_model.embed_tokens.weight");
  at::Tensor loss;
  for (std::size_t k = 0; k < 5; ++k) {
    const at::Tensor logits =
        visual.mm(embeddings.index_select(0, nn::index_tensor(words[k])).t()) * kSharpness;
    const at::Tensor wanted = nn::index_tensor(labels[k]);
    const at::Tensor part = at::cross_entropy_loss(logits, wanted);
    loss = loss.defined() ? loss + part : part;
    tally.right[0] += (logits.detach().argmax(-1) == wanted).sum().item<double>();
    tally.total[0] += static_cast<double>(labels[k].size());
  }
  return loss;
}

at::Tensor MiniWarmStart::hidden_states(std::span<const TokenTree* const> trees,
                                        double marks) const {
  if (marks <= 0) return nn::forward_trees(*model_, trees, images_, HiddenState::normed);
  // No image is shared between lessons, so features are in the order of the placeholders.
  const nn::PackedBatch batch = nn::pack_trees(trees, images_);
  nn::VisionFeatures features = nn::vision_features(*model_, batch);
  std::vector<std::int64_t> which;
  for (const TokenTree* tree : trees)
    for (std::size_t k = 0; k < tree->visuals.size(); ++k)
      which.insert(which.end(), static_cast<std::size_t>(tree->visuals[k]->tokens),
                   tree->visuals.size() > 1 ? static_cast<std::int64_t>(k) : 2);
  // The third row stays zero: pictures that stand alone are not marked.
  features.output =
      features.output +
      at::constant_pad_nd(marks_, {0, 0, 0, 1}).index_select(0, nn::index_tensor(which)) * marks;
  return model_->decode(batch.input, &features, HiddenState::normed);
}

at::Tensor MiniWarmStart::lessons_loss(const std::vector<Lesson>& lessons, double marks,
                                       Tally& tally, std::int64_t& tokens) const {
  std::vector<const TokenTree*> trees;
  std::vector<std::int64_t> rows, ids;
  std::vector<Skill> skills;
  std::int64_t base = 0;
  for (const Lesson& lesson : lessons) {
    trees.push_back(&lesson.tree);
    for (const Target& target : lesson.targets) {
      rows.push_back(base + static_cast<std::int64_t>(target.at));
      ids.push_back(target.id);
      skills.push_back(target.skill);
    }
    base += static_cast<std::int64_t>(lesson.tree.tokens.size());
  }
  tokens = base;
  const at::Tensor hidden = hidden_states(trees, marks);
  const at::Tensor logits = model_->logits(hidden.index_select(0, nn::index_tensor(rows)));
  const at::Tensor wanted = nn::index_tensor(ids), guess = logits.detach().argmax(-1);
  const auto* said = guess.data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    tally.right[static_cast<std::size_t>(skills[i])] += said[i] == ids[i];
    tally.total[static_cast<std::size_t>(skills[i])] += 1;
  }
  return at::cross_entropy_loss(logits, wanted);
}

void MiniWarmStart::save(const fs::path& folder) const {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, tensor] : model_->parameters())
    tensors.emplace_back(name, tensor.detach().to(model_->config().type));
  nn::write_safetensors(folder / "model.safetensors", tensors);
}

// Share of lessons whose one target is the likeliest of the candidate words.
double MiniWarmStart::probe(const std::vector<Lesson>& lessons,
                            const std::vector<std::string>& candidates) const {
  const at::NoGradGuard no_grad;
  std::vector<std::int64_t> words;
  for (const std::string& word : candidates) words.push_back(teacher_->id(word));
  const at::Tensor columns = nn::index_tensor(words);
  double right = 0;
  constexpr std::size_t kBatch = 50;
  for (std::size_t begin = 0; begin < lessons.size(); begin += kBatch) {
    std::vector<const TokenTree*> trees;
    std::vector<std::int64_t> rows;
    std::int64_t base = 0;
    const std::size_t end = std::min(lessons.size(), begin + kBatch);
    for (std::size_t i = begin; i < end; ++i) {
      trees.push_back(&lessons[i].tree);
      rows.push_back(base + static_cast<std::int64_t>(lessons[i].targets[0].at));
      base += static_cast<std::int64_t>(lessons[i].tree.tokens.size());
    }
    const at::Tensor hidden = nn::forward_trees(*model_, trees, images_, HiddenState::normed);
    const at::Tensor best = model_->logits(hidden.index_select(0, nn::index_tensor(rows)))
                                .index_select(1, columns)
                                .argmax(-1);
    for (std::size_t i = begin; i < end; ++i)
      right += words[static_cast<std::size_t>(best.data_ptr<std::int64_t>()[i - begin])] ==
               lessons[i].targets[0].id;
  }
  return right / static_cast<double>(lessons.size());
}

// What the finished model can do, on pictures that it was not trained on, as a JSON object.
std::string MiniWarmStart::probes(std::uint64_t seed) const {
  using namespace mini_world;
  std::vector<std::string> answers{"yes", "no"};
  for (const auto word : kColours) answers.emplace_back(word);
  for (const auto word : kNouns) answers.emplace_back(word);
  for (int n = 0; n <= 9; ++n) answers.push_back(std::to_string(n));
  std::string json;
  const auto ask = [&](const std::string& name, const std::vector<std::string>& candidates,
                       const auto& make) {
    Rng rng(stable_hash("probe/" + name, seed));
    std::vector<Lesson> lessons;
    for (std::int64_t i = 0; i < params_.probe_count; ++i) lessons.push_back(make(rng));
    json += fmt::format("{}\n    \"{}\": {:.3f}", json.empty() ? "" : ",", name,
                        probe(lessons, candidates));
  };
  for (const Kind kind :
       {Kind::colour, Kind::shape, Kind::exist, Kind::count, Kind::compare, Kind::arithmetic})
    ask(std::string(kKindNames[static_cast<std::size_t>(kind)]), answers,
        [&](Rng& rng) { return teacher_->probe_one(rng, kind); });
  for (const Kind kind : {Kind::match, Kind::has, Kind::more})
    ask(std::string(kKindNames[static_cast<std::size_t>(kind)]), {"image1", "image2"},
        [&](Rng& rng) { return teacher_->probe_two(rng, kind); });
  ask("critique", {"right", "wrong"},
      [&](Rng& rng) { return teacher_->probe_critique(rng, false); });
  ask("pair_critique", {"right", "wrong"},
      [&](Rng& rng) { return teacher_->probe_critique(rng, true); });
  return "{" + json + "\n  }";
}

bool MiniWarmStart::train(const TrainRequest& request) {
  at::set_num_threads(params_.threads);
  const std::uint64_t seed =
      params_.seed ? static_cast<std::uint64_t>(*params_.seed) : request.seed;
  const std::array<Phase, 4> phases{
      {{Work::align, "align", params_.align_steps, 30, .05},
       {Work::captions_one, "captions", params_.caption_steps, 40, .02},
       {Work::captions_both, "pair captions", params_.pair_caption_steps, 40, .02},
       {Work::questions, "questions", params_.question_steps, 50, .02}}};
  TrainStep step;
  for (const Phase& phase : phases) step.total_steps += phase.steps;

  const fs::path saved = request.state / "state.safetensors";
  std::unique_ptr<nn::SafetensorsFile> resume;
  if (!request.state.empty() && fs::exists(saved))
    resume = std::make_unique<nn::SafetensorsFile>(saved);
  model_.reset();
  marks_ = at::empty({2, kHidden}, at::kFloat);
  Rng mark_rng(stable_hash("marks", seed));
  for (std::int64_t i = 0; i < marks_.numel(); ++i)
    marks_.data_ptr<float>()[i] = static_cast<float>(mark_rng.normal(0, .05));
  marks_.requires_grad_(true);
  std::int64_t skip = resume ? std::stoll(resume->metadata().at("steps")) : 0;

  Tally tally;
  for (const Phase& phase : phases) {
    if (skip > 0 && skip >= phase.steps) {  // done before the interruption
      skip -= phase.steps;
      step.step += phase.steps;
      continue;
    }
    if (!model_) {
      Rng fresh(stable_hash(fmt::format("weights/{}", kLayers), seed));
      open_model(request.output);
      initialise_mini(*model_, fresh);
    }
    const std::vector<NamedParameter> parameters = trainable(phase.work);
    nn::OptimizerConfig config;
    const double rate = phase.work == Work::questions ? params_.question_rate : 1;
    config.learning_rate = params_.learning_rate * rate;
    config.betas = {.9, .98};
    config.weight_decay = .01;
    config.decay_vectors = true;
    config.muon = phase.work != Work::align;
    config.muon_learning_rate = params_.muon_learning_rate * rate;
    nn::Optimizer optimizer(parameters, config);
    nn::NamedTensors weights;
    for (const auto& [name, tensor] : model_->parameters())
      weights.emplace_back("weight/" + name, tensor);
    weights.emplace_back("weight/marks", marks_);
    if (resume) {
      const at::NoGradGuard no_grad;
      for (auto& [name, tensor] : weights) tensor.copy_(resume->load(name));
      optimizer.load(nn::OptimizerStateFiles({saved}));
    }
    tally.clear();
    for (std::int64_t s = skip; s < phase.steps; ++s) {
      if (request.stop_requested && request.stop_requested()) {
        if (request.state.empty()) return false;
        nn::NamedTensors live = optimizer.state();
        live.insert(live.end(), weights.begin(), weights.end());
        nn::write_safetensors(saved, live, {{"steps", std::to_string(step.step + s)}});
        return false;
      }
      Rng rng(stable_hash(fmt::format("{}/{}", phase.name, s), seed));
      Tally now;
      std::int64_t tokens = 0;
      const auto n = static_cast<double>(phase.steps), at = static_cast<double>(s);
      const double marks = phase.work != Work::questions
                               ? 1
                               : std::clamp((params_.marks_gone - at / n) /
                                                (params_.marks_gone - params_.marks_fade),
                                            0.0, 1.0);
      const at::Tensor loss = phase.work == Work::align
                                  ? align_loss(rng, now)
                                  : lessons_loss(lessons(phase.work, rng), marks, now, tokens);
      optimizer.zero_grad();
      loss.backward();
      TrainStep report = step;
      report.gradient_norm = optimizer.clip_gradients(1);
      const double scale =
          std::min(1.0, (at + 1) / phase.warmup_steps) *
          (phase.floor + (1 - phase.floor) * .5 * (1 + std::cos(3.14159265358979323846 * at / n)));
      optimizer.step(scale);

      report.step = step.step + s + 1;
      report.loss = loss.item<double>();
      report.learning_rate = config.learning_rate * scale;
      report.tokens = tokens;
      double right = 0, total = 0;
      for (std::size_t k = 0; k < kSkillCount; ++k) {
        right += now.right[k];
        total += now.total[k];
        tally.right[k] += now.right[k];
        tally.total[k] += now.total[k];
      }
      report.accuracy = right / total;
      if (request.on_step) request.on_step(report);
      if ((s + 1) % 100 == 0 || s + 1 == phase.steps) {
        std::string line =
            fmt::format("{} {}/{}: loss {:.3f}", phase.name, s + 1, phase.steps, report.loss);
        for (std::size_t k = 0; k < kSkillCount; ++k)
          if (tally.total[k] > 0)
            line += fmt::format(", {} {:.3f}", kSkillNames[k], tally.right[k] / tally.total[k]);
        context_.log(LogLevel::info, line);
        tally.clear();
      }
    }
    optimizer.zero_grad();
    step.step += phase.steps;
    skip = 0;
    resume.reset();
  }

  save(request.output);
  model_->load(nn::Checkpoint(request.output));  // the probes see what was stored
  const std::string result = probes(seed);
  context_.log(LogLevel::info, "probes " + result);
  nn::write_text_file(request.output / "training.json",
                      fmt::format("{{\n  \"seed\": {},\n  \"steps\": {},\n  \"probes\": {}\n}}\n",
                                  seed, step.total_steps, result));
  return true;
}

}  // namespace
}  // namespace dt2it::warm_start

DT2IT_PLUGIN("trainers/mini_warm_start", "1.0.0", registrar) {
  registrar.add<dt2it::Trainer, dt2it::warm_start::MiniWarmStart>(
      "mini_warm_start", "Makes the mini world's backbone from nothing; takes no pairs.");
}
