// SPDX-License-Identifier: Apache-2.0
#include "json_repair.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/stream_parser.hpp>
#include <cctype>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

namespace dt2it::rubric {
namespace {

constexpr std::size_t kMaxDepth = 24;   // below Boost.JSON's own limit of 32
constexpr std::size_t kMaxStarts = 64;  // braces that may be tried as the start of a value
constexpr std::size_t kMaxKey = 100;

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Length of the UTF-8 character at text[at], 0 when there is none.
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<std::uint8_t>(text[i]) : std::uint8_t{0};
  };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const std::uint8_t lead = byte(at);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return tail(at + 1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    if (!tail(at + 1) || !tail(at + 2)) return 0;
    if (lead == 0xE0 && byte(at + 1) < 0xA0) return 0;  // overlong
    if (lead == 0xED && byte(at + 1) > 0x9F) return 0;  // surrogate
    return 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    if (!tail(at + 1) || !tail(at + 2) || !tail(at + 3)) return 0;
    if (lead == 0xF0 && byte(at + 1) < 0x90) return 0;
    if (lead == 0xF4 && byte(at + 1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

// Rewrites one value as strict JSON.
class Mender {
 public:
  enum class Result { done, cut, hopeless };

  Mender(std::string_view text, std::size_t start) : text_(text), at_(start) {}

  Result run() {
    for (;;) {
      skip_blank();
      if (at_ >= text_.size()) return Result::cut;
      const char c = text_[at_];
      if (c == '{' || c == '[') {
        if (!open(c)) return Result::hopeless;
      } else if (c == '}' || c == ']') {
        if (!close(c)) return Result::hopeless;
        if (stack_.empty()) return Result::done;
      } else if (c == ',') {
        // Commas are written where the next value starts, so surplus ones vanish here.
        if (stack_.back().expect == Expect::value) return Result::hopeless;
        ++at_;
      } else if (c == ':') {
        if (stack_.back().expect != Expect::colon) return Result::hopeless;
        json_ += ':';
        stack_.back().expect = Expect::value;
        ++at_;
      } else if (!scalar()) {
        return hopeless_ ? Result::hopeless : Result::cut;
      }
    }
  }

  const std::string& json() const { return json_; }
  std::size_t end() const { return at_; }
  bool repeated() const { return repeated_; }

 private:
  enum class Expect { key, colon, value, item };
  struct Level {
    bool object;
    bool empty;
    Expect expect;
    std::set<std::string, std::less<>> keys;
  };

  void skip_blank() {
    while (at_ < text_.size()) {
      if (is_space(text_[at_])) {
        ++at_;
      } else if (text_.substr(at_).starts_with("//")) {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (text_.substr(at_).starts_with("/*")) {
        const std::size_t end = text_.find("*/", at_ + 2);
        at_ = end == std::string_view::npos ? text_.size() : end + 2;
      } else {
        return;
      }
    }
  }

  // A key or value is about to be written. False: it cannot stand here.
  bool before_token(bool container) {
    if (stack_.empty()) return true;
    Level& level = stack_.back();
    if (level.expect == Expect::colon) return false;
    if (level.expect == Expect::key && container) return false;
    if (level.expect != Expect::value) {
      if (!level.empty) json_ += ',';
      level.empty = false;
    }
    return true;
  }
  void after_token() {
    if (stack_.empty()) return;
    Level& level = stack_.back();
    if (level.object) level.expect = level.expect == Expect::key ? Expect::colon : Expect::key;
  }

  bool open(char c) {
    if (stack_.size() >= kMaxDepth || !before_token(true)) return false;
    json_ += c;
    stack_.push_back({c == '{', true, c == '{' ? Expect::key : Expect::item, {}});
    ++at_;
    return true;
  }
  bool close(char c) {
    const Level& level = stack_.back();
    if (level.object != (c == '}') || level.expect == Expect::colon ||
        level.expect == Expect::value)
      return false;
    json_ += c;
    stack_.pop_back();
    ++at_;
    after_token();
    return true;
  }

  // False at the end of the text or, with hopeless_ set, where nothing sensible stands.
  bool scalar() {
    hopeless_ = !before_token(false);
    if (hopeless_) return false;
    const std::string_view rest = text_.substr(at_);
    std::string closing;
    if (rest[0] == '"' || rest[0] == '\'') closing = rest[0];
    for (const std::string_view curly : {"\u201C", "\u201D"})
      if (rest.starts_with(curly)) closing = "\u201D";
    const bool key = !stack_.empty() && stack_.back().expect == Expect::key;
    const std::size_t begin = json_.size();
    if (!(closing.empty() ? bare() : quoted(closing))) return false;
    // A key that comes twice may be foreign text that broke out of a string: better no value than a
    // wrong one.
    if (key && !stack_.back().keys.insert(json_.substr(begin)).second) repeated_ = true;
    after_token();
    return true;
  }

  // Is the quote that ends at `after` the closing one? It is when what follows could follow a
  // string.
  bool closes(std::size_t after) const {
    const auto skip = [this](std::size_t i) {
      while (i < text_.size() && is_space(text_[i])) ++i;
      return i;
    };
    const std::size_t next = skip(after);
    if (next >= text_.size()) return true;
    const char c = text_[next];
    if (stack_.back().expect == Expect::key) return c == ':';
    if (c == '}' || c == ']') return true;
    const bool new_line = text_.substr(after, next - after).find('\n') != std::string_view::npos;
    if (c == '"' || c == '\'') return new_line;  // a comma was forgotten
    if (c != ',')
      return text_.substr(next).starts_with("//") || text_.substr(next).starts_with("/*");
    const std::size_t then = skip(next + 1);
    if (then >= text_.size()) return true;
    const char d = text_[then];
    if (d == '"' || d == '\'' || d == '{' || d == '[' || d == '}' || d == ']' || d == ',')
      return true;
    if (text_.substr(then).starts_with("\u201C")) return true;
    if (text_.substr(next, then - next).find('\n') != std::string_view::npos) return true;
    // On the same line it is more of the sentence, unless it can only be an unquoted key or a
    // number.
    if (!stack_.back().object) return is_digit(d) || d == '-';
    std::size_t word = then;
    while (word < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[word])) != 0 || text_[word] == '_'))
      ++word;
    const std::size_t colon = skip(word);
    return word > then && colon < text_.size() && text_[colon] == ':';
  }

  bool quoted(std::string_view closing) {
    at_ += text_.substr(at_).starts_with("\u201C") ? 3 : closing.size();
    std::string out = "\"";
    const bool key = stack_.back().expect == Expect::key;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (key && out.size() > kMaxKey) {  // braces in prose
        hopeless_ = true;
        return false;
      }
      if (text_.substr(at_).starts_with(closing)) {
        if (closes(at_ + closing.size())) {
          at_ += closing.size();
          // The last thing in the text: whether it was the end or an inner quote, the value is cut.
          json_ += out + '"';
          return true;
        }
        out += closing == "\"" ? std::string("\\\"") : std::string(closing);
        at_ += closing.size();
      } else if (c == '\\') {
        if (!escape(out)) return false;
      } else {
        append(out, c);
        ++at_;
      }
    }
    return false;
  }

  static void append(std::string& out, char c) {
    if (c == '"')
      out += "\\\"";
    else if (c == '\n')
      out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20)
      out += c == '\t' ? "\\t" : " ";
    else
      out += c;
  }

  int hex4(std::size_t at) const {
    if (at + 4 > text_.size()) return -1;
    int value = 0;
    for (std::size_t i = at; i < at + 4; ++i) {
      const char c = text_[i];
      if (std::isxdigit(static_cast<unsigned char>(c)) == 0) return -1;
      value = value * 16 + (is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
  }

  bool escape(std::string& out) {
    if (at_ + 1 >= text_.size()) return false;
    const char c = text_[at_ + 1];
    if (c == 'u') {
      const int code = hex4(at_ + 2);
      if (code < 0) {
        out += "\\\\";
        ++at_;
        return true;
      }
      const bool high = code >= 0xD800 && code < 0xDC00;
      if (high && text_.substr(at_ + 6).starts_with("\\u")) {
        const int low = hex4(at_ + 8);
        if (low >= 0xDC00 && low < 0xE000) {
          out += text_.substr(at_, 12);
          at_ += 12;
          return true;
        }
      }
      if (code >= 0xD800 && code < 0xE000)
        out += "\\ufffd";  // half a surrogate pair
      else
        out += text_.substr(at_, 6);
      at_ += 6;
    } else if (std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos) {
      out += '\\';
      out += c;
      at_ += 2;
    } else if (c == '\'') {
      out += '\'';
      at_ += 2;
    } else {
      out += "\\\\";  // a lone backslash, as in LaTeX
      ++at_;
    }
    return true;
  }

  // A number, a literal or an unquoted word.
  bool bare() {
    std::size_t end = at_;
    while (end < text_.size() &&
           std::string_view(",:{}[]\"\n\r").find(text_[end]) == std::string_view::npos)
      ++end;
    if (end >= text_.size()) return false;
    std::string_view word = text_.substr(at_, end - at_);
    if (const std::size_t comment = word.find("//"); comment != std::string_view::npos)
      word = word.substr(0, comment), end = at_ + comment;
    if (const std::size_t comment = word.find("/*"); comment != std::string_view::npos)
      word = word.substr(0, comment), end = at_ + comment;
    while (!word.empty() && is_space(word.back())) word.remove_suffix(1);
    if (word.empty()) {
      hopeless_ = true;
      return false;
    }
    at_ = end;
    const bool key = !stack_.empty() && stack_.back().expect == Expect::key;
    if (!key) {
      if (word == "true" || word == "True") return json_ += "true", true;
      if (word == "false" || word == "False") return json_ += "false", true;
      if (word == "null" || word == "None") return json_ += "null", true;
      boost::system::error_code error;
      const boost::json::value number = boost::json::parse(boost::json::string_view(word), error);
      if (!error && number.is_number()) return json_ += word, true;
    }
    json_ += '"';
    for (const char c : word) {
      if (c == '\\')
        json_ += "\\\\";
      else
        append(json_, c);
    }
    json_ += '"';
    return true;
  }

  std::string_view text_;
  std::size_t at_;
  std::string json_;
  std::vector<Level> stack_;
  bool hopeless_ = false, repeated_ = false;
};

// Whether an object in strict JSON has a key twice with values that differ; Boost.JSON would keep
// the last one and say nothing.
class Repetition {
 public:
  explicit Repetition(std::string_view json) : json_(json) { value(); }
  bool found() const { return found_; }

 private:
  char here() const { return at_ < json_.size() ? json_[at_] : ']'; }
  void skip_blank() {
    while (is_space(here())) ++at_;
  }
  std::string_view string() {
    const std::size_t begin = at_++;
    while (at_ < json_.size() && json_[at_] != '"') at_ += json_[at_] == '\\' ? 2 : 1;
    return json_.substr(begin, ++at_ - begin);
  }
  std::string_view value() {
    skip_blank();
    const std::size_t begin = at_;
    if (here() == '{' || here() == '[') {
      const bool object = json_[at_++] == '{';
      std::map<std::string, std::string_view, std::less<>> members;
      for (skip_blank(); here() != '}' && here() != ']'; skip_blank()) {
        if (here() == ',') {
          ++at_;
        } else if (object) {
          const boost::json::value key = boost::json::parse(string());  // without escapes
          skip_blank();
          ++at_;  // the colon
          const std::string_view given = value();
          const auto [member, first] = members.emplace(key.as_string(), given);
          found_ = found_ || (!first && member->second != given);
        } else {
          value();
        }
      }
      ++at_;
    } else if (here() == '"') {
      string();
    } else {
      while (here() != ',' && here() != '}' && here() != ']' && !is_space(here())) ++at_;
    }
    return json_.substr(begin, at_ - begin);
  }

  std::string_view json_;
  std::size_t at_ = 0;
  bool found_ = false;
};

bool worth_keeping(const boost::json::value& value) {
  if (value.is_object()) return true;
  const auto* array = value.if_array();
  return array != nullptr && !array->empty() && array->front().is_object();
}

}  // namespace

FoundJson find_json(std::string_view text) {
  FoundJson found;
  std::size_t at = 0;
  for (std::size_t starts = 0; starts < kMaxStarts; ++starts) {
    at = text.find_first_of("{[", at);
    if (at == std::string_view::npos) break;

    boost::json::stream_parser parser;
    boost::system::error_code error;
    const std::size_t used = parser.write_some(text.data() + at, text.size() - at, error);
    const auto keep = [&](boost::json::value value, bool repeated) {
      if (!worth_keeping(value)) return;
      found.repeated = found.repeated || repeated;
      if (!repeated) found.values.push_back(std::move(value));
    };
    if (!error && parser.done()) {
      keep(parser.release(), Repetition(text.substr(at, used)).found());
      at += used;
      continue;
    }
    Mender mender(text, at);
    const Mender::Result result = mender.run();
    // Prose has braces and the same word twice.
    if (result == Mender::Result::cut && text[at] == '{' && !mender.repeated()) {
      found.cut = true;
      break;
    }
    if (result == Mender::Result::done) {
      boost::json::value value = boost::json::parse(mender.json(), error);
      if (!error) {
        at = mender.end();
        keep(std::move(value), mender.repeated() || Repetition(mender.json()).found());
        continue;
      }
    }
    ++at;
  }
  return found;
}

std::string valid_utf8(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (length == 0) {
      clean += "\xEF\xBF\xBD";
      ++i;
    } else {
      clean += text.substr(i, length);
      i += length;
    }
  }
  return clean;
}

}  // namespace dt2it::rubric
