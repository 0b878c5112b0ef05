// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dt2it/diversity_strategy.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/plugin.hpp"
#include "image_noise.hpp"

namespace dt2it {
namespace {

constexpr std::string_view kWriterNote =
    "For your eyes only, here is an answer that is known to be right in substance. Use it to get "
    "the facts "
    "right, look at the image for the rest, and answer the question above as well as you can, in "
    "your own "
    "words and manner. Do not mention or hint that you were given an answer.";

// The block around the reference answer must not be closed by the answer itself.
std::string without_closing_tag(std::string text) {
  constexpr std::string_view kName = "reference_answer";
  for (std::size_t at = text.find('<'); at != std::string::npos; at = text.find('<', at + 1)) {
    std::size_t i = at + 1;
    while (i < text.size() &&
           (text[i] == '/' || std::isspace(static_cast<unsigned char>(text[i])) != 0))
      ++i;
    std::string word = text.substr(i, kName.size());
    for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (word == kName) text.replace(at, 1, "&lt;");
  }
  return text;
}

// Adds a better answer where all candidates scored low, worse ones where all scored high (paper
// section 3.1, step 4). Only candidates with a score count; thread-safe: only constant members.
class EnhanceDiversity final : public DiversityStrategy {
 public:
  struct Params {
    double low = 5.8;
    double high = 7.9;
    std::vector<std::string> proprietary;
    int better_count = 1;
    int noised_count = 2;
    std::string noise = "gaussian";
    double strength = 0.35;
    double temperature = 0.9;
    double top_p = 0.9;
    std::optional<std::int64_t> max_tokens;
  };

  static void describe(Schema<Params>& schema) {
    schema.field("low", &Params::low, "All scores below this: better answers are added.")
        .min(0)
        .max(10);
    schema
        .field("high", &Params::high,
               "All scores above this: answers from noised images are added.")
        .min(0)
        .max(10);
    schema.component<Mllm>("proprietary", &Params::proprietary,
                           "Writers of better answers; one is drawn at random for each prompt.");
    schema.field("better_count", &Params::better_count, "Better answers to add.").min(0);
    schema.field("noised_count", &Params::noised_count, "Answers from noised images to add.")
        .min(0);
    schema.field("noise", &Params::noise, "Kind of noise.").choices(noise_kinds());
    schema
        .field("strength", &Params::strength,
               "How strong the noise is, 0 (none) to 1; its meaning for each kind is in the "
               "plugin's README.")
        .min(0)
        .max(1);
    schema.field("temperature", &Params::temperature, "Sampling temperature of added answers.")
        .min(0)
        .max(2);
    schema.field("top_p", &Params::top_p, "Nucleus of added answers.").min(0).max(1);
    schema
        .field("max_tokens", &Params::max_tokens,
               "Longest answer, in tokens; not given: the model's own limit.")
        .min(1);
  }

  EnhanceDiversity(const Params& params, Context& context) : params_(params), context_(&context) {
    if (params.low > params.high)
      throw ConfigError(
          fmt::format("low ({}) must not be above high ({})", params.low, params.high));
    if (params.better_count > 0 && params.proprietary.empty())
      throw ConfigError("proprietary: name at least one MLLM, or set better_count = 0");
    for (const std::string& name : params.proprietary)
      writers_.push_back(context.component<Mllm>(name));
  }

  std::vector<Response> extend(const Prompt& prompt, std::span<const Response> candidates,
                               std::span<const Score> scores) override {
    std::size_t scored = 0, low = 0, high = 0;
    for (const Score& score : scores) {
      if (!score.ok()) continue;
      ++scored;
      if (score.overall < params_.low) ++low;
      if (score.overall > params_.high) ++high;
    }
    if (scored == 0) {
      if (!scores.empty()) say(LogLevel::debug, prompt, "no candidate has a score");
      return {};
    }
    if (scored < scores.size() && (low == scored || high == scored))
      say(LogLevel::debug, prompt,
          fmt::format("{} of {} candidates have no score and do not count", scores.size() - scored,
                      scores.size()));
    if (low == scored && params_.better_count > 0) return better(prompt, candidates);
    if (high == scored && params_.noised_count > 0) return noised(prompt, candidates);
    return {};
  }

 private:
  std::vector<Response> better(const Prompt& prompt, std::span<const Response> candidates) const {
    if (prompt.reference.empty()) {
      say(LogLevel::warning, prompt,
          "all candidates are low, but there is no reference answer to write from");
      return {};
    }
    for (const Message& message : prompt.messages)
      for (const Part& part : message.content)
        if (part.kind != Part::Kind::text && !part.media.present()) {
          say(LogLevel::warning, prompt,
              "all candidates are low, but the prompt's image is absent");
          return {};
        }
    const std::size_t drawn = context_->rng("better/" + prompt.id).below(writers_.size());

    ChatRequest request = ask(prompt.messages, "better");
    const std::string note = fmt::format("{}\n<reference_answer>\n{}\n</reference_answer>",
                                         kWriterNote, without_closing_tag(prompt.reference));
    if (request.messages.empty() || request.messages.back().role != Message::Role::user)
      request.messages.push_back({Message::Role::user, {}});
    request.messages.back().content.push_back(Part::of_text(note));

    std::vector<Response> added;
    for (int i = 0; i < params_.better_count; ++i) {
      request.sampling.sample = i;
      added.push_back(answer(*writers_[drawn], request, "better"));
      added.back().mllm = params_.proprietary[drawn];
      added.back().id = free_id("better", i, candidates);
    }
    return added;
  }

  // The writer of the candidates answers again, from noised images: the manner of all answers stays
  // one.
  std::vector<Response> noised(const Prompt& prompt, std::span<const Response> candidates) const {
    const auto writer =
        std::find_if(candidates.begin(), candidates.end(),
                     [](const Response& candidate) { return !candidate.mllm.empty(); });
    if (writer == candidates.end()) {
      say(LogLevel::warning, prompt,
          "all candidates are high, but it is not known which MLLM wrote them");
      return {};
    }
    const std::shared_ptr<Mllm> mllm = context_->component<Mllm>(writer->mllm);

    std::vector<Response> added;
    for (int i = 0; i < params_.noised_count; ++i) {
      ChatRequest request = ask(prompt.messages, "noised");
      request.sampling.sample = i;
      Rng rng = context_->rng(fmt::format("noise/{}/{}", prompt.id, i));
      Media first;
      for (Message& message : request.messages)
        for (Part& part : message.content) {
          if (part.kind != Part::Kind::image) continue;
          const DecodedImage decoded = context_->media().decode(part.media);
          if (decoded.status != Status::ok) {
            say(LogLevel::warning, prompt,
                "all candidates are high, but an image cannot be noised: " + decoded.detail);
            return {};
          }
          const Image worse = add_noise(decoded.image, params_.noise, params_.strength, rng);
          part.media = context_->media().put_image(
              worse, fmt::format("{} noise of {}", params_.noise, part.media.id));
          if (!first.present()) first = part.media;
        }
      if (!first.present()) {
        say(LogLevel::warning, prompt,
            "all candidates are high, but the prompt has no image to noise");
        return {};
      }
      added.push_back(answer(*mllm, request, "noised"));
      added.back().mllm = writer->mllm;
      added.back().id = free_id("noised", i, candidates);
      added.back().noised_image = first;
    }
    return added;
  }

  ChatRequest ask(const std::vector<Message>& messages, std::string purpose) const {
    ChatRequest request;
    request.messages = messages;
    request.sampling.temperature = params_.temperature;
    request.sampling.top_p = params_.top_p;
    request.sampling.max_tokens = params_.max_tokens;
    request.purpose = std::move(purpose);
    return request;
  }

  static Response answer(Mllm& mllm, const ChatRequest& request, std::string origin) {
    const ChatReply reply = mllm.chat(request);
    Response response;
    response.text = reply.text;
    response.status = reply.status;
    response.finish_reason = reply.finish_reason;
    response.origin = std::move(origin);
    return response;
  }

  static std::string free_id(std::string_view stem, int index, std::span<const Response> taken) {
    std::string id = fmt::format("{}-{}", stem, index + 1);
    const auto is_taken = [&] {
      return std::any_of(taken.begin(), taken.end(),
                         [&](const Response& response) { return response.id == id; });
    };
    while (is_taken()) id += "+";
    return id;
  }

  void say(LogLevel level, const Prompt& prompt, const std::string& what) const {
    context_->log(level, fmt::format("prompt '{}': {}", prompt.id, what));
  }

  Params params_;
  Context* context_;
  std::vector<std::shared_ptr<Mllm>> writers_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("diversity/enhance", "1.0.0", registrar) {
  registrar.add<dt2it::DiversityStrategy, dt2it::EnhanceDiversity>(
      "enhance",
      "Adds a better answer where all candidates are bad, worse ones where all are good.");
}
