// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dt2it/mllm.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/request_key.hpp"
#include "engine.hpp"

namespace dt2it::local {
namespace {

// A checkpoint on this machine that answers. Thread-safe.
class LocalMllm final : public Mllm {
 public:
  struct Params {
    std::string backbone;
    double temperature = 1;
    double top_p = 1;
    std::int64_t top_k = 0;
    double min_p = 0;
    double repetition_penalty = 1;
    std::int64_t max_tokens = 1024;
    std::vector<std::string> stop;
    std::int64_t seed = 0;
    std::int64_t max_batch = 16;
    double max_wait = 0.005;
    int threads = 1;

    static void describe(Schema<Params>& schema) {
      schema.component<Backbone>("backbone", &Params::backbone, "The model that answers.")
          .required()
          .argument();
      schema
          .field(
              "temperature", &Params::temperature,
              "Logits are divided by it; 0: always the likeliest token. For calls that state none.")
          .min(0);
      schema
          .field("top_p", &Params::top_p,
                 "Draw among the fewest tokens that together have this probability; 1: among all. "
                 "For calls that state none.")
          .min(0)
          .max(1);
      schema.field("top_k", &Params::top_k, "Draw among the k likeliest tokens; 0: among all.")
          .min(0);
      schema
          .field("min_p", &Params::min_p,
                 "Draw among tokens with at least this share of the likeliest one's probability; "
                 "0: among all.")
          .min(0)
          .max(1);
      schema
          .field("repetition_penalty", &Params::repetition_penalty,
                 "Makes tokens of the prompt and of the answer so far less likely; 1: no penalty.")
          .min(0.01);
      schema
          .field("max_tokens", &Params::max_tokens,
                 "Longest answer in tokens, for calls that state none.")
          .min(1);
      schema.field("stop", &Params::stop, "Texts that end an answer; they are not part of it.");
      schema.field("seed", &Params::seed,
                   "Other draws for another number, beside the experiment's own seed.");
      schema.field("max_batch", &Params::max_batch, "Answers that are decoded together.")
          .min(1)
          .max(4096);
      schema
          .field("max_wait", &Params::max_wait,
                 "Seconds that a prompt waits for others, such as further samples of itself, "
                 "before it begins.")
          .min(0)
          .max(60);
      schema.field("threads", &Params::threads, "Threads for the computation.").min(1).max(256);
    }
  };

  LocalMllm(const Params& params, Context& context)
      : params_(params),
        context_(context),
        engine_(backbone_of(params, context), options_of(params)) {}

  ChatReply chat(const ChatRequest& request) override {
    const Sampling& asked = request.sampling;
    nn::SamplingSettings settings{asked.temperature.value_or(params_.temperature), params_.top_k,
                                  asked.top_p.value_or(params_.top_p), params_.min_p,
                                  params_.repetition_penalty};
    const std::int64_t max_tokens = asked.max_tokens.value_or(params_.max_tokens);
    ChatReply wrong;
    wrong.status = Status::invalid;
    if (request.messages.empty())
      wrong.detail = "the request has no messages";
    else if (!std::isfinite(settings.temperature) || settings.temperature < 0)
      wrong.detail = fmt::format("temperature {} (allowed: 0 or more)", settings.temperature);
    else if (!(settings.top_p >= 0 && settings.top_p <= 1))
      wrong.detail = fmt::format("top_p {} (allowed: 0 to 1)", settings.top_p);
    else if (max_tokens < 1)
      wrong.detail = fmt::format("max_tokens {} (allowed: 1 or more)", max_tokens);
    if (!wrong.detail.empty()) return wrong;

    ChatRequest
        question;  // what the random numbers depend on; not, for example, how long an answer may be
    question.messages = request.messages;
    Rng rng = context_.rng(
        fmt::format("answer/{}/{}/{}", params_.seed, request_key(question), asked.sample));
    return engine_.answer(request.messages, {settings, max_tokens, rng});
  }

 private:
  static std::shared_ptr<Backbone> backbone_of(const Params& params, Context& context) {
    if (params.backbone.empty()) throw ConfigError("mllms/local: parameter 'backbone' is required");
    return context.component<Backbone>(params.backbone);
  }
  static Engine::Options options_of(const Params& params) {
    for (const std::string& stop : params.stop)
      if (stop.empty())
        throw ConfigError("mllms/local: an empty text in 'stop' would end every answer at once");
    return {static_cast<std::size_t>(params.max_batch),
            std::chrono::duration<double>(params.max_wait), params.threads, params.stop};
  }

  const Params params_;
  Context& context_;
  Engine engine_;
};

}  // namespace
}  // namespace dt2it::local

DT2IT_PLUGIN("mllms/local", "1.1.0", registrar) {
  registrar.add<dt2it::Mllm, dt2it::local::LocalMllm>(
      "local", "A model on this machine; answers are decoded together.");
}
