// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/record_reader.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace dt2it::records {

namespace {

constexpr char kAllowed[] =
    "a .json file with an array of objects, or a .jsonl file with one object a line; Parquet and "
    "TSV "
    "carriers cannot be read";

bool is_text_carrier(const std::filesystem::path& file) {
  const std::string extension = file.extension().string();
  return extension == ".json" || extension == ".jsonl" || extension == ".ndjson";
}

bool is_digit(std::string_view at) { return !at.empty() && at[0] >= '0' && at[0] <= '9'; }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// A number in words that simdjson takes as well: it refuses integers beyond 64 bits, which become
// texts, and what is beyond a double, which becomes null.
void append_number(std::string_view number, std::string& result) {
  const std::string_view digits = number.substr(number.starts_with('-') ? 1 : 0);
  const bool leading_zero =
      digits.size() > 1 && digits[0] == '0' && digits[1] != '.' && (digits[1] | 32) != 'e';
  const bool integer = digits.find_first_of("+-.eE") == digits.npos;
  const std::size_t dot = digits.find('.');
  std::int64_t small = 0;
  std::uint64_t large = 0;
  const auto beyond = [&](auto& value) {
    return std::from_chars(number.data(), number.data() + number.size(), value).ec ==
           std::errc::result_out_of_range;
  };
  if (digits.empty() || leading_zero) {
    result += number;  // no JSON: the parser says so
  } else if (integer) {
    const bool quoted = number.front() == '-' ? beyond(small) : beyond(large);
    if (quoted) result += '"';
    result += number;
    if (quoted) result += '"';
  } else {
    const std::string text(number);
    char* end = nullptr;
    // strtod and not from_chars: only it tells too large from too small.
    const bool infinite = std::isinf(std::strtod(text.c_str(), &end)) &&
                          end == text.c_str() + text.size() && digits[0] != '.' &&
                          (dot == digits.npos || is_digit(digits.substr(dot + 1)));
    result += infinite ? "null" : text;
  }
}

// Numbers that other programs write and simdjson refuses, and Python's words for what JSON has no
// numbers for. Outside strings only: a text may well contain the word NaN.
std::string with_readable_numbers(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i + 1;
    if (text[i] == '"') {
      while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, text.size());
      result += text.substr(i, end - i);
    } else if (const std::string_view rest = text.substr(i); rest.starts_with("NaN")) {
      end = i + 3;
      result += "null";
    } else if (rest.starts_with("Infinity") || rest.starts_with("-Infinity")) {
      end = text.find('y', i) + 1;
      result += "null";
    } else if (text[i] == '-' || (text[i] >= '0' && text[i] <= '9')) {
      end = std::min(text.find_first_not_of("0123456789+-.eE", i), text.size());
      append_number(text.substr(i, end - i), result);
    } else {
      result += text[i];
    }
    i = end;
  }
  return result;
}

// The number of a \uXXXX escape at `at`; -1 when there is none.
int escape_at(std::string_view text, std::size_t at) {
  if (text.size() < at + 6 || text[at] != '\\' || text[at + 1] != 'u') return -1;
  int number = 0;
  for (char c : text.substr(at + 2, 4)) {
    const int digit = c >= '0' && c <= '9'                 ? c - '0'
                      : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                           : -1;
    if (digit < 0) return -1;
    number = 16 * number + digit;
  }
  return number;
}

// Half a character, written as an escape, is valid JSON, but UTF-8 has no form for it: U+FFFD
// instead.
std::string replace_lone_surrogates(std::string_view text) {
  std::string result(text);
  for (std::size_t i = 0; i + 1 < result.size(); ++i) {
    if (result[i] != '\\') continue;
    const int number = escape_at(result, i);
    if (number < 0xD800 || number > 0xDFFF) {
      ++i;  // whatever is escaped here starts nothing
      continue;
    }
    const int next = escape_at(result, i + 6);
    if (number < 0xDC00 && next >= 0xDC00 && next <= 0xDFFF)
      i += 11;
    else
      result.replace(i + 2, 4, "FFFD");
  }
  return result;
}

}  // namespace

std::filesystem::path find_data_file(const std::filesystem::path& path,
                                     const std::vector<std::string>& usual_names) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::exists(path, error))
    throw DataError(path.string() + ": no such file or folder (allowed: " + kAllowed + ")");
  if (!fs::is_directory(path, error)) {
    if (!is_text_carrier(path))
      throw DataError(path.string() + ": not a file this benchmark can read (allowed: " + kAllowed +
                      ")");
    return path;
  }
  for (const std::string& name : usual_names)
    if (fs::is_regular_file(path / name, error)) return path / name;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path))
    if (entry.is_regular_file(error) && is_text_carrier(entry.path()))
      found.push_back(entry.path());
  if (found.size() == 1) return found.front();
  std::string names;
  for (const std::string& name : usual_names) names += (names.empty() ? "" : ", ") + name;
  throw DataError(path.string() + ": " +
                  (found.empty()
                       ? "no .json or .jsonl file in this folder"
                       : "more than one .json or .jsonl file in this folder; name the file") +
                  " (looked for " + names + ")");
}

RecordReader::RecordReader(std::filesystem::path file)
    : file_(std::move(file)), stream_(file_, std::ios::binary) {
  if (!stream_) throw DataError(file_.string() + ": cannot be opened for reading");
  fill();
  if (text_.starts_with("\xEF\xBB\xBF")) position_ = 3;
  std::size_t first = position_;
  for (;; ++first) {
    if (first == text_.size() && !fill()) break;
    if (!is_space(text_[first])) break;
  }
  array_ = first < text_.size() && text_[first] == '[';
  if (!array_) return;
  reading_line_ = 1;
  peek();
  ++position_;  // the '['
}

bool RecordReader::fill() {
  constexpr std::size_t kBlock = std::size_t{1} << 20, kLongest = std::size_t{256} << 20;
  if (text_.size() > kLongest) {
    line_ = std::max<std::size_t>(line_, 1);
    end("a record is longer than 256 MiB");
  }
  if (!stream_) return false;
  const std::size_t size = text_.size();
  text_.resize(size + kBlock);
  stream_.read(text_.data() + size, kBlock);
  text_.resize(size + static_cast<std::size_t>(stream_.gcount()));
  if (stream_.bad() && !closed_) end("reading failed");
  return text_.size() > size;
}

void RecordReader::fail(const std::string& what) const { throw DataError(where() + ": " + what); }

void RecordReader::end(const std::string& what) {
  closed_ = true;
  fail(what);
}

char RecordReader::peek() {
  for (;; ++position_) {
    if (position_ == text_.size() && !fill()) return '\0';
    if (!is_space(text_[position_])) return text_[position_];
    if (text_[position_] == '\n') ++reading_line_;
  }
}

bool RecordReader::next_line(std::string_view& text) {
  while (!closed_) {
    if (position_ > text_.size() / 2) {  // given away
      text_.erase(0, position_);
      position_ = 0;
    }
    std::size_t from = position_, end = text_.find('\n', from);
    while (end == text_.npos) {
      from = text_.size();
      if (!fill()) break;
      end = text_.find('\n', from);
    }
    if (end == text_.npos && position_ == text_.size()) return false;
    text =
        std::string_view(text_).substr(position_, end == text_.npos ? text_.npos : end - position_);
    position_ = end == text_.npos ? text_.size() : end + 1;
    ++line_;
    if (std::any_of(text.begin(), text.end(), [](char c) { return !is_space(c); })) return true;
  }
  return false;
}

bool RecordReader::next_element(std::string_view& text) {
  if (closed_) return false;
  if (position_ > text_.size() / 2) {  // given away
    text_.erase(0, position_);
    position_ = 0;
  }
  char c = peek();
  line_ = reading_line_;
  if (c == ']') {
    closed_ = true;
    ++position_;
    if (peek() != '\0') {
      line_ = reading_line_;
      end("text after the end of the JSON array");
    }
    return false;
  }
  if (!first_) {
    if (c != ',') end("',' or ']' expected in the JSON array");
    ++position_;
    peek();
    line_ = reading_line_;
  }
  first_ = false;
  const std::size_t start = position_;
  int depth = 0;
  bool in_string = false;
  for (;; ++position_) {
    while (position_ >= text_.size())
      if (!fill()) break;
    if (position_ >= text_.size()) break;
    c = text_[position_];
    if (c == '\n') ++reading_line_;
    if (in_string) {
      if (c == '\\') ++position_;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (depth == 0 && (c == ',' || c == ']')) {
      break;
    } else if (c == '}' || c == ']') {
      if (--depth == 0) {
        ++position_;
        break;
      }
    }
  }
  position_ = std::min(position_, text_.size());
  if (in_string || depth != 0) end("the file ends within this record");
  text = std::string_view(text_).substr(start, position_ - start);
  return true;
}

bool RecordReader::skip() {
  std::string_view text;
  return array_ ? next_element(text) : next_line(text);
}

bool RecordReader::next(simdjson::dom::object& record) {
  std::string_view element;
  if (array_ ? !next_element(element) : !next_line(element)) return false;
  padded_ = simdjson::padded_string(element);
  simdjson::dom::element parsed;
  auto error = parser_.parse(padded_).get(parsed);
  if (error) {  // it may be what simdjson refuses alone; rare, so that all is looked at again
    padded_ = simdjson::padded_string(
        replace_lone_surrogates(with_readable_numbers(std::string_view(padded_))));
    error = parser_.parse(padded_).get(parsed);
  }
  if (error) fail(std::string("not valid JSON: ") + simdjson::error_message(error));
  if (parsed.get(record)) fail("a JSON object is expected");
  return true;
}

}  // namespace dt2it::records
