// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>

#include "core/nn/safetensors.hpp"
#include "core/nn/reward_head.hpp"
#include "dt2it/backbone.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

// A trained multimodal reward model: a backbone and a linear head on the last token of the response. With the head
// "contrast" it is the backbone as it is: how much rather it would say the positive than the negative word after the
// response.
class MrmRewardModel final : public RewardModel {
 public:
  struct Params {
    fs::path checkpoint;
    std::string head = "value_head";
    std::string head_input = "auto";
    std::string positive = "right";
    std::string negative = "wrong";
    std::int64_t batch_tokens = 8192;
    std::int64_t batch_size = 256;
    std::int64_t image_max_pixels = 0;
    std::int64_t cutoff_len = 0;
    int threads = 1;

    static void describe(Schema<Params>& schema) {
      schema.field("checkpoint", &Params::checkpoint,
                   "Folder in Hugging Face layout with a reward head. `iterate` and `vote` set it themselves.")
          .argument();
      schema.field("head", &Params::head,
                   "value_head: the trained head; contrast: no reward training, logit(positive) - logit(negative) at the "
                   "end of the response.")
          .choices({"value_head", "contrast"});
      schema.field("head_input", &Params::head_input,
                   "Hidden state that the head reads: normed, unnormed, or auto: as training.json says, else normed.")
          .choices({"auto", "normed", "unnormed"});
      schema.field("positive", &Params::positive, "Word for the head contrast; one token.");
      schema.field("negative", &Params::negative, "Word for the head contrast; one token.");
      schema.field("batch_tokens", &Params::batch_tokens, "Tokens of one forward pass, padding included.").min(1);
      schema.field("batch_size", &Params::batch_size, "Requests handed over at once; they are sorted by length within.")
          .min(1);
      schema.field("image_max_pixels", &Params::image_max_pixels,
                   "Bound on the pixels of an image (paper: 1310720 in evaluation); 0: none.")
          .min(0);
      schema.field("cutoff_len", &Params::cutoff_len, "Bound on the tokens of prompt and response; 0: none.").min(0);
      schema.field("threads", &Params::threads, "Threads for the computation.").min(1).max(256);
    }
  };

  MrmRewardModel(const Params& params, Context& context) : params_(params), context_(context) {
    if (params.checkpoint.empty()) throw ConfigError("reward_models/mrm: parameter 'checkpoint' is required");
    simdjson::dom::parser parser;
    const fs::path config = params.checkpoint / "config.json";
    const std::string text = nn::read_text_file(config);
    simdjson::dom::element root;
    std::string_view type;
    if (parser.parse(text).get(root) || root["model_type"].get(type))
      throw ModelError(fmt::format("{}: has no model_type", config.string()));
    Table wanted;
    wanted["checkpoint"] = {params.checkpoint.string()};
    if (params.image_max_pixels > 0) wanted["image_max_pixels"] = {params.image_max_pixels};
    if (params.cutoff_len > 0) wanted["cutoff_len"] = {params.cutoff_len};
    backbone_ = context.make<Backbone>(type, wanted);

    if (params.head == "contrast") {
      const auto one_token = [&](const std::string& word) {
        const auto ids = backbone_->tokenize(word);
        if (ids.size() != 1)
          throw ConfigError(fmt::format("reward_models/mrm: '{}' is {} tokens, one is needed", word, ids.size()));
        return ids[0];
      };
      positive_ = one_token(params.positive);
      negative_ = one_token(params.negative);
    } else {
      head_ = nn::RewardHead::load(params.checkpoint, backbone_->hidden_size());
      state_ = head_input(parser);
    }
  }

  std::size_t batch_size() const override { return static_cast<std::size_t>(params_.batch_size); }

  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    const at::NoGradGuard no_grad;
    at::set_num_threads(params_.threads);
    std::vector<std::vector<Reward>> results(requests.size());
    std::vector<EncodedTree> encoded;
    std::vector<std::size_t> usable;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      std::vector<std::string_view> texts;
      for (const Response& response : requests[i].responses) texts.push_back(response.text);
      encoded.push_back(backbone_->encode(*requests[i].prompt, texts));
      results[i].assign(texts.size(), Reward{encoded[i].status});
      if (encoded[i].status == Status::ok)
        usable.push_back(i);
      else
        context_.log(LogLevel::warning, fmt::format("prompt '{}': {}", requests[i].prompt->id, encoded[i].detail));
    }
    // Trees of similar length together: little padding.
    const auto length = [&](std::size_t i) { return encoded[i].tree.tokens.size(); };
    std::stable_sort(usable.begin(), usable.end(), [&](auto a, auto b) { return length(a) > length(b); });
    for (std::size_t begin = 0; begin < usable.size();) {
      const std::size_t longest = length(usable[begin]);
      const std::size_t room = std::max<std::size_t>(1, static_cast<std::size_t>(params_.batch_tokens) / longest);
      const std::size_t end = std::min(usable.size(), begin + room);
      evaluate(std::span(usable).subspan(begin, end - begin), encoded, results);
      begin = end;
    }
    return results;
  }

 private:
  void evaluate(std::span<const std::size_t> batch, const std::vector<EncodedTree>& encoded,
                std::vector<std::vector<Reward>>& results) {
    std::vector<const TokenTree*> trees;
    std::vector<std::int64_t> rows;
    std::int64_t base = 0;
    for (const std::size_t i : batch) {
      const TokenTree& tree = encoded[i].tree;
      trees.push_back(&tree);
      for (const std::size_t end : tree.branch_ends) rows.push_back(base + static_cast<std::int64_t>(end) - 1);
      base += static_cast<std::int64_t>(tree.tokens.size());
    }
    at::Tensor index = at::empty({static_cast<std::int64_t>(rows.size())}, at::kLong);
    std::copy(rows.begin(), rows.end(), index.data_ptr<std::int64_t>());
    const at::Tensor hidden = backbone_->forward(trees, state_).index_select(0, index);
    at::Tensor values;
    if (head_.weight.defined()) {
      values = head_(hidden);
    } else {
      const at::Tensor logits = backbone_->logits(hidden);
      values = logits.select(1, positive_) - logits.select(1, negative_);
    }
    values = values.to(at::kDouble).contiguous();
    const double* value = values.data_ptr<double>();
    for (const std::size_t i : batch)
      for (Reward& reward : results[i]) reward.value = *value++;
  }

  HiddenState head_input(simdjson::dom::parser& parser) const {
    std::string input = params_.head_input;
    const fs::path training = params_.checkpoint / "training.json";
    if (input == "auto" && fs::exists(training)) {
      const std::string text = nn::read_text_file(training);
      simdjson::dom::element root;
      std::string_view said;
      if (!parser.parse(text).get(root) && !root["head_input"].get(said)) input = said;
    }
    return input == "unnormed" ? HiddenState::unnormed : HiddenState::normed;
  }

  const Params params_;
  Context& context_;
  std::shared_ptr<Backbone> backbone_;
  nn::RewardHead head_;
  HiddenState state_ = HiddenState::normed;
  std::int64_t positive_ = 0, negative_ = 0;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reward_models/mrm", "1.0.0", registrar) {
  registrar.add<dt2it::RewardModel, dt2it::MrmRewardModel>("mrm", "A multimodal reward model from a checkpoint folder.");
}
