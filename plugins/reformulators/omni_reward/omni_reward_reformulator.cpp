// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "dt2it/plugin.hpp"
#include "dt2it/reformulator.hpp"
#include "plugins/reformulators/image_size.hpp"

namespace dt2it {
namespace {

// The baseline of paper section 3.2 (eq. 2): the images become two prompts, the text becomes the
// response to both, and the reward is compared across prompts. Thread-safe.
class OmniRewardReformulator final : public Reformulator {
 public:
  struct Params : ImageSizeParams {
    std::string question = "Describe what this image was made to show.";
  };
  static void describe(Schema<Params>& schema) {
    schema.field("question", &Params::question, "Text after the image; may be empty.");
    describe_image_size(schema);
  }
  OmniRewardReformulator(const Params& params, Context& context)
      : params_(params), sizer_(params, context) {}

  PreferencePair reformulate(const ImagePreference& preference) override {
    PreferencePair pair;
    pair.id = preference.id;
    pair.source = preference.source;
    pair.group = "text_to_image";
    pair.extra = preference.extra;
    const auto [better, worse] = sizer_.fit(preference.better, preference.worse);
    pair.prompt = prompt(preference, better, "/better");
    pair.rejected_prompt = prompt(preference, worse, "/worse");
    pair.chosen = response("chosen", preference.text);
    pair.rejected = response("rejected", preference.text);
    return pair;
  }

 private:
  Prompt prompt(const ImagePreference& preference, const Media& image, const char* suffix) const {
    Prompt made;
    made.id = preference.id + suffix;
    made.source = preference.source;
    Message message;
    message.content.push_back(Part::of_image(image));
    if (!params_.question.empty()) message.content.push_back(Part::of_text(params_.question));
    made.messages = {std::move(message)};
    return made;
  }

  static Response response(std::string id, const std::string& text) {
    Response made;
    made.id = std::move(id);
    made.text = text;
    made.origin = "dataset";
    return made;
  }

  const Params params_;
  const ImageSizer sizer_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reformulators/omni_reward", "1.1.0", registrar) {
  registrar.add<dt2it::Reformulator, dt2it::OmniRewardReformulator>(
      "omni_reward", "Each image a prompt of its own, the text the response to both.");
}
