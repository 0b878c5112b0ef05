// SPDX-License-Identifier: Apache-2.0
#include "plugins/benchmarks/pairwise/tsv_rows.hpp"

#include <fstream>
#include <map>
#include <streambuf>

#include "dt2it/error.hpp"
#include "plugins/common/records/record_fields.hpp"

namespace dt2it::records {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestReference =
    64;  // shorter cells of images name another row, as in VLMEvalKit

void append_string(std::string_view text, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') out += '\\';
    if (byte < 0x20) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

class TsvRows final : public RowReader {
 public:
  TsvRows(const fs::path& file, MediaStore& media)
      : file_(file), media_(media), stream_(file, std::ios::binary) {
    if (!stream_) throw DataError(file.string() + ": cannot be opened for reading");
    if (!read(names_))
      throw DataError(file.string() + ": is empty (a line with the names of columns is expected)");
    if (names_[0].starts_with("\xEF\xBB\xBF")) names_[0].erase(0, 3);
  }

  bool next(simdjson::dom::object& row) override {
    if (!skip()) return false;
    if (cells_.size() != names_.size())
      throw DataError(where() + ": has " + std::to_string(cells_.size()) +
                      " cells, but the first line names " + std::to_string(names_.size()) +
                      " columns");
    std::string index;
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (names_[i] == "index") index = cells_[i];
    json_ = "{";
    for (std::size_t i = 0; i < names_.size(); ++i) {
      if (i) json_ += ',';
      append_string(names_[i], json_);
      json_ += ':';
      if (names_[i] == "image")
        json_ += image(cells_[i], index);
      else
        append_string(cells_[i], json_);
    }
    json_ += '}';
    if (const auto error = parser_.parse(json_).get(row))
      throw DataError(where() + ": its texts cannot be read: " + simdjson::error_message(error));
    return true;
  }
  bool skip() override { return read(cells_); }
  std::string where() const override { return file_.string() + ":" + std::to_string(line_); }

 private:
  // One record's cells. A quote opens a quoted cell only where the cell begins.
  bool read(std::vector<std::string>& cells) {
    line_ = reading_line_ + 1;
    cells.assign(1, {});
    std::streambuf& in = *stream_.rdbuf();
    bool quoted = false, any = false;
    for (int c = in.sbumpc(); c != std::char_traits<char>::eof(); c = in.sbumpc()) {
      any = true;
      std::string& cell = cells.back();
      if (c == '\n') ++reading_line_;
      if (quoted) {
        if (c != '"')
          cell += static_cast<char>(c);
        else if (in.sgetc() == '"')
          cell += static_cast<char>(in.sbumpc());
        else
          quoted = false;
      } else if (c == '"' && cell.empty()) {
        quoted = true;
      } else if (c == '\t') {
        cells.emplace_back();
      } else if (c == '\n') {
        if (!cell.empty() && cell.back() == '\r') cell.pop_back();
        if (cells.size() > 1 || !cell.empty()) return true;
        line_ = reading_line_ + 1;  // an empty line
        any = false;
      } else {
        cell += static_cast<char>(c);
      }
    }
    if (quoted)
      throw DataError(where() +
                      ": the file ends within a quoted cell of the record that starts here");
    return any;
  }

  // JSON: media of this software's own form, a path, or null.
  std::string image(const std::string& cell, const std::string& index) {
    if (cell.empty()) return "null";
    if (const auto earlier = images_.find(cell);
        cell.size() <= kLongestReference && earlier != images_.end())
      return earlier->second;
    const auto bytes = cell.size() > kLongestReference ? decode_base64(cell) : std::nullopt;
    std::string json;
    if (!bytes) {
      append_string(cell, json);
      return json;
    }
    const Media media = media_.put(*bytes, "table cell");
    json = R"({"kind":"image","id":")" + media.id + R"(","mime":")" + media.mime + R"(","width":)" +
           std::to_string(media.width) + R"(,"height":)" + std::to_string(media.height) +
           R"(,"source":"table cell"})";
    if (!index.empty()) images_[index] = json;
    return json;
  }

  const fs::path file_;
  MediaStore& media_;
  std::ifstream stream_;
  std::vector<std::string> names_, cells_;
  std::size_t line_ = 0, reading_line_ = 0;
  std::map<std::string, std::string> images_;  // of earlier rows, by their index
  simdjson::dom::parser parser_;
  std::string json_;
};

}  // namespace

std::unique_ptr<RowReader> open_tsv(const fs::path& file, MediaStore& media) {
  return std::make_unique<TsvRows>(file, media);
}

}  // namespace dt2it::records
