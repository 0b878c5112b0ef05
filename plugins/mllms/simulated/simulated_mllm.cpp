// SPDX-License-Identifier: Apache-2.0
#include "plugins/mllms/simulated/simulated_mllm.hpp"

#include <algorithm>
#include <cctype>

#include "dt2it/error.hpp"
#include "plugins/common/mini_world/recogniser.hpp"

namespace dt2it::simulated {
namespace {

using namespace mini_world;

constexpr std::int64_t kTokensPerImage = 16;  // of the mini backbone

// Four characters a token, the usual rule of thumb for English.
std::int64_t tokens_of(std::size_t characters) {
  return static_cast<std::int64_t>((characters + 3) / 4);
}

// How hard this question is about these pictures, for all models alike.
double difficulty(const Question& question, const Request& request) {
  std::uint64_t hash = stable_hash(question_text(question));
  for (const Media& media : request.media) hash = stable_hash(media.id, hash);
  return Rng(hash).normal(0, kDifficultyDeviation);
}

}  // namespace

void SimulatedMllm::Params::describe(Schema<Params>& schema) {
  schema
      .field("ability", &Params::ability,
             "How able the author is: P(right) = sigmoid(2.5 (ability - hardness of the kind of "
             "question - "
             "difficulty of the single question)). The pool runs from -0.1 to 1.6, proprietary "
             "writers have 2.5.")
      .min(-10)
      .max(10);
  schema.field("style", &Params::style, "How it writes.")
      .choices({mini_world::kStyleNames.begin(), mini_world::kStyleNames.end()})
      .argument();
  schema
      .field("claims", &Params::claims,
             "Probabilities of 0, 1 and 2 claims beside the answer; three numbers.")
      .min(0);
  schema.field("garble", &Params::garble, "Probability of a stutter in an answer.").min(0).max(1);
  schema
      .field("eyesight", &Params::eyesight,
             "How far an object must stand out of the noise to be seen rightly half of the time "
             "(its energy by the "
             "variance of the noise); clean pictures have 10,000 and more. 0: whatever the "
             "recogniser finds.")
      .min(0);
  schema
      .field("judge_noise", &Params::judge_noise,
             "As a judge: standard deviation of each criterion's score, on the scale 0 to 10.")
      .min(0)
      .max(10);
  schema
      .field("position_bias", &Params::position_bias,
             "As a judge: points added to the first response of a list and taken from the last, "
             "linear between; "
             "half of it when two are compared. None when one response is judged alone.")
      .min(-10)
      .max(10);
  schema
      .field("style_liking", &Params::style_liking,
             "As a judge: points added for a good-looking style (verbose, bullet, friendly, step).")
      .min(-10)
      .max(10);
  schema
      .field("misread", &Params::misread,
             "As a judge: probability of taking right for wrong, or wrong for right, in one "
             "response; the same "
             "response is misread in every protocol.")
      .min(0)
      .max(1);
  schema
      .field("break_json", &Params::break_json,
             "As a judge: probability that the reply stops in the middle.")
      .min(0)
      .max(1);
  schema.field(
      "seed", &Params::seed,
      "Seed of this model's draws. Not given: the experiment's seed and the component's name.");
}

SimulatedMllm::SimulatedMllm(const Params& params, Context& context)
    : params_(params),
      traits_{params.judge_noise, params.position_bias, params.style_liking, params.misread,
              params.break_json},
      identity_(params.seed ? stable_hash("simulated", static_cast<std::uint64_t>(*params.seed))
                            : context.rng("simulated").next()),
      context_(context) {
  double sum = 0;
  for (double share : params.claims) sum += share < 0 ? -1e9 : share;
  if (params.claims.size() != 3 || sum <= 0)
    throw ConfigError(
        "claims: the probabilities of 0, 1 and 2 claims are expected (allowed: three numbers that "
        "are "
        "not negative and not all 0)");
  const auto style = style_named(params.style);
  if (!style) throw ConfigError("style: '" + params.style + "' is unknown");
  author_ = {params.ability,
             *style,
             {params.claims[0], params.claims[1], params.claims[2]},
             params.garble};
}

// The recogniser is a matched filter and finds what no model of this kind would: what hardly stands
// out of the noise is overlooked or taken for something else.
Scene SimulatedMllm::perceive(const Image& image, const std::string& id) const {
  const Perception perception = recognise(image);
  Rng rng(stable_hash(id, identity_));
  Scene scene;
  for (std::size_t i = 0; i < perception.scene.objects.size(); ++i) {
    Object object = perception.scene.objects[i];
    const double clear = perception.clearness[i] * perception.clearness[i];
    const bool seen = rng.chance(clear / (clear + params_.eyesight * params_.eyesight));
    const bool overlooked = rng.chance(.5);
    const int noun = rng.integer(1, kNounCount - 1);
    const int colour = rng.integer(0, kColourCount - 1);
    if (!seen && overlooked) continue;
    if (!seen) {
      object.noun = (object.noun + noun) % kNounCount;
      object.colour = (object.colour + colour) % kColourCount;
    }
    scene.objects.push_back(object);
  }
  return scene;
}

std::shared_ptr<const SimulatedMllm::Sight> SimulatedMllm::look(const Media& media) {
  Media picture = media;
  if (media.kind == Media::Kind::video &&
      !media.frames.empty()) {  // of a video it sees the first frame
    picture = {};
    picture.id = media.frames.front();
  }
  {
    std::shared_lock lock(mutex_);
    if (const auto known = seen_.find(picture.id); known != seen_.end()) return known->second;
  }
  auto sight = std::make_shared<Sight>();
  if (!picture.id.empty()) {
    DecodedImage decoded = context_.media().decode(picture);
    sight->status = decoded.status;
    sight->detail = std::move(decoded.detail);
    if (decoded.status == Status::ok) sight->scene = perceive(decoded.image, picture.id);
  } else {
    sight->detail = "the request names an image that is absent: " + media.source;
  }
  std::unique_lock lock(mutex_);
  return picture.id.empty() ? sight : seen_.try_emplace(picture.id, std::move(sight)).first->second;
}

std::string SimulatedMllm::answer(const Request& request, const std::optional<Question>& question,
                                  std::span<const Scene> scenes, Rng& rng) const {
  if (!question) return "I am not fully sure what the request is.";
  std::optional<Reading> reference;
  if (request.reference) reference = parse_response(*request.reference);
  const Statement statement =
      respond(author_, *question, scenes, difficulty(*question, request), reference, rng);
  return response_text(statement, author_.style, rng);
}

ChatReply SimulatedMllm::chat(const ChatRequest& chat) {
  const Request request = read_request(chat);
  ChatReply reply;
  reply.model = "simulated-" + params_.style;
  reply.usage.prompt_tokens = tokens_of(request.characters) +
                              kTokensPerImage * static_cast<std::int64_t>(request.media.size());
  if (request.question.empty() && request.media.empty()) {
    reply.status = Status::invalid;
    reply.detail = "the request has no user message with text or an image";
    return reply;
  }

  std::vector<Scene> scenes;
  for (const Media& media : request.media) {
    const auto sight = look(media);
    if (sight->status != Status::ok) {
      reply.status = sight->status;
      reply.detail = sight->detail;
      return reply;
    }
    scenes.push_back(sight->scene);
  }

  const auto question = parse_question(request.question);
  Rng rng(stable_hash("chat", identity_ ^ request.hash));
  reply.text = request.task == Task::answer
                   ? answer(request, question, scenes, rng)
                   : judge(request, question, scenes, traits_, identity_, rng);
  reply.status = Status::ok;
  reply.finish_reason = "stop";
  reply.usage.completion_tokens = tokens_of(reply.text.size());
  if (chat.sampling.max_tokens && reply.usage.completion_tokens > *chat.sampling.max_tokens) {
    reply.usage.completion_tokens = std::max<std::int64_t>(0, *chat.sampling.max_tokens);
    reply.text.resize(static_cast<std::size_t>(4 * reply.usage.completion_tokens));
    reply.finish_reason = "length";
    reply.status = Status::truncated;
    reply.detail = "the answer was cut at max_tokens";
  }
  return reply;
}

}  // namespace dt2it::simulated
