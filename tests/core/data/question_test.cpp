// SPDX-License-Identifier: Apache-2.0
#include "dt2it/question.hpp"

#include <catch2/catch.hpp>

using namespace dt2it;

TEST_CASE("The question is the words of the last message, without what stands between them") {
  Prompt prompt;
  CHECK(question_of(prompt).empty());
  prompt.messages = {{Message::Role::system, {Part::of_text("Be brief.")}},
                     {Message::Role::user, {Part::of_text("And this?"), Part::of_image({})}}};
  CHECK(question_of(prompt) == "And this?");
  prompt.messages.push_back(
      {Message::Role::user,
       {Part::of_text("What is "), Part::of_image({}), Part::of_text("left of it?")}});
  CHECK(question_of(prompt) == "What is left of it?");
  prompt.messages.push_back({Message::Role::user, {Part::of_image({})}});
  CHECK(question_of(prompt).empty());
}
