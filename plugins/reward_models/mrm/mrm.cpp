// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "core/nn/reward_head.hpp"
#include "dt2it/backbone.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/reward_model.hpp"
#include "plugins/reward_models/mrm/encoder_threads.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFailuresShown = 5;

// Where `folder` is that of a stage or of a run: the checkpoint in it.
std::string checkpoint_hint(const fs::path& folder) {
  std::vector<fs::path> places = {folder};
  std::error_code absent;
  for (const auto& stage : fs::directory_iterator(folder / "stages", absent))
    places.push_back(stage.path());
  // Parts of composite stages ("train.model_0") last.
  const auto part = [](const fs::path& place) {
    return place.filename().string().find('.') != std::string::npos;
  };
  std::sort(places.begin() + 1, places.end(), [&](const fs::path& a, const fs::path& b) {
    return std::pair(part(a), a) < std::pair(part(b), b);
  });
  for (const fs::path& place : places)
    if (const fs::path found = place / "checkpoint"; fs::exists(found / "config.json", absent))
      return fmt::format(" (did you mean {}?)", found.string());
  return {};
}

// A trained multimodal reward model: a backbone and a head on the last token of the response. With the head "contrast" it
// is the backbone as it is: how much rather it would say the positive than the negative word after the response.
class MrmRewardModel final : public RewardModel {
 public:
  struct Params {
    fs::path checkpoint;
    std::string backbone;
    std::string head = "value_head";
    std::string head_input = "auto";
    std::string positive = "right";
    std::string negative = "wrong";
    std::string dtype;
    std::string device;
    std::string chat_template;
    std::string template_form;
    std::string video_rule;
    double video_fps = 0;
    std::int64_t video_max_frames = 0;
    std::int64_t video_max_pixels = 0;
    std::int64_t tokens_per_batch = 8192;
    std::int64_t batch_size = 64;
    std::int64_t image_max_pixels = 0;
    std::int64_t image_min_pixels = 0;
    std::int64_t cutoff_len = 0;
    int threads = 1;
    int encoder_threads = 0;

    static void describe(Schema<Params>& schema) {
      schema
          .field("checkpoint", &Params::checkpoint,
                 "Folder in Hugging Face layout with a reward head. `iterate` and `vote` set it "
                 "themselves.")
          .argument();
      schema.component<Backbone>(
          "backbone", &Params::backbone,
          "Backbone to use, shared with others; empty: the one that the checkpoint's config.json "
          "names, with the bounds and types given here.");
      schema
          .field("head", &Params::head,
                 "value_head: the trained head; contrast: no reward training, logit(positive) - "
                 "logit(negative) at the "
                 "end of the response.")
          .choices({"value_head", "contrast"});
      schema
          .field("head_input", &Params::head_input,
                 "Hidden state that the head reads: after or before the final norm, or auto: as "
                 "training.json says, else "
                 "final_norm. See `dt2it doctor`.")
          .choices({"auto", "final_norm", "before_norm"});
      schema.field("positive", &Params::positive, "Word for the head contrast; one token.");
      schema.field("negative", &Params::negative, "Word for the head contrast; one token.");
      schema.field("dtype", &Params::dtype,
                   "Type of weights and arithmetic: float32, bfloat16, checkpoint; empty: the "
                   "backbone's default.");
      schema.field("device", &Params::device,
                   "cpu, cuda, cuda:N, auto; empty: the backbone's default.");
      schema.field("template", &Params::chat_template,
                   "Chat template; empty: the backbone's default.");
      schema.field("template_form", &Params::template_form,
                   "llamafactory or huggingface; empty: the backbone's default.");
      schema.field("video_rule", &Params::video_rule,
                   "llamafactory or processor; empty: the backbone's default.");
      schema
          .field("video_fps", &Params::video_fps,
                 "Frames of each second of a video; 0: the backbone's default.")
          .min(0);
      schema
          .field("video_max_frames", &Params::video_max_frames,
                 "Most frames of a video; 0: the backbone's default.")
          .min(0);
      schema
          .field("video_max_pixels", &Params::video_max_pixels,
                 "Bound on the pixels of a video's frame; 0: the backbone's default.")
          .min(0);
      schema
          .field("tokens_per_batch", &Params::tokens_per_batch,
                 "Tokens of one forward pass. Nothing is padded; a prompt with all its responses "
                 "counts once.")
          .min(1);
      schema
          .field("batch_size", &Params::batch_size,
                 "Requests handed over at once; those with the same prompt share its computation.")
          .min(1);
      schema
          .field("image_max_pixels", &Params::image_max_pixels,
                 "Bound on the pixels of an image (paper: 1310720 in evaluation); 0: none.")
          .min(0);
      schema
          .field("image_min_pixels", &Params::image_min_pixels,
                 "Smaller images are scaled up; 0: none.")
          .min(0);
      schema
          .field("cutoff_len", &Params::cutoff_len,
                 "Bound on the tokens of prompt and response; 0: none.")
          .min(0);
      schema.field("threads", &Params::threads, "Threads for the computation.").min(1).max(256);
      schema
          .field("encoder_threads", &Params::encoder_threads,
                 "Threads that prepare text and images ahead of it; 0: as many as there are cores, "
                 "at most 8.")
          .min(0)
          .max(256);
    }
  };

  MrmRewardModel(const Params& params, Context& context) : params_(params), context_(context) {
    if (params.backbone.empty()) {
      if (params.checkpoint.empty())
        throw ConfigError("reward_models/mrm: parameter 'checkpoint' is required");
      backbone_ = context.make<Backbone>(model_type(), backbone_params());
    } else {
      backbone_ = context.component<Backbone>(params.backbone);
    }
    if (params.head == "contrast") {
      positive_ = one_token(params.positive);
      negative_ = one_token(params.negative);
    } else {
      try {
        head_ = nn::RewardHead::load(checkpoint(), backbone_->hidden_size());
      } catch (const ModelError& error) {
        throw ModelError(std::string(error.what()) +
                         "; a backbone without a reward head is asked with head = \"contrast\"");
      }
      state_ = head_input();
    }
    const int cores = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, 8);
    const auto tokens = static_cast<std::size_t>(params.tokens_per_batch);
    encoder_.emplace(*backbone_, params.encoder_threads > 0 ? params.encoder_threads : cores,
                     tokens, 4 * tokens);
  }

  ~MrmRewardModel() override { report(); }

  std::size_t batch_size() const override { return static_cast<std::size_t>(params_.batch_size); }
  RewardWork work() const override { return work_; }
  void finish(std::size_t) override { report(); }

  void prepare(std::span<const RewardRequest> requests) override {
    if (requests.empty()) {
      encoder_->drop();
      prepared_.clear();
      return;
    }
    encoder_->add(requests);
    prepared_.push_back(requests.data());
  }

  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    const at::NoGradGuard no_grad;
    at::set_num_threads(params_.threads);
    if (requests.empty()) return {};
    if (prepared_.empty() ||
        prepared_.front() != requests.data()) {  // not what was announced, or nothing was
      prepare({});
      prepare(requests);
    }
    prepared_.erase(prepared_.begin());
    std::vector<std::vector<Reward>> results(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i)
      results[i].resize(requests[i].responses.size());
    try {
      compute(requests, results);
    } catch (...) {
      prepare({});
      throw;
    }
    return results;
  }

 private:
  struct Pack {
    std::vector<RewardTree> trees;
    std::size_t tokens = 0;
  };

  // Fills pack after pack up to tokens_per_batch. Trees that show the same media go into one pack where they fit.
  void compute(std::span<const RewardRequest> requests, std::vector<std::vector<Reward>>& results) {
    const auto most = static_cast<std::size_t>(params_.tokens_per_batch);
    Pack pack, alike;  // `alike`: trees with the media `shown`
    std::optional<std::size_t> shown;
    const auto settle = [&] {
      if (pack.tokens + alike.tokens > most) evaluate(pack, results);
      for (RewardTree& tree : alike.trees) {
        const std::size_t tokens = tree.encoded.tree.tokens.size();
        if (pack.tokens + tokens > most) evaluate(pack, results);
        pack.tokens += tokens;
        pack.trees.push_back(std::move(tree));
      }
      alike = {};
    };
    std::size_t media = 0;
    for (std::vector<RewardTree> trees; encoder_->take(media, trees);) {
      if (shown != media || alike.tokens > most) settle();
      shown = media;
      for (RewardTree& tree : trees) {
        if (tree.encoded.status != Status::ok) {
          fail(tree, requests, results);
        } else if (!tree.places.empty()) {
          work_.cut += tree.encoded.cut;
          alike.tokens += tree.encoded.tree.tokens.size();
          alike.trees.push_back(std::move(tree));
        }
      }
    }
    settle();
    evaluate(pack, results);
  }

  void evaluate(Pack& pack, std::vector<std::vector<Reward>>& results) {
    if (pack.trees.empty()) return;
    std::vector<const TokenTree*> trees;
    std::vector<std::int64_t> rows;
    std::int64_t base = 0;
    for (const RewardTree& one : pack.trees) {
      const TokenTree& tree = one.encoded.tree;
      trees.push_back(&tree);
      for (const std::size_t end : tree.branch_ends)
        rows.push_back(base + static_cast<std::int64_t>(end) - 1);
      base += static_cast<std::int64_t>(tree.tokens.size());
    }
    const at::Tensor hidden = backbone_->forward(trees, state_, rows);
    at::Tensor values;
    if (head_.weight.defined()) {
      values = head_(hidden.to(at::kFloat).cpu());
    } else {
      const at::Tensor logits = backbone_->logits(hidden).to(at::kFloat);
      values = logits.select(1, positive_) - logits.select(1, negative_);
    }
    values = values.to(at::kDouble).cpu().contiguous();
    const double* value = values.data_ptr<double>();
    for (const RewardTree& tree : pack.trees) {
      for (const RewardTree::Place& place : tree.places)
        results[place.request][place.response] = {Status::ok, value[place.branch], {}};
      value += tree.encoded.tree.branch_ends.size();
    }
    work_.tokens += pack.tokens;
    pack = {};
  }

  void fail(const RewardTree& tree, std::span<const RewardRequest> requests,
            std::vector<std::vector<Reward>>& results) {
    for (const RewardTree::Place& place : tree.places) {
      Reward& reward = results[place.request][place.response];
      reward.status = tree.encoded.status;
      reward.detail = tree.encoded.detail;
    }
    if (failed_++ < kFailuresShown && !tree.places.empty())
      context_.log(LogLevel::warning,
                   fmt::format("prompt '{}': {}", requests[tree.places.front().request].prompt->id,
                               tree.encoded.detail));
  }

  // What went wrong in bulk, once.
  void report() {
    if (failed_ > kFailuresShown)
      context_.log(LogLevel::warning, fmt::format("{} prompts in all have no rewards", failed_));
    if (work_.cut > cut_reported_)
      context_.log(
          LogLevel::warning,
          fmt::format("{} prompts or responses were longer than cutoff_len = {} and lost their end",
                      work_.cut - cut_reported_, params_.cutoff_len));
    failed_ = 0;
    cut_reported_ = work_.cut;
  }

  const fs::path& checkpoint() const {
    return params_.checkpoint.empty() ? backbone_->checkpoint() : params_.checkpoint;
  }

  std::string model_type() const {
    const fs::path config = checkpoint() / "config.json";
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    std::string_view type;
    if (!fs::exists(config) && fs::exists(checkpoint() / "adapter_config.json"))
      throw ModelError(
          fmt::format("{0}: is a LoRA adapter; merge it first: dt2it convert {0} TARGET "
                      "--merge-adapter --base DIR "
                      "(the folder of its base model)",
                      checkpoint().string()));
    if (!fs::exists(config))
      throw ModelError(fmt::format("{}: no such file; a checkpoint's folder is needed{}",
                                   config.string(), checkpoint_hint(checkpoint())));
    if (parser.load(config.string()).get(root) || root["model_type"].get(type))
      throw ModelError(fmt::format("{}: has no model_type", config.string()));
    return std::string(type);
  }

  Table backbone_params() const {
    Table wanted;
    wanted["checkpoint"] = {params_.checkpoint.string()};
    const auto number = [&](const char* name, std::int64_t value) {
      if (value > 0) wanted[name] = {value};
    };
    const auto text = [&](const char* name, const std::string& value) {
      if (!value.empty()) wanted[name] = {value};
    };
    number("image_max_pixels", params_.image_max_pixels);
    number("image_min_pixels", params_.image_min_pixels);
    number("cutoff_len", params_.cutoff_len);
    text("dtype", params_.dtype);
    text("device", params_.device);
    text("template", params_.chat_template);
    text("template_form", params_.template_form);
    text("video_rule", params_.video_rule);
    number("video_max_frames", params_.video_max_frames);
    number("video_max_pixels", params_.video_max_pixels);
    if (params_.video_fps > 0) wanted["video_fps"] = {params_.video_fps};
    return wanted;
  }

  std::int64_t one_token(const std::string& word) const {
    const auto ids = backbone_->tokenize(word);
    if (ids.size() != 1)
      throw ConfigError(
          fmt::format("reward_models/mrm: '{}' is {} tokens, one is needed", word, ids.size()));
    return ids[0];
  }

  HiddenState head_input() const {
    std::string input = params_.head_input;
    if (input == "auto") input = stated_head_input(checkpoint());
    if (input.empty()) {
      const std::string doubt = doubt_about_head_input(checkpoint());
      if (!doubt.empty()) context_.log(LogLevel::warning, doubt);
    }
    return input == "before_norm" ? HiddenState::unnormed : HiddenState::normed;
  }

  const Params params_;
  Context& context_;
  std::shared_ptr<Backbone> backbone_;
  nn::RewardHead head_;
  HiddenState state_ = HiddenState::normed;
  std::int64_t positive_ = 0, negative_ = 0;
  RewardWork work_;
  std::size_t failed_ = 0;
  std::uint64_t cut_reported_ = 0;
  std::vector<const RewardRequest*> prepared_;  // announced and not asked for yet
  std::optional<EncoderThreads> encoder_;       // its threads use the backbone
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reward_models/mrm", "2.0.0", registrar) {
  registrar.add<dt2it::RewardModel, dt2it::MrmRewardModel>(
      "mrm", "A multimodal reward model from a checkpoint folder.");
}
