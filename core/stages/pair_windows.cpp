// SPDX-License-Identifier: Apache-2.0
#include "core/stages/pair_windows.hpp"

#include <fmt/format.h>

namespace dt2it {

void PairLines::read(std::size_t index, PreferencePair& pair, PairMarks* marks) {
  const std::string_view text = line(index);
  if (quick_.read(text, pair, marks)) return;
  if (marks) *marks = {};
  const std::string where =
      fmt::format("{}:{}", places_[index].file->string(), places_[index].number);
  pair = pair_from(strict_.parse(text, where), where);
}

void PairLineSource::next(PairLines& lines, std::size_t count) {
  lines.first_ = row_;
  lines.text_.clear();
  lines.places_.clear();
  std::string_view line;
  while (lines.places_.size() < count) {
    if (!reader_) {
      if (opened_ == files_.size()) break;
      reader_.emplace(files_[opened_++]);
    }
    if (!reader_->next(line)) {
      reader_.reset();
      continue;
    }
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    lines.places_.push_back(
        {lines.text_.size(), line.size(), &files_[opened_ - 1], reader_->line_number()});
    lines.text_ += line;
  }
  lines.text_.reserve(lines.text_.size() + QuickReader::kPadding);  // parsers look beyond the end
  row_ += lines.places_.size();
}

}  // namespace dt2it
