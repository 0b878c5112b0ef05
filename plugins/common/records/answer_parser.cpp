// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/answer_parser.hpp"

#include <optional>
#include <utility>

#include "dt2it/error.hpp"
#include "plugins/common/records/ratings.hpp"
#include "plugins/common/records/record_fields.hpp"
#include "plugins/common/records/record_parser.hpp"

namespace dt2it::records {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

class Parser {
 public:
  Parser(const object& record, AnswerForm form, const Columns& columns, const MediaSource& source,
         const std::string& where)
      : record_(record), form_(form), columns_(columns), source_(source), where_(where) {}

  AnswerRecord parse() {
    if (const auto id = get(columns_.id)) result_.id = text_of_id(*id);
    object prompt;
    const auto own = find(record_, "prompt");
    if (own && !own->get(prompt) && find(prompt, "messages")) {
      if (form_ != AnswerForm::automatic && form_ != AnswerForm::dt2it)
        fail("is a record of this software's own form");
      parse_own(prompt);
    } else {
      if (form_ == AnswerForm::dt2it) fail("'prompt' must be an object with 'messages'");
      parse_foreign();
    }
    // Put back by pair_of; kept where nothing else is lost for it.
    if (const auto provenance = get(columns_.provenance)) {
      std::string_view text;
      result_.prompt.extra =
          !provenance->get(text) ? std::string(text) : std::string(simdjson::minify(*provenance));
      result_.prompt.extra =
          result_.prompt.extra.empty() ? "" : R"({"dt2it":)" + result_.prompt.extra + "}";
    }
    result_.prompt.id = result_.id;
    if (result_.rejected_prompt) result_.rejected_prompt->id = result_.id;
    for (std::size_t i = 0; i < result_.responses.size(); ++i)
      if (result_.responses[i].id.empty()) result_.responses[i].id = std::to_string(i);
    return std::move(result_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw DataError(where_ + ": " + what); }

  // `found`: the name that it is under.
  std::optional<element> get(const std::vector<std::string>& names,
                             std::string* found = nullptr) const {
    for (const std::string& name : names)
      if (const auto value = find(record_, name)) {
        if (found) *found = name;
        return value;
      }
    return std::nullopt;
  }

  static std::string text_of_id(const element& value) {
    std::string_view text;
    if (!value.get(text)) return std::string(text);
    return value.is_int64() || value.is_uint64() ? simdjson::minify(value) : "";
  }

  Response response_of(const element& value, const char* name) const {
    Response response;
    response.text = answer_text(value, columns_, name, where_);
    if (object given; !value.get(given)) response.id = optional_text(given, "id", where_);
    return response;
  }

  // Positions are those of candidates; the sides of a pair have none.
  void name_sides() {
    constexpr const char* kNames[] = {"chosen", "rejected"};
    for (std::size_t i = 0; i < 2; ++i)
      if (result_.responses[i].id.empty()) result_.responses[i].id = kNames[i];
  }

  void add_answers(const element& value) {
    array list;
    if (value.get(list)) {
      result_.responses.push_back(response_of(value, "response"));
      return;
    }
    for (const element& item : list) result_.responses.push_back(response_of(item, "responses"));
    if (result_.responses.empty()) fail("there are no responses");
  }

  void parse_own(const object& prompt) {
    const Source source{source_.root, source_.store};
    const std::string id = result_.id;
    result_.prompt = parse_own_prompt(prompt, source);
    if (id.empty()) result_.id = result_.prompt.id;
    const auto chosen = find(record_, "chosen"), rejected = find(record_, "rejected");
    if (chosen && rejected) {
      result_.pair = true;
      result_.responses = {response_of(*chosen, "chosen"), response_of(*rejected, "rejected")};
      name_sides();
      if (const auto other = find(record_, "rejected_prompt")) {
        object messages;
        if (other->get(messages)) fail("'rejected_prompt' must be an object");
        result_.rejected_prompt = parse_own_prompt(messages, source);
      }
    } else if (const auto answers = get({"responses", "candidates", "response"})) {
      add_answers(*answers);
    } else {
      fail("has neither 'chosen' and 'rejected' nor 'responses' nor 'response'");
    }
  }

  // Ids may be missing in what people write by hand.
  Prompt parse_own_prompt(const object& prompt, const Source& source) const {
    if (find(prompt, "id")) return records::parse_prompt(prompt, source, where_);
    simdjson::dom::parser parser;
    object with_id;
    if (parser.parse(R"({"id":"",)" + std::string(simdjson::minify(prompt)).substr(1)).get(with_id))
      fail("'prompt' cannot be read");
    return records::parse_prompt(with_id, source, where_);
  }

  // VLFeedback: the question and its image, and responses with ratings.
  void parse_ratings(const element& completions) {
    Conversation prompt(columns_, source_, where_);
    std::string_view text;
    const auto question = get(columns_.question);
    if (!question || question->get(text)) fail("has no text 'prompt' or 'question'");
    prompt.add_text(Message::Role::user, text);
    result_.prompt.messages =
        std::move(prompt).finish(media(columns_.images), media(columns_.videos));
    result_.responses = rated_responses(completions, where_);
  }

  // WildVision: both conversations have the user's turns; earlier answers may differ, the last ones are compared.
  void parse_battle(const element& first, const element& second) {
    array lists[2];
    if (first.get(lists[0]) || second.get(lists[1]))
      fail("'conversation_a' and 'conversation_b' must be lists of messages");
    const std::vector<Media> images = media(columns_.images), videos = media(columns_.videos);
    std::vector<Message> prompts[2];
    for (const int side : {0, 1}) {
      Conversation conversation(columns_, source_, where_);
      conversation.add_messages(lists[side]);
      Response& response = result_.responses.emplace_back();
      response.id = side == 0 ? "a" : "b";
      response.text = conversation.take_answer();
      response.mllm =
          optional_text(record_, columns_.battle[static_cast<std::size_t>(3 + side)], where_);
      prompts[side] = std::move(conversation).finish(images, videos);
    }
    const auto users_of = [](const std::vector<Message>& messages) {
      std::vector<Message> users;
      for (const Message& message : messages)
        if (message.role != Message::Role::assistant) users.push_back(message);
      return users;
    };
    if (users_of(prompts[0]) != users_of(prompts[1]))
      fail("the two conversations have different turns of the user");
    const std::string winner = required_text(record_, columns_.battle[2], where_);
    if (winner != "model_a" && winner != "model_b" && !winner.starts_with("tie"))
      fail("'winner' is '" + winner + "' (allowed: model_a, model_b, tie, tie (bothbad))");
    result_.pair = !winner.starts_with("tie");
    if (!result_.pair) result_.detail = winner;
    if (winner == "model_b") {
      std::swap(result_.responses[0], result_.responses[1]);
      std::swap(prompts[0], prompts[1]);
    }
    if (prompts[0] != prompts[1]) {
      result_.rejected_prompt.emplace();
      result_.rejected_prompt->messages = std::move(prompts[1]);
    }
    result_.prompt.messages = std::move(prompts[0]);
  }

  void parse_foreign() {
    const auto completions = get(columns_.completions);
    if (form_ == AnswerForm::ratings && !completions) fail("has no 'completions'");
    if (completions && (form_ == AnswerForm::ratings || form_ == AnswerForm::automatic))
      return parse_ratings(*completions);
    const auto first = find(record_, columns_.battle[0]),
               second = find(record_, columns_.battle[1]);
    if (form_ == AnswerForm::battles && (!first || !second))
      fail("has no 'conversation_a' and 'conversation_b'");
    if (first && second && (form_ == AnswerForm::battles || form_ == AnswerForm::automatic))
      return parse_battle(*first, *second);

    Conversation prompt(columns_, source_, where_);
    const auto messages = get(columns_.messages);
    std::string question_name;
    const auto question = get(columns_.question, &question_name);
    const auto chosen = get(columns_.chosen);
    const auto rejected = get(columns_.rejected);
    array list;
    std::string_view text;
    if (messages && !messages->get(list)) {
      if (form_ == AnswerForm::trl && !chosen) fail("has no 'chosen'");
      prompt.add_messages(list);
    } else if (form_ == AnswerForm::sharegpt || form_ == AnswerForm::llava) {
      fail("has no list of messages");
    } else if (question && !question->get(list)) {
      prompt.add_messages(list);
    } else if (question && !question->get(text)) {
      std::string whole(text);
      if (prompt.is_instruction(question_name)) {
        prompt.add_history(record_);
        whole = prompt.with_input(record_, std::move(whole));
      }
      prompt.add_text(Message::Role::user, whole);
    } else if (chosen && rejected && !chosen->get(list)) {
      return parse_two_conversations(list, *rejected);
    } else {
      fail("has no prompt (allowed: a list of messages, or a text 'prompt' or 'question')");
    }
    if (const auto system = get(columns_.system); system && !system->get(text) && !text.empty())
      prompt.set_system(text);

    if (rejected) {
      // Without 'chosen' the conversation itself ends with the better answer.
      Answer better;
      if (chosen) {
        better = answer_of(*chosen, columns_, source_, "chosen", where_);
        if (prompt.ends_with_answer(better.text)) prompt.take_answer();  // ultrafeedback_binarized
      } else {
        better.text = prompt.take_answer();
      }
      Answer worse = answer_of(*rejected, columns_, source_, "rejected", where_);
      check_turns(prompt, better, "chosen");
      check_turns(prompt, worse, "rejected");
      add_pair(std::move(better.text), std::move(worse.text));
    } else if (chosen) {
      fail("has 'chosen' without 'rejected'");
    } else if (prompt.ends_with_answer()) {
      add(prompt.take_answer());
    } else if (const auto answers = get(columns_.answers)) {
      add_answers(*answers);
    } else {
      fail(
          "has no answer (allowed: 'chosen' and 'rejected', 'responses', 'response', or a last "
          "message of the assistant)");
    }
    if (const auto images = get(columns_.rejected_images)) {
      Conversation other = prompt;
      result_.rejected_prompt.emplace();
      result_.rejected_prompt->messages =
          std::move(other).finish(media(columns_.rejected_images), media(columns_.videos));
    }
    result_.prompt.messages =
        std::move(prompt).finish(media(columns_.images), media(columns_.videos));
    bool tie = false;
    if (const auto marked = get(columns_.tie); marked && !marked->get(tie) && tie && result_.pair) {
      result_.pair = false;  // MM-RLHF: people found neither better
      result_.detail = "tie";
    }
  }

  // TRL's implicit prompt: what two conversations have in common but for their last answers.
  void parse_two_conversations(const array& better, const element& rejected) {
    array worse;
    if (rejected.get(worse) || worse.size() != better.size() || better.size() < 2)
      fail(
          "'chosen' and 'rejected' must be conversations of the same length that differ in the "
          "last message");
    for (std::size_t i = 0; i + 1 < better.size(); ++i)
      if (simdjson::minify(better.at(i)) != simdjson::minify(worse.at(i)))
        fail("'chosen' and 'rejected' are conversations that differ before the last message");
    Conversation prompt(columns_, source_, where_), other(columns_, source_, where_);
    prompt.add_messages(better);
    other.add_messages(worse);
    std::string text = prompt.take_answer();
    add_pair(std::move(text), other.take_answer());
    result_.prompt.messages =
        std::move(prompt).finish(media(columns_.images), media(columns_.videos));
  }

  // Whole conversations (POVID, ms-swift, distilabel) must begin with the prompt. A system message
  // that only they have is the prompt's as well.
  void check_turns(Conversation& prompt, const Answer& answer, const std::string& name) const {
    if (answer.before.empty()) return;
    if (!prompt.says_the_same(answer.before))
      fail("'" + name + "' is a conversation whose turns before the answer are not the prompt");
    prompt.take_system(answer.before.front());
  }

  std::vector<Media> media(const std::vector<std::string>& names) const {
    for (const std::string& name : names)
      if (const auto value = find(record_, name))
        return media_values(*value, name, source_.root, source_.store, where_);
    return {};
  }

  void add(std::string text) {
    Response response;
    response.text = std::move(text);
    result_.responses.push_back(std::move(response));
  }

  void add_pair(std::string better, std::string worse) {
    result_.pair = true;
    add(std::move(better));
    add(std::move(worse));
    name_sides();
  }

  const object& record_;
  const AnswerForm form_;
  const Columns& columns_;
  const MediaSource& source_;
  const std::string& where_;
  AnswerRecord result_;
};

}  // namespace

AnswerForm answer_form_named(const std::string& name) {
  constexpr std::pair<const char*, AnswerForm> kForms[] = {
      {"auto", AnswerForm::automatic},    {"dt2it", AnswerForm::dt2it},
      {"sharegpt", AnswerForm::sharegpt}, {"trl", AnswerForm::trl},
      {"llava", AnswerForm::llava},       {"ratings", AnswerForm::ratings},
      {"battles", AnswerForm::battles}};
  std::string allowed;
  for (const auto& [known, form] : kForms) {
    if (name == known) return form;
    allowed += (allowed.empty() ? "" : ", ") + std::string(known);
  }
  throw ConfigError("there is no form '" + name + "' of records (allowed: " + allowed + ")");
}

AnswerRecord parse_answers(const object& record, AnswerForm form, const Columns& columns,
                           const MediaSource& source, const std::string& where) {
  return Parser(record, form, columns, source, where).parse();
}

namespace {

std::string raw(const object& from, std::string_view key) {
  const auto value = find(from, key);
  return value ? std::string(simdjson::minify(*value)) : std::string();
}

void put_back(const object& from, Prompt& prompt, const std::string& where) {
  prompt.id = optional_text(from, "id", where);
  prompt.reference = optional_text(from, "reference", where);
  prompt.source = optional_text(from, "source", where);
  prompt.domain = optional_text(from, "domain", where);
  prompt.extra = raw(from, "extra");
  array sources;
  if (from["image_sources"].get(sources)) return;
  auto source = sources.begin();
  for (Message& message : prompt.messages)
    for (Part& part : message.content)
      if (std::string_view text;
          part.kind != Part::Kind::text && source != sources.end() && !(*source).get(text)) {
        part.media.source = text;
        ++source;
      }
}

void put_back(const object& from, Response& response, const std::string& where) {
  response.id = optional_text(from, "id", where);
  response.mllm = optional_text(from, "mllm", where);
  response.origin = optional_text(from, "origin", where);
  response.finish_reason = optional_text(from, "finish_reason", where);
  response.extra = raw(from, "extra");
  object image;
  if (!from["noised_image"].get(image)) {
    response.noised_image.id = optional_text(image, "id", where);
    response.noised_image.mime = optional_text(image, "mime", where);
    response.noised_image.source = optional_text(image, "source", where);
    std::int64_t pixels = 0;
    if (!image["width"].get(pixels)) response.noised_image.width = static_cast<int>(pixels);
    if (!image["height"].get(pixels)) response.noised_image.height = static_cast<int>(pixels);
  }
}

// What our exporters wrote beside a record (exporters/records/exported_pair).
void put_back(const object& from, PreferencePair& pair) {
  const std::string where = "record '" + pair.id + "': dt2it";
  pair.id = optional_text(from, "id", where);
  pair.source = optional_text(from, "source", where);
  pair.group = optional_text(from, "group", where);
  pair.extra = raw(from, "extra");
  object part;
  if (!from["prompt"].get(part)) put_back(part, pair.prompt, where);
  if (pair.rejected_prompt && !from["rejected_prompt"].get(part))
    put_back(part, *pair.rejected_prompt, where);
  for (const auto& [name, response] :
       {std::pair{"chosen", &pair.chosen}, std::pair{"rejected", &pair.rejected}}) {
    *response = Response{{}, std::move(response->text)};
    if (!from[name].get(part)) put_back(part, *response, where);
  }
  double number = 0;
  if (!from["strength"].get(number)) pair.strength = number;
  if (array list; !from["strengths"].get(list))
    for (const element& one : list)
      if (!one.get(number)) pair.strengths.push_back(number);
}

}  // namespace

PreferencePair pair_of(AnswerRecord record, const std::string& source) {
  if (record.status != Status::ok) throw DataError(record.detail);
  if (!record.pair) throw DataError("record '" + record.id + "' is no preference pair");
  PreferencePair pair;
  pair.id = record.id.empty() ? std::to_string(record.row) : std::move(record.id);
  pair.source = source.empty() ? record.prompt.source : source;
  pair.prompt = std::move(record.prompt);
  pair.rejected_prompt = std::move(record.rejected_prompt);
  if (pair.prompt.id.empty()) pair.prompt.id = pair.id;
  if (pair.rejected_prompt && pair.rejected_prompt->id.empty()) pair.rejected_prompt->id = pair.id;
  for (Response* response : {&record.responses[0], &record.responses[1]})
    response->origin = "dataset";
  pair.chosen = std::move(record.responses[0]);
  pair.rejected = std::move(record.responses[1]);
  if (pair.prompt.extra.starts_with(R"({"dt2it":)")) {
    const std::string provenance = std::move(pair.prompt.extra);
    pair.prompt.extra.clear();
    simdjson::dom::parser parser;
    object from;
    if (!parser.parse(provenance)["dt2it"].get(from)) put_back(from, pair);
  }
  return pair;
}

}  // namespace dt2it::records
