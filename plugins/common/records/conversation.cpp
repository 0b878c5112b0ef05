// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/conversation.hpp"

#include <algorithm>
#include <optional>

#include "dt2it/error.hpp"
#include "plugins/common/records/record_fields.hpp"

namespace dt2it::records {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

// A place for a picture that has none yet.
Part place_for(Part::Kind kind) { return {kind, {}, {}}; }
bool is_place(const Part& part) {
  return part.kind != Part::Kind::text && !part.media.present() && part.media.source.empty();
}

bool is_one_of(std::string_view name, const std::vector<std::string>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::optional<element> first_of(const object& record, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (const auto value = find(record, name)) return value;
  return std::nullopt;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  return begin == text.npos ? std::string_view()
                            : text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

// Of one side alone a turn may have marks of pictures, with line breaks around them.
bool same_turn(const Message& a, const Message& b) {
  std::string texts[2];
  std::vector<Media> pictures[2];
  for (const int side : {0, 1})
    for (const Part& part : (side == 0 ? a : b).content) {
      texts[side] += part.text;
      if (part.kind != Part::Kind::text && !is_place(part)) pictures[side].push_back(part.media);
    }
  return a.role == b.role && trimmed(texts[0]) == trimmed(texts[1]) &&
         (pictures[0].empty() || pictures[1].empty() || pictures[0] == pictures[1]);
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "'" : " or '") + name + "'";
  return text;
}

}  // namespace

void Conversation::fail(const std::string& what) const { throw DataError(where_ + ": " + what); }

Message::Role Conversation::role_of(std::string_view name) const {
  if (is_one_of(name, columns_.user)) return Message::Role::user;
  if (is_one_of(name, columns_.assistant)) return Message::Role::assistant;
  if (is_one_of(name, columns_.system_role)) return Message::Role::system;
  fail("a message is by '" + std::string(name) + "' (allowed: " + joined(columns_.user) + ", " +
       joined(columns_.assistant) + ", " + joined(columns_.system_role) + ")");
}

void Conversation::add_messages(const array& list) {
  for (const element& item : list) {
    object message;
    if (item.get(message)) fail("a message must be an object");
    const auto role = first_of(message, columns_.role);
    const auto content = first_of(message, columns_.content);
    std::string_view name;
    if (!role || role->get(name)) fail("a message has no " + joined(columns_.role));
    if (!content) fail("a message has no " + joined(columns_.content));
    add_message(role_of(name), *content);
  }
}

void Conversation::add_message(Message::Role role, const element& content) {
  Message message;
  message.role = role;
  add_content(message, content);
  messages_.push_back(std::move(message));
}

void Conversation::add_text(Message::Role role, std::string_view text) {
  Message message;
  message.role = role;
  add_marked_text(message, text);
  messages_.push_back(std::move(message));
}

void Conversation::set_system(std::string_view text) {
  if (!messages_.empty() && messages_.front().role == Message::Role::system)
    messages_.erase(messages_.begin());
  Message message;
  message.role = Message::Role::system;
  message.content.push_back(Part::of_text(std::string(text)));
  messages_.insert(messages_.begin(), std::move(message));
}

void Conversation::take_system(const Message& message) {
  if (message.role == Message::Role::system &&
      (messages_.empty() || messages_.front().role != Message::Role::system))
    messages_.insert(messages_.begin(), message);
}

bool Conversation::is_instruction(std::string_view name) const {
  return is_one_of(name, columns_.instruction);
}

void Conversation::add_history(const object& record) {
  const auto history = first_of(record, columns_.history);
  if (!history) return;
  const auto wrong = [this] {
    fail(joined(columns_.history) + " must be a list of turns [question, answer]");
  };
  array turns;
  if (history->get(turns)) wrong();
  for (const element& item : turns) {
    array turn;
    std::string_view question, answer;
    if (item.get(turn) || turn.size() != 2 || turn.at(0).get(question) || turn.at(1).get(answer))
      wrong();
    add_text(Message::Role::user, question);
    add_text(Message::Role::assistant, answer);
  }
}

std::string Conversation::with_input(const object& record, std::string question) const {
  const auto input = first_of(record, columns_.more_question);
  std::string_view text;
  if (input && input->get(text)) fail(joined(columns_.more_question) + " must be a text");
  if (!question.empty() && !text.empty()) question += '\n';
  return question += text;
}

void Conversation::add_content(Message& message, const element& content) const {
  std::string_view text;
  array parts;
  if (!content.get(text)) return add_marked_text(message, text);
  if (content.get(parts)) fail("a message's content must be a text or a list of parts");
  for (const element& item : parts) {
    object part;
    std::string_view type;
    if (item.get(part) || part["type"].get(type))
      fail("a part of a message must be an object with 'type'");
    if (type == "text") {
      const auto value = first_of(part, {"text", "value"});
      if (!value || value->get(text)) fail("a part of type 'text' has no text");
      if (!text.empty()) message.content.push_back(Part::of_text(std::string(text)));
      continue;
    }
    const bool image = type == "image" || type == "image_url";
    if (!image && type != "video" && type != "video_url")
      fail("a part has the type '" + std::string(type) +
           "' (allowed: text, image, image_url, video)");
    Part place = place_for(image ? Part::Kind::image : Part::Kind::video);
    auto value =
        first_of(part, {std::string(type), image ? "image" : "video", "value", "url", "path"});
    if (object inner; value && !value->get(inner))
      if (const auto url = find(inner, "url")) value = url;
    if (value) {
      std::vector<Media> media = media_values(*value, type, source_.root, source_.store, where_);
      if (media.size() > 1) fail("a part of a message has several pictures");
      if (!media.empty()) place.media = std::move(media.front());
    }
    message.content.push_back(std::move(place));
  }
}

void Conversation::add_marked_text(Message& message, std::string_view text) const {
  constexpr std::string_view kImage = "<image>", kVideo = "<video>";
  const auto add = [&message](std::string_view piece) {
    if (!piece.empty()) message.content.push_back(Part::of_text(std::string(piece)));
  };
  while (true) {
    const std::size_t image = text.find(kImage), video = text.find(kVideo);
    const std::size_t at = std::min(image, video);
    if (at == text.npos || message.role != Message::Role::user) break;
    add(text.substr(0, at));
    message.content.push_back(place_for(at == image ? Part::Kind::image : Part::Kind::video));
    text.remove_prefix(at + (at == image ? kImage : kVideo).size());
  }
  add(text);
}

bool Conversation::ends_with_answer(std::string_view text) const {
  if (!ends_with_answer()) return false;
  std::string last;
  for (const Part& part : messages_.back().content) last += part.text;
  return last == text;
}

std::string Conversation::take_answer() {
  if (!ends_with_answer()) fail("there is no answer: the last message is not the assistant's");
  std::string text;
  for (const Part& part : messages_.back().content) {
    if (part.kind != Part::Kind::text) fail("an answer has a picture in it");
    text += part.text;
  }
  messages_.pop_back();
  return text;
}

void Conversation::fill(Part::Kind kind, std::vector<Media> media, const char* name) {
  std::vector<Part*> places;
  for (Message& message : messages_)
    for (Part& part : message.content)
      if (part.kind == kind && is_place(part)) places.push_back(&part);
  const std::string mark = "<" + std::string(name) + ">";
  if (places.empty() && !media.empty()) {
    const auto user = std::find_if(messages_.begin(), messages_.end(), [](const Message& message) {
      return message.role == Message::Role::user;
    });
    if (user == messages_.end()) fail("there is no message of the user");
    std::vector<Part> parts;
    for (Media& one : media) parts.push_back({kind, {}, std::move(one)});
    user->content.insert(user->content.begin(), parts.begin(), parts.end());
    return;
  }
  if (places.size() != media.size())
    fail("has " + std::to_string(media.size()) + " " + name + "s for " +
         std::to_string(places.size()) + " " + mark);
  for (std::size_t i = 0; i < places.size(); ++i) places[i]->media = std::move(media[i]);
}

void Conversation::check_turns() const {
  std::size_t at = !messages_.empty() && messages_.front().role == Message::Role::system ? 1 : 0;
  if (at == messages_.size()) fail("there is no message of the user");
  for (Message::Role expected = Message::Role::user; at < messages_.size(); ++at) {
    if (messages_[at].role != expected)
      fail("the messages of user and assistant do not alternate, beginning with the user");
    expected = expected == Message::Role::user ? Message::Role::assistant : Message::Role::user;
  }
  if (messages_.back().role != Message::Role::user)
    fail("the last message of the prompt must be the user's");
}

std::vector<Message> Conversation::finish(std::vector<Media> images, std::vector<Media> videos) && {
  for (Media& video : videos) video.kind = Media::Kind::video;
  fill(Part::Kind::video, std::move(videos), "video");
  fill(Part::Kind::image, std::move(images), "image");
  check_turns();
  return std::move(messages_);
}

bool Conversation::says_the_same(const std::vector<Message>& turns) const {
  const auto after_system = [](const std::vector<Message>& messages) {
    return messages.begin() +
           (!messages.empty() && messages.front().role == Message::Role::system ? 1 : 0);
  };
  const auto mine = after_system(messages_), theirs = after_system(turns);
  if (mine != messages_.begin() && theirs != turns.begin() &&
      !same_turn(messages_.front(), turns.front()))
    return false;
  return std::equal(mine, messages_.end(), theirs, turns.end(), same_turn);
}

Answer answer_of(const element& value, const Columns& columns, const MediaSource& source,
                 std::string_view name, const std::string& where) {
  array list;
  object first;
  if (value.get(list) || list.size() < 2 || list.at(0).get(first) || !first_of(first, columns.role))
    return {answer_text(value, columns, name, where), {}};
  Conversation conversation(columns, source, where);
  conversation.add_messages(list);
  if (!conversation.ends_with_answer())
    throw DataError(where + ": '" + std::string(name) +
                    "' is a conversation whose last message is not the assistant's");
  Answer answer{conversation.take_answer(), {}};
  answer.before = conversation.messages();
  return answer;
}

std::string answer_text(const element& value, const Columns& columns, std::string_view name,
                        const std::string& where) {
  std::string_view text;
  array list;
  object message;
  const auto fail = [&](const char* what) {
    throw DataError(where + ": '" + std::string(name) + "' " + what);
  };
  if (!value.get(text)) return std::string(text);
  if (!value.get(list)) {
    std::string joined;
    for (const element& item : list) {
      std::string_view type, piece;
      if (object part; !item.get(part) && !part["type"].get(type)) {  // parts of one text
        if (type != "text" || part["text"].get(piece)) fail("has a part that is no text");
        joined += piece;
      } else if (list.size() == 1) {
        return answer_text(item, columns, name, where);
      } else {
        fail("has more than one message");
      }
    }
    if (list.size() > 0) return joined;
  }
  if (!value.get(message)) {
    std::vector<std::string> names = columns.content;
    names.insert(names.end(), {"text", "response"});
    if (const auto content = first_of(message, names))
      return answer_text(*content, columns, name, where);
  }
  fail("is no answer (allowed: a text, a message, a list of one message)");
  return {};
}

}  // namespace dt2it::records
