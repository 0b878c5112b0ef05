// SPDX-License-Identifier: Apache-2.0
#include "core/data/quick_reader.hpp"

#include <cstring>

#include "core/data/names.hpp"

namespace dt2it {
namespace {

using Value = QuickReader::Value;

std::string_view token_of(Value& value) {
  std::string_view token = value.raw_json_token();
  while (!token.empty() && (token.back() == ' ' || token.back() == '\n' || token.back() == '\t' ||
                            token.back() == '\r'))
    token.remove_suffix(1);
  return token;
}

const char* next_escape(const char* at, const char* end) {
  return static_cast<const char*>(std::memchr(at, '\\', static_cast<std::size_t>(end - at)));
}

// Half a pair cannot be told from a whole one here.
bool has_surrogate(std::string_view json) {
  const char* const end = json.data() + json.size();
  for (const char* at = json.data(); (at = next_escape(at, end)) != nullptr && end - at > 2;
       at += 2)
    if (at[1] == 'u' && (at[2] == 'd' || at[2] == 'D')) return true;
  return false;
}

enum class Unescaped { done, code_point, wrong };

// The text between the quotes, where it has no escapes by number.
Unescaped unescape(std::string_view inside, std::string& text) {
  const char* at = inside.data();
  const char* const end = at + inside.size();
  text.clear();
  for (const char* escape; (escape = next_escape(at, end)) != nullptr; at = escape + 2) {
    text.append(at, escape);
    if (end - escape < 2) return Unescaped::wrong;
    switch (escape[1]) {
      case 'n': text += '\n'; break;
      case 't': text += '\t'; break;
      case 'r': text += '\r'; break;
      case 'b': text += '\b'; break;
      case 'f': text += '\f'; break;
      case '"':
      case '\\':
      case '/': text += escape[1]; break;
      case 'u': return Unescaped::code_point;
      default: return Unescaped::wrong;
    }
  }
  text.append(at, end);
  return Unescaped::done;
}

template <class Enum, std::size_t N>
bool name(Value value, const std::array<std::string_view, N>& names, Enum& result) {
  const std::string_view token = token_of(value);
  if (token.size() < 2 || token.front() != '"' || token.back() != '"') return false;
  const auto found = value_named<Enum>(names, token.substr(1, token.size() - 2));
  if (found) result = *found;
  return found.has_value();
}

bool whole(Value value, int& result) {
  std::int64_t number = 0;
  if (value.get_int64().get(number) || number < 0 || number > 1'000'000'000) return false;
  result = static_cast<int>(number);
  return true;
}

bool media_id(Value value, std::string& id) {
  if (!QuickReader::text(value, id) || id.size() != 64) return false;
  return std::ranges::all_of(
      id, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool no_other(std::string_view, Value&) { return false; }

// What follows makes records empty and keeps the memory they hold: most of reading would be to ask for it anew.

void clear(Media& media) {
  media.kind = {};
  media.id.clear();
  media.mime.clear();
  media.width = media.height = 0;
  media.source.clear();
  media.frames.clear();
}

void clear(Part& part) {
  part.kind = {};
  part.text.clear();
  clear(part.media);
}

// But for its messages: see Refill.
void clear(Prompt& prompt) {
  prompt.id.clear();
  prompt.reference.clear();
  prompt.source.clear();
  prompt.domain.clear();
  prompt.extra.clear();
}

void clear(Response& response) {
  response.id.clear();
  response.text.clear();
  response.mllm.clear();
  response.origin.clear();
  response.status = {};
  response.finish_reason.clear();
  clear(response.noised_image);
  response.extra.clear();
}

// Fills a list from its beginning with what was in it, as it was; what is left over goes with the Refill.
template <class T>
class Refill {
 public:
  explicit Refill(std::vector<T>& list) : list_(list) {}
  ~Refill() { list_.resize(used_); }
  Refill(const Refill&) = delete;
  Refill& operator=(const Refill&) = delete;
  T& next() {
    if (used_ == list_.size()) list_.emplace_back();
    return list_[used_++];
  }

 private:
  std::vector<T>& list_;
  std::size_t used_ = 0;
};

}  // namespace

bool QuickReader::key_of(simdjson::ondemand::field& field, std::string_view& key) {
  const char* const raw = field.key().raw();
  std::size_t size = 0;
  for (; raw[size] != '"'; ++size)
    if (raw[size] == '\\' || size == 64) return false;
  key = {raw, size};
  return true;
}

bool QuickReader::text(Value value, std::string& text) {
  const std::string_view token = token_of(value);
  if (token.size() < 2 || token.front() != '"' || token.back() != '"') return false;
  switch (unescape(token.substr(1, token.size() - 2), text)) {
    case Unescaped::done: return true;
    case Unescaped::wrong: return false;
    case Unescaped::code_point: break;
  }
  std::string_view unescaped;
  if (has_surrogate(token) || value.get_string().get(unescaped)) return false;
  text = unescaped;
  return true;
}

bool QuickReader::number(Value value, double& number) {
  if (token_of(value) == "-0") return false;  // an integer, which has no such zero
  return !value.get_double().get(number);
}

bool QuickReader::add(std::string& extra, std::string_view key, Value value) {
  std::string_view raw = token_of(value);
  if (raw.empty()) return false;
  if (raw.front() == '{') {
    simdjson::ondemand::object object;
    if (value.get_object().get(object) || object.raw_json().get(raw)) return false;
  } else if (raw.front() == '[') {
    simdjson::ondemand::array array;
    if (value.get_array().get(array) || array.raw_json().get(raw)) return false;
  }
  while (!raw.empty() &&
         (raw.back() == ' ' || raw.back() == '\n' || raw.back() == '\t' || raw.back() == '\r'))
    raw.remove_suffix(1);
  simdjson::dom::element checked;
  if (has_surrogate(raw) || check_.parse(raw.data(), raw.size()).get(checked)) return false;
  extra += extra.empty() ? "{\"" : ",\"";
  extra += key;
  extra += "\":";
  extra += raw;
  return true;
}

bool QuickReader::media(Value value, Media& media) {
  return members(
      value, kMediaKeys,
      [&](std::size_t key, Value& part) {
        switch (key) {
          case 0: return name(part, kMediaNames, media.kind);
          case 1: return media_id(part, media.id);
          case 2: return text(part, media.mime);
          case 3: return whole(part, media.width);
          case 4: return whole(part, media.height);
          case 5: return text(part, media.source);
          default:
            return items(
                part, [&](Value& frame) { return media_id(frame, media.frames.emplace_back()); });
        }
      },
      no_other);
}

bool QuickReader::message(Value value, Message& message) {
  bool has_role = false, has_content = false;
  message.role = Message().role;
  Refill parts(message.content);
  const auto part_of = [&](Value& item) {
    Part& part = parts.next();
    clear(part);
    bool has_kind = false;
    int filled = -1;  // 0: text, 1: image, 2: video
    const bool read = members(
        item, kPartKeys,
        [&](std::size_t key, Value& inner) {
          if (key == 0) return has_kind = name(inner, kPartNames, part.kind);
          if (filled >= 0) return false;
          filled = static_cast<int>(key) - 1;
          return key == 1 ? text(inner, part.text) : media(inner, part.media);
        },
        no_other);
    return read && has_kind && filled == static_cast<int>(part.kind);
  };
  return members(
             value, kMessageKeys,
             [&](std::size_t key, Value& part) {
               if (key == 0) return has_role = name(part, kRoleNames, message.role);
               return has_content = items(part, part_of);
             },
             no_other) &&
         has_role && has_content;
}

bool QuickReader::read(Value value, Prompt& prompt) {
  bool has_messages = false;
  clear(prompt);
  Refill messages(prompt.messages);
  const bool good = members(
      value, kPromptKeys,
      [&](std::size_t key, Value& part) {
        switch (key) {
          case 0: return text(part, prompt.id);
          case 1:
            return has_messages =
                       items(part, [&](Value& item) { return message(item, messages.next()); });
          case 2: return text(part, prompt.reference);
          case 3: return text(part, prompt.source);
          default: return text(part, prompt.domain);
        }
      },
      [&](std::string_view key, Value& part) { return add(prompt.extra, key, part); });
  close(prompt.extra);
  return good && has_messages;
}

bool QuickReader::read(Value value, Response& response) {
  bool has_text = false;
  clear(response);
  const bool good = members(
      value, kResponseKeys,
      [&](std::size_t key, Value& part) {
        switch (key) {
          case 0: return text(part, response.id);
          case 1: return has_text = text(part, response.text);
          case 2: return text(part, response.mllm);
          case 3: return text(part, response.origin);
          case 4: return name(part, kStatusNames, response.status);
          case 5: return text(part, response.finish_reason);
          default: return media(part, response.noised_image);
        }
      },
      [&](std::string_view key, Value& part) { return add(response.extra, key, part); });
  close(response.extra);
  return good && has_text;
}

bool QuickReader::read(Value value, Score& score) {
  const auto ignored = [](std::string_view, Value&) {
    return false;
  };  // the strict reader looks at it
  const auto criterion = [&](Value& item) {
    Criterion& made = score.criteria.emplace_back();
    return members(
        item, kCriterionKeys,
        [&](std::size_t key, Value& part) {
          switch (key) {
            case 0: return text(part, made.name);
            case 1: return number(part, made.weight);
            case 2: return number(part, made.score);
            default: return text(part, made.analysis);
          }
        },
        ignored);
  };
  return members(
      value, kScoreKeys,
      [&](std::size_t key, Value& part) {
        switch (key) {
          case 0: return name(part, kStatusNames, score.status);
          case 1: return number(part, score.overall);
          case 2: return number(part, score.stated_overall.emplace());
          case 3: return items(part, criterion);
          case 4: return text(part, score.judge_reference);
          case 5: return text(part, score.detail);
          default: return text(part, score.reply);
        }
      },
      ignored);
}

bool QuickReader::read(std::string_view text_of_pair, PreferencePair& pair, PairMarks* marks) {
  bool has_prompt = false, has_chosen = false, has_rejected = false;
  PairMarker marker(text_of_pair);
  pair.id.clear();
  pair.rejected_prompt.reset();
  pair.source.clear();
  pair.group.clear();
  pair.strength.reset();
  pair.strengths.clear();
  pair.extra.clear();
  const bool good = record(text_of_pair, [&](Value root) {
    return members(
        root, kPairKeys,
        [&](std::size_t key, Value& part) {
          switch (key) {
            case 0: return text(part, pair.id);
            case 1: return has_prompt = read(part, pair.prompt);
            case 2: return read(part, pair.rejected_prompt.emplace());
            case 3: return has_chosen = read(part, pair.chosen);
            case 4: return has_rejected = read(part, pair.rejected);
            case 5: return text(part, pair.source);
            case 6: return text(part, pair.group);
            case 7: return number(part, pair.strength.emplace());
            default:
              return items(
                  part, [&](Value& item) { return number(item, pair.strengths.emplace_back()); });
          }
        },
        [&](std::string_view key, Value& part) { return add(pair.extra, key, part); },
        [&](std::size_t index, std::string_view key) {
          if (marks) marker.member(index, key);
        });
  });
  close(pair.extra);
  if (!good || !has_prompt || !has_chosen || !has_rejected) return false;
  if (marks) *marks = marker.end();
  return true;
}

bool QuickReader::read(std::string_view text_of_preference, ImagePreference& preference) {
  bool has_text = false, has_better = false, has_worse = false;
  preference.id.clear();
  preference.text.clear();
  clear(preference.better);
  clear(preference.worse);
  preference.source.clear();
  preference.extra.clear();
  const bool good = record(text_of_preference, [&](Value root) {
    return members(
        root, kPreferenceKeys,
        [&](std::size_t key, Value& part) {
          switch (key) {
            case 0: return text(part, preference.id);
            case 1: return has_text = text(part, preference.text);
            case 2: return has_better = media(part, preference.better);
            case 3: return has_worse = media(part, preference.worse);
            default: return text(part, preference.source);
          }
        },
        [&](std::string_view key, Value& part) { return add(preference.extra, key, part); });
  });
  close(preference.extra);
  return good && has_text && has_better && has_worse;
}

}  // namespace dt2it
