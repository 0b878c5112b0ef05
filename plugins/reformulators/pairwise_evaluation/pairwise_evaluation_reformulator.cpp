// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <string_view>

#include "dt2it/plugin.hpp"
#include "dt2it/reformulator.hpp"

namespace dt2it {
namespace {

// Turns "image A suits this text better than image B" into a question about two images whose right
// answer is known (paper section 3.2, eq. 3). Thread-safe: only constant members.
class PairwiseEvaluationReformulator final : public Reformulator {
 public:
  struct Params {
    std::string evaluation =
        "Compare the two images. Weigh how faithfully each one shows what the description asks for "
        "(objects, "
        "attributes, counts and relations) and how good the picture itself is (sharpness, "
        "composition, "
        "absence of visible faults). Which image is better?";
    std::string question = "Both images were made from this description:\n{prompt}\n\n{evaluation}";
    std::string first_label = "Image 1:";
    std::string second_label = "Image 2:";
    std::string first_better = "Image 1 is better than Image 2.";
    std::string second_better = "Image 2 is better than Image 1.";
  };

  static void describe(Schema<Params>& schema) {
    schema.field("evaluation", &Params::evaluation, "The evaluation prompt: what to compare.");
    schema.field(
        "question", &Params::question,
        "Text after the images; {prompt} is the text the images were made from, {evaluation} the "
        "evaluation prompt.");
    schema.field("first_label", &Params::first_label,
                 "Words before the first image; may be empty.");
    schema.field("second_label", &Params::second_label,
                 "Words before the second image; may be empty.");
    schema.field("first_better", &Params::first_better, "Response that prefers the first image.");
    schema.field("second_better", &Params::second_better,
                 "Response that prefers the second image.");
  }

  PairwiseEvaluationReformulator(const Params& params, Context& context)
      : params_(params), context_(&context) {
    if (params.question.find("{prompt}") == std::string::npos)
      throw ConfigError("question: it must contain {prompt}, where the text of the images goes");
    if (params.first_better == params.second_better)
      throw ConfigError("first_better and second_better must differ");
  }

  PreferencePair reformulate(const ImagePreference& preference) override {
    // Half of the better images come first, so the place says nothing.
    const bool better_first = context_->rng("order/" + preference.id).chance(0.5);
    const Media& first = better_first ? preference.better : preference.worse;
    const Media& second = better_first ? preference.worse : preference.better;

    Message message;
    const auto add_text = [&](const std::string& text) {
      if (!text.empty()) message.content.push_back(Part::of_text(text));
    };
    add_text(params_.first_label);
    message.content.push_back(Part::of_image(first));
    add_text(params_.second_label);
    message.content.push_back(Part::of_image(second));
    add_text(filled(preference.text));

    PreferencePair pair;
    pair.id = preference.id;
    pair.source = preference.source;
    pair.group = "text_to_image";
    pair.extra = preference.extra;
    pair.prompt.id = preference.id;
    pair.prompt.source = preference.source;
    pair.prompt.messages = {std::move(message)};
    pair.chosen = response("chosen", better_first ? params_.first_better : params_.second_better);
    pair.rejected =
        response("rejected", better_first ? params_.second_better : params_.first_better);
    return pair;
  }

 private:
  static Response response(std::string id, std::string text) {
    Response made;
    made.id = std::move(id);
    made.text = std::move(text);
    made.origin = "dataset";
    return made;
  }

  // One pass, so that braces in the user's text are left alone.
  std::string filled(const std::string& text) const {
    constexpr std::string_view kPrompt = "{prompt}", kEvaluation = "{evaluation}";
    const std::string_view form = params_.question;
    std::string result;
    for (std::size_t i = 0; i < form.size();) {
      if (form.substr(i).starts_with(kPrompt)) {
        result += text;
        i += kPrompt.size();
      } else if (form.substr(i).starts_with(kEvaluation)) {
        result += params_.evaluation;
        i += kEvaluation.size();
      } else {
        result += form[i++];
      }
    }
    return result;
  }

  Params params_;
  Context* context_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reformulators/pairwise_evaluation", "1.0.0", registrar) {
  registrar.add<dt2it::Reformulator, dt2it::PairwiseEvaluationReformulator>(
      "pairwise_evaluation",
      "A question about both images, answered by the name of the better one.");
}
