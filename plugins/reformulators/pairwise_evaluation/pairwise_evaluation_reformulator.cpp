// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dt2it/plugin.hpp"
#include "dt2it/reformulator.hpp"
#include "plugins/reformulators/image_size.hpp"

namespace dt2it {
namespace {

// Turns "image A suits this text better than image B" into a question about two images whose right
// answer is known (paper section 3.2, eq. 3). Which image comes first is balanced exactly: of two
// preferences of one source that follow each other, one has its better image first, drawn at random
// which. Thread-safe; the same preference gets the same place again.
class PairwiseEvaluationReformulator final : public Reformulator {
 public:
  struct Params : ImageSizeParams {
    std::vector<std::string> evaluations = {
        "Compare the two images. Weigh how faithfully each one shows what the description asks for "
        "(objects, attributes, counts and "
        "relations) and how good the picture itself is (sharpness, composition, absence of visible "
        "faults). Which image is better?",
        "Judge both pictures by two things: does everything that the description names appear, as "
        "described and where described; and "
        "does the picture look right, without broken shapes or smears? Say which of the two you "
        "would keep.",
        "A person who wrote this description gets to choose one of the two images. Consider what "
        "is missing, added or wrong in each, "
        "then how pleasing it looks. Which one should be chosen?"};
    std::vector<std::string> questions = {
        "Both images were made from this description:\n{prompt}\n\n{evaluation}"};
    std::string first_label = "Image 1:";
    std::string second_label = "Image 2:";
    std::vector<std::string> verdicts = {
        "{better} is better than {worse}.", "{better} is the better one of the two.",
        "I would choose {better} over {worse}.", "Compared with {worse}, {better} is better."};
  };

  static void describe(Schema<Params>& schema) {
    schema.field("evaluations", &Params::evaluations,
                 "Evaluation prompts: what to compare. One is drawn for each preference.");
    schema.field("questions", &Params::questions,
                 "Texts after the images, of which one is drawn; {prompt} is the text the images "
                 "were made from, {evaluation} the "
                 "evaluation prompt.");
    schema.field("first_label", &Params::first_label,
                 "Words before the first image; may be empty.");
    schema.field("second_label", &Params::second_label,
                 "Words before the second image; may be empty.");
    schema.field("verdicts", &Params::verdicts,
                 "Responses, of which one is drawn, the same for chosen and rejected; {better} and "
                 "{worse} are the images' labels "
                 "without a colon.");
    describe_image_size(schema);
  }

  PairwiseEvaluationReformulator(const Params& params, Context& context)
      : params_(params), context_(context), sizer_(params, context) {
    if (params.evaluations.empty() || params.questions.empty() || params.verdicts.empty())
      throw ConfigError("evaluations, questions and verdicts: give at least one each");
    for (const std::string& question : params.questions)
      if (question.find("{prompt}") == std::string::npos)
        throw ConfigError(
            "questions: each must contain {prompt}, where the text of the images goes ('" +
            question + "' does not)");
    for (const std::string& verdict : params.verdicts)
      if (verdict.find("{better}") == std::string::npos)
        throw ConfigError("verdicts: each must contain {better}, the label of the better image ('" +
                          verdict + "' does not)");
    names_[0] = name_of(params.first_label, "Image 1");
    names_[1] = name_of(params.second_label, "Image 2");
    if (names_[0] == names_[1]) throw ConfigError("first_label and second_label must differ");
  }

  PreferencePair reformulate(const ImagePreference& preference) override {
    const bool better_first = place_of(preference);
    auto [better, worse] = sizer_.fit(preference.better, preference.worse);
    Rng rng = context_.rng("words/" + preference.id);
    const std::string& evaluation = params_.evaluations[rng.below(params_.evaluations.size())];
    const std::string& question = params_.questions[rng.below(params_.questions.size())];
    const std::string& verdict = params_.verdicts[rng.below(params_.verdicts.size())];

    Message message;
    const auto add_text = [&](std::string text) {
      if (!text.empty()) message.content.push_back(Part::of_text(std::move(text)));
    };
    add_text(params_.first_label);
    message.content.push_back(Part::of_image(better_first ? better : worse));
    add_text(params_.second_label);
    message.content.push_back(Part::of_image(better_first ? worse : better));
    add_text(filled(question, {{"{prompt}", preference.text}, {"{evaluation}", evaluation}}));

    PreferencePair pair;
    pair.id = preference.id;
    pair.source = preference.source;
    pair.group = "text_to_image";
    pair.extra = preference.extra;
    pair.prompt.id = preference.id;
    pair.prompt.source = preference.source;
    pair.prompt.messages = {std::move(message)};
    const std::string& first = names_[better_first ? 0 : 1];
    const std::string& second = names_[better_first ? 1 : 0];
    pair.chosen = response("chosen", filled(verdict, {{"{better}", first}, {"{worse}", second}}));
    pair.rejected =
        response("rejected", filled(verdict, {{"{better}", second}, {"{worse}", first}}));
    return pair;
  }

 private:
  static std::string name_of(std::string label, const char* usual) {
    while (!label.empty() && (label.back() == ':' || label.back() == ' ' || label.back() == '\n'))
      label.pop_back();
    return label.empty() ? usual : label;
  }

  // Whether the better image comes first.
  bool place_of(const ImagePreference& preference) {
    const std::uint64_t key = stable_hash(preference.source + '\n' + preference.id + '\n' +
                                          preference.better.id + '\n' + preference.worse.id);
    std::lock_guard lock(mutex_);
    const auto known = places_.find(key);
    if (known != places_.end()) return known->second;
    Balance& balance = balances_[preference.source];
    const bool opens = balance.seen % 2 == 0;
    if (opens)
      balance.first =
          context_.rng("order/" + preference.source + "/" + std::to_string(balance.seen / 2))
              .chance(0.5);
    ++balance.seen;
    const bool place = opens ? balance.first : !balance.first;
    places_.emplace(key, place);
    return place;
  }

  static Response response(std::string id, std::string text) {
    Response made;
    made.id = std::move(id);
    made.text = std::move(text);
    made.origin = "dataset";
    return made;
  }

  // One pass, so that braces in the user's text are left alone.
  static std::string filled(
      std::string_view form,
      const std::vector<std::pair<std::string_view, std::string_view>>& words) {
    std::string result;
    for (std::size_t i = 0; i < form.size();) {
      bool found = false;
      for (const auto& [name, text] : words)
        if (form.substr(i).starts_with(name)) {
          result += text;
          i += name.size();
          found = true;
          break;
        }
      if (!found) result += form[i++];
    }
    return result;
  }

  struct Balance {
    std::size_t seen = 0;
    bool first = false;
  };
  const Params params_;
  Context& context_;
  const ImageSizer sizer_;
  std::string names_[2];
  std::mutex mutex_;
  std::map<std::string, Balance> balances_;
  std::unordered_map<std::uint64_t, bool> places_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reformulators/pairwise_evaluation", "2.0.0", registrar) {
  registrar.add<dt2it::Reformulator, dt2it::PairwiseEvaluationReformulator>(
      "pairwise_evaluation",
      "A question about both images, answered by the name of the better one.");
}
