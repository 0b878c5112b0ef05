// SPDX-License-Identifier: Apache-2.0
#include "core/nn/chat_template.hpp"

#include <catch2/catch.hpp>

#include "dt2it/error.hpp"

using namespace dt2it;
using namespace dt2it::nn;

namespace {

// Segments in one text: '|' before one that is tokenised apart, <image> and <video> for media.
std::string shown(const std::vector<Segment>& segments) {
  std::string all;
  for (const Segment& segment : segments)
    all += segment.media ? (segment.video ? "<video>" : "<image>")
                         : (segment.apart ? "|" : "") + segment.text;
  return all;
}

Message says(Message::Role role, std::string text) {
  return {role, {Part::of_text(std::move(text))}};
}
using Role = Message::Role;

}  // namespace

TEST_CASE("Conversations in the form of each template") {
  Prompt prompt;
  prompt.messages = {says(Role::user, "One?"), says(Role::assistant, " Yes."),
                     says(Role::user, "Two?")};
  prompt.messages[0].content.insert(prompt.messages[0].content.begin(), Part::of_image({}));
  prompt.messages[2].content.push_back({Part::Kind::video, {}, {}});
  const std::string system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n";
  const std::string turns =
      "<|im_start|>user\n<image>One?<|im_end|>\n<|im_start|>assistant\n| "
      "Yes.<|im_end|>\n<|im_start|>user\nTwo?<video>"
      "<|im_end|>\n<|im_start|>assistant\n";
  CHECK(shown(render_prompt(prompt, chat_template_named("qwen3_vl_nothink"))) == turns);
  CHECK(shown(render_prompt(prompt, chat_template_named("qwen2_vl"))) == system + turns);
  std::string together = turns;
  together.erase(together.find('|', together.find("assistant\n| ")), 1);
  CHECK(shown(render_prompt(prompt, chat_template_named("qwen3_vl_nothink", "huggingface"))) ==
        together);
  CHECK(shown(render_prompt(prompt, chat_template_named("qwen2_vl", "huggingface"))) ==
        system + together);

  prompt.messages = {says(Role::system, "Be strict."), says(Role::user, "<image> & <video>")};
  const std::string literal =
      "<|im_start|>user\n<image> & <video><|im_end|>\n<|im_start|>assistant\n";
  CHECK(shown(render_prompt(prompt, chat_template_named("qwen2_vl"))) ==
        "<|im_start|>system\nBe strict.<|im_end|>\n" + literal);
  // An empty system message is none for LLaMA-Factory, and itself for Hugging Face.
  prompt.messages[0] = says(Role::system, "");
  CHECK(shown(render_prompt(prompt, chat_template_named("qwen2_vl"))) == system + literal);
  CHECK(shown(render_prompt(prompt, chat_template_named("qwen3_vl_nothink"))) == literal);
  CHECK(shown(render_prompt(prompt, chat_template_named("qwen2_vl", "huggingface"))) ==
        "<|im_start|>system\n<|im_end|>\n" + literal);
}

TEST_CASE("Thinking blocks: an empty one before responses, none in older turns") {
  const ChatTemplate form = chat_template_named("qwen3_vl");
  CHECK(render_response("\nYes.", form) ==
        std::vector<std::string>{"<think>\n\n</think>\n\n", "\nYes.<|im_end|>\n"});
  CHECK(render_response("<think>\nHm.\n</think>\n\nYes.", form) ==
        std::vector<std::string>{"<think>\nHm.\n</think>\n\nYes.<|im_end|>\n"});
  CHECK(render_response("Yes.", chat_template_named("qwen3_vl_nothink")) ==
        std::vector<std::string>{"Yes.<|im_end|>\n"});
  Prompt prompt;
  prompt.messages = {
      says(Role::user, "a"),
      says(Role::assistant, "<think>\nHm.\n</think>\n\n\nb <think>\n1\n</think>\n\nc"),
      says(Role::user, "<think>\nd\n</think>\n\n")};
  CHECK(shown(render_prompt(prompt, form)) ==
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n|b "
        "c<|im_end|>\n<|im_start|>user\n<think>\nd\n</think>\n\n<|im_end|>\n"
        "<|im_start|>assistant\n");
  prompt.messages[1] = says(Role::assistant, "\n\n");
  CHECK(shown(render_prompt(prompt, form)).find("assistant\n|<|im_end|>") != std::string::npos);
}

TEST_CASE("Names that are not known say which are") {
  CHECK_THROWS_WITH(chat_template_named("chatml"),
                    Catch::Contains("qwen2_vl, qwen3_vl, qwen3_vl_nothink"));
  CHECK_THROWS_WITH(chat_template_named("qwen2_vl", "vicuna"),
                    Catch::Contains("llamafactory, huggingface"));
  CHECK_THROWS_WITH(chat_template_named("qwen3_vl", "huggingface"),
                    Catch::Contains("qwen3_vl_nothink"));
}
