// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/prompt_parser.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

#include "dt2it/error.hpp"
#include "plugins/common/records/record_fields.hpp"

namespace dt2it::records {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

// `found`: the name that it is under.
std::optional<element> get(const object& record, const std::vector<std::string>& names,
                           std::string* found = nullptr) {
  for (const std::string& name : names)
    if (const auto value = find(record, name)) {
      if (found) *found = name;
      return value;
    }
  return std::nullopt;
}

std::string plain_text(const element& value) {
  std::string_view text;
  if (!value.get(text)) return std::string(text);
  if (value.is_int64() || value.is_uint64() || value.is_double() || value.is_bool())
    return simdjson::minify(value);
  return {};
}

std::string optional_text_of(const object& record, const std::vector<std::string>& names) {
  const auto value = get(record, names);
  return value ? plain_text(*value) : std::string();
}

class Parser {
 public:
  Parser(const object& record, const PromptForm& form, const MediaSource& source,
         const std::map<std::string, Media>* images, const std::string& where)
      : record_(record),
        form_(form),
        columns_(form.columns),
        source_(source),
        images_(images),
        where_(where) {}

  std::vector<Prompt> parse() {
    array list;
    if (const auto turns = get(record_, columns_.turns);
        turns && !turns->get(list) && is_turns(list)) {
      parse_turns(list);
    } else if (const auto messages = get(record_, columns_.common.messages);
               messages && !messages->get(list)) {
      parse_messages(list);
    } else if (std::string name;
               const auto question = get(record_, columns_.common.question, &name)) {
      if (!question->get(list))
        parse_messages(list);
      else
        parse_question(name, plain_text(*question));
    } else {
      throw DataError(where_ + ": has no question (looked for " + words(columns_.turns) + ", " +
                      words(columns_.common.messages) + ", " + words(columns_.common.question) +
                      ")");
    }
    const std::string named = optional_text_of(record_, columns_.source);
    for (Prompt& prompt : prompts_) {
      if (prompt.source.empty()) prompt.source = named;
      prompt.domain = optional_text_of(record_, columns_.domain);
      if (const auto id = get(record_, columns_.common.id))
        prompt.extra = R"({"record_id":)" + std::string(simdjson::minify(*id)) + "}";
    }
    return std::move(prompts_);
  }

 private:
  static std::string words(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "'" : ", '") + name + "'";
    return text;
  }

  static bool is_turns(const array& list) {
    for (const element& item : list) {
      object turn;
      if (item.get(turn) || !find(turn, "user")) return false;
    }
    return list.size() > 0;
  }

  const std::vector<Media>& images() {
    if (!have_images_) {
      if (const auto value = get(record_, columns_.common.images))
        pictures_ = media_values(*value, "image", source_.root, source_.store, where_);
      if (images_) {
        const std::string key = optional_text_of(record_, columns_.image_key);
        const auto found = images_->find(key);
        if (found == images_->end())
          throw DataError(where_ + ": image '" + key + "' is not in the table of images");
        pictures_.push_back(found->second);
      }
      have_images_ = true;
    }
    return pictures_;
  }
  std::vector<Media> videos() const {
    const auto value = get(record_, columns_.common.videos);
    return value ? media_values(*value, "video", source_.root, source_.store, where_)
                 : std::vector<Media>();
  }

  std::vector<Message> one_question(std::string_view text) {
    Conversation conversation(columns_.common, source_, where_);
    conversation.add_text(Message::Role::user, text);
    set_system(conversation);
    return std::move(conversation).finish(images(), videos());
  }

  void set_system(Conversation& conversation) const {
    if (const std::string system = optional_text_of(record_, columns_.common.system);
        !system.empty())
      conversation.set_system(system);
  }

  void parse_turns(const array& turns) {
    std::size_t at = 0;
    std::vector<Message> before;
    for (const element& turn : turns) {
      Prompt prompt;
      const std::string question = required_text(object(turn), "user", where_);
      prompt.reference = optional_text(object(turn), "assistant", where_);
      prompt.source = optional_text(object(turn), "source", where_);
      if (form_.turns == Turns::automatic || form_.turns == Turns::each || before.empty()) {
        prompt.messages = one_question(question);
      } else {
        prompt.messages = before;
        prompt.messages.push_back({Message::Role::user, {Part::of_text(question)}});
      }
      before = prompt.messages;
      before.push_back({Message::Role::assistant, {Part::of_text(prompt.reference)}});
      ++at;
      if (form_.turns == Turns::last && at < turns.size()) continue;
      prompts_.push_back(std::move(prompt));
      if (form_.turns == Turns::first) return;
    }
  }

  void parse_messages(const array& list) {
    Conversation conversation(columns_.common, source_, where_);
    conversation.add_messages(list);
    std::string last;
    if (conversation.ends_with_answer())
      last = conversation.take_answer();
    else
      last = reference();
    add_prompts(std::move(conversation), last);
  }

  // `last`: the answer to the last message.
  void add_prompts(Conversation conversation, const std::string& last) {
    set_system(conversation);
    const std::vector<Message> all = std::move(conversation).finish(images(), videos());
    const std::size_t start = all.front().role == Message::Role::system ? 1 : 0;
    for (std::size_t i = start; i < all.size(); i += 2) {
      const bool is_last = i + 1 == all.size();
      if (form_.turns == Turns::last && !is_last) continue;
      Prompt prompt;
      if (form_.turns == Turns::each && i > start) {
        prompt.messages.assign(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(start));
        prompt.messages.push_back(all[i]);
        if (!has_media(all[i]))  // it is about the pictures of the first question
          prompt.messages.back().content.insert(prompt.messages.back().content.begin(),
                                                pictures_of(all[start]).begin(),
                                                pictures_of(all[start]).end());
      } else {
        prompt.messages.assign(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
      prompt.reference = is_last ? last : text_of(all[i + 1]);
      prompts_.push_back(std::move(prompt));
      if (form_.turns == Turns::first) return;
    }
  }

  static bool has_media(const Message& message) {
    return std::ranges::any_of(message.content,
                               [](const Part& part) { return part.kind != Part::Kind::text; });
  }
  const std::vector<Part>& pictures_of(const Message& message) {
    if (first_pictures_.empty())
      for (const Part& part : message.content)
        if (part.kind != Part::Kind::text) first_pictures_.push_back(part);
    return first_pictures_;
  }
  static std::string text_of(const Message& message) {
    std::string text;
    for (const Part& part : message.content) text += part.text;
    return text;
  }

  void parse_question(const std::string& name, std::string question) {
    Conversation conversation(columns_.common, source_, where_);
    if (conversation.is_instruction(name)) {
      conversation.add_history(record_);
      question = conversation.with_input(record_, std::move(question));
    }
    if (const std::string context = optional_text_of(record_, columns_.context); !context.empty())
      question = context + "\n" + question;
    std::vector<std::string> choices;
    array list;
    if (const auto given = get(record_, columns_.choices); given && !given->get(list))
      for (const element& choice : list) choices.push_back(plain_text(choice));
    for (std::size_t i = 0; i < choices.size(); ++i)
      question += (i ? "\n(" : "\nOptions:\n(") + letter(i) + ") " + choices[i];
    conversation.add_text(Message::Role::user, question);
    std::string answer = choices.empty() ? reference() : choice_reference(choices);
    if (form_.rationale && !answer.empty())
      if (const std::string why = optional_text_of(record_, columns_.rationale); !why.empty())
        answer += "\n" + why;
    add_prompts(std::move(conversation), answer);
  }

  static std::string letter(std::size_t i) {
    return std::string(1, static_cast<char>('A' + i % 26));
  }

  std::string reference() const {
    const auto value = get(record_, columns_.reference);
    if (!value) return {};
    array list;
    object message;
    if (!value->get(list)) {  // several accepted answers, or messages
      if (list.size() == 0) return {};
      const element first = *list.begin();
      if (first.get(message)) return plain_text(first);
      return answer_of(*value, columns_.common, source_, "reference", where_).text;
    }
    if (!value->get(message)) return answer_text(*value, columns_.common, "reference", where_);
    return plain_text(*value);
  }

  // The answer to a question with options may be an index, a letter or a text.
  std::string choice_reference(const std::vector<std::string>& choices) const {
    const auto value = get(record_, columns_.reference);
    if (!value) return {};
    std::int64_t index = -1;
    std::string_view text;
    if (!value->get(text)) {
      std::string_view mark = text;
      while (!mark.empty() && (mark.front() == '(' || mark.front() == ' ')) mark.remove_prefix(1);
      while (!mark.empty() && (mark.back() == ')' || mark.back() == '.' || mark.back() == ' '))
        mark.remove_suffix(1);
      if (mark.size() == 1 && mark[0] >= 'A' && mark[0] <= 'Z') index = mark[0] - 'A';
      for (std::size_t i = 0; i < choices.size(); ++i)
        if (choices[i] == text) index = static_cast<std::int64_t>(i);
      if (index < 0) return std::string(text);
    } else if (value->get(index)) {
      return reference();
    }
    if (index < 0 || index >= static_cast<std::int64_t>(choices.size()))
      throw DataError(where_ + ": the answer is option " + std::to_string(index) + " of " +
                      std::to_string(choices.size()) + " (counted from 0)");
    return "(" + letter(static_cast<std::size_t>(index)) + ") " +
           choices[static_cast<std::size_t>(index)];
  }

  const object& record_;
  const PromptForm& form_;
  const PromptColumns& columns_;
  const MediaSource& source_;
  const std::map<std::string, Media>* images_;
  const std::string& where_;
  bool have_images_ = false;
  std::vector<Media> pictures_;
  std::vector<Part> first_pictures_;
  std::vector<Prompt> prompts_;
};

}  // namespace

PromptColumns::PromptColumns() {
  common.question = {"question", "prompt", "query", "problem", "instruction", "text"};
  common.images.insert(common.images.end(), {"decoded_image", "img_path"});
}

void PromptColumns::rename(const std::map<std::string, std::string>& names) {
  const std::map<std::string, std::vector<std::string>*> known{
      {"id", &common.id},         {"messages", &common.messages},
      {"system", &common.system}, {"question", &common.question},
      {"images", &common.images}, {"videos", &common.videos},
      {"turns", &turns},          {"reference", &reference},
      {"choices", &choices},      {"context", &context},
      {"rationale", &rationale},  {"source", &source},
      {"domain", &domain},        {"image_key", &image_key}};
  for (const auto& [field, column] : names) {
    const auto found = known.find(field);
    if (found == known.end()) {
      std::string allowed;
      for (const auto& [name, ignored] : known) allowed += (allowed.empty() ? "" : ", ") + name;
      throw ConfigError("columns: there is no field '" + field + "' (allowed: " + allowed + ")");
    }
    if (column.empty())
      found->second->clear();
    else
      *found->second = {column};
  }
}

std::vector<std::string> PromptColumns::keys() const {
  std::vector<std::string> all;
  for (const auto* names :
       {&common.id, &common.messages, &common.system, &common.question, &common.more_question,
        &common.history, &common.images, &common.videos, &turns, &reference, &choices, &context,
        &rationale, &source, &domain, &image_key})
    all.insert(all.end(), names->begin(), names->end());
  return all;
}

Turns turns_named(const std::string& name) {
  constexpr std::pair<const char*, Turns> kNames[] = {{"auto", Turns::automatic},
                                                      {"each", Turns::each},
                                                      {"context", Turns::context},
                                                      {"first", Turns::first},
                                                      {"last", Turns::last}};
  for (const auto& [known, turns] : kNames)
    if (name == known) return turns;
  throw ConfigError("turns: '" + name +
                    "' is not known (allowed: auto, each, context, first, last)");
}

std::vector<Prompt> parse_prompts(const object& record, const PromptForm& form,
                                  const MediaSource& source,
                                  const std::map<std::string, Media>* images,
                                  const std::string& where) {
  return Parser(record, form, source, images, where).parse();
}

}  // namespace dt2it::records
