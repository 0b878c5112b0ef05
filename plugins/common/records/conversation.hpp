// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <simdjson.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/media.hpp"
#include "dt2it/types.hpp"
#include "plugins/common/records/columns.hpp"

namespace dt2it::records {

// Where the media of a record come from.
struct MediaSource {
  std::filesystem::path root;  // of relative paths
  MediaStore& store;
};

// Messages of a record, in which places for media are filled after all have been read: "<image>" and "<video>" in a text,
// or parts without a picture of their own. Errors are DataError starting with `where`.
class Conversation {
 public:
  Conversation(const Columns& columns, const MediaSource& source, std::string where)
      : columns_(columns), source_(source), where_(std::move(where)) {}

  // A list of {role, content} under the columns' names; content is a text or a list of parts.
  void add_messages(const simdjson::dom::array& list);
  void add_message(Message::Role role, const simdjson::dom::element& content);
  void add_text(Message::Role role, std::string_view text);
  void set_system(std::string_view text);
  // A system message goes in front where there is none yet; others are nothing to it.
  void take_system(const Message& message);

  // Alpaca: turns before the question, and the question with what stands in its record's input.
  // Both only of questions that were found under a name of an instruction.
  bool is_instruction(std::string_view name) const;
  void add_history(const simdjson::dom::object& record);
  std::string with_input(const simdjson::dom::object& record, std::string question) const;

  // The last message's text, which is taken off. It must be the assistant's.
  std::string take_answer();
  bool ends_with_answer() const {
    return !messages_.empty() && messages_.back().role == Message::Role::assistant;
  }
  bool ends_with_answer(std::string_view text) const;
  bool empty() const { return messages_.empty(); }
  const std::vector<Message>& messages() const { return messages_; }

  // Whether `turns` say the same as the messages so far: by role and text, whichever of them have
  // marks of pictures. Pictures of their own must be the same; a system message may be on one side
  // alone.
  bool says_the_same(const std::vector<Message>& turns) const;

  // Images and videos go to their places in order. Without any places they go in front of the first message of the user.
  // More or fewer than there are places is an error, and so are turns that do not alternate or end with the assistant.
  std::vector<Message> finish(std::vector<Media> images, std::vector<Media> videos) &&;

 private:
  [[noreturn]] void fail(const std::string& what) const;
  Message::Role role_of(std::string_view name) const;
  void add_content(Message& message, const simdjson::dom::element& content) const;
  void add_marked_text(Message& message, std::string_view text) const;
  void fill(Part::Kind kind, std::vector<Media> media, const char* name);
  void check_turns() const;

  const Columns& columns_;
  const MediaSource& source_;
  const std::string where_;
  std::vector<Message> messages_;
};

// An answer, and the turns before it where the record gives a whole conversation.
struct Answer {
  std::string text;
  std::vector<Message> before;
};
Answer answer_of(const simdjson::dom::element& value, const Columns& columns,
                 const MediaSource& source, std::string_view name, const std::string& where);

// A message's text: a string, the columns' content of an object, or the one message of a list.
std::string answer_text(const simdjson::dom::element& value, const Columns& columns,
                        std::string_view name, const std::string& where);

}  // namespace dt2it::records
