// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/llama_factory/files.hpp"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <deque>
#include <fstream>
#include <iterator>

#include "dt2it/error.hpp"

namespace dt2it::llama_factory {

namespace fs = std::filesystem;

std::string read_text(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(stream)), {});
  if (!stream) throw DataError(fmt::format("{}: cannot be read", file.string()));
  return text;
}

void write_text(const fs::path& file, std::string_view text) {
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(text.data(), static_cast<std::streamsize>(text.size()));
  stream.close();
  if (!stream) throw Error(fmt::format("{}: cannot be written", file.string()));
}

boost::json::value read_json(const fs::path& file) {
  boost::json::error_code failed;
  boost::json::value value = boost::json::parse(read_text(file), failed);
  if (failed) throw DataError(fmt::format("{}: is not JSON: {}", file.string(), failed.message()));
  return value;
}

std::string text_member(const boost::json::value& object, std::string_view name) {
  if (!object.is_object()) return {};
  const boost::json::value* member = object.get_object().if_contains(name);
  return member && member->is_string() ? std::string(member->get_string()) : std::string();
}

std::string last_lines(const fs::path& file, std::size_t count) {
  constexpr std::streamoff kMost = 1 << 16;
  constexpr std::size_t kWidth = 400;
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  if (!stream) return {};
  const std::streamoff size = stream.tellg();
  stream.seekg(size > kMost ? size - kMost : 0);
  std::deque<std::string> lines;
  for (std::string line; std::getline(stream, line);) {
    while (!line.empty() && line.back() == '\r') line.pop_back();
    if (const std::size_t begin = line.rfind('\r'); begin != std::string::npos)
      line.erase(0, begin + 1);
    if (line.empty()) continue;
    if (line.size() > kWidth) line.resize(kWidth);
    lines.push_back(std::move(line));
    if (lines.size() > count) lines.pop_front();
  }
  std::string text;
  for (const std::string& line : lines) text += "\n  " + line;
  return text;
}

}  // namespace dt2it::llama_factory
