// SPDX-License-Identifier: Apache-2.0
#include "answer_text.hpp"

#include <algorithm>
#include <span>
#include <string_view>

namespace dt2it::local {

bool AnswerText::add(std::int64_t token) {
  // How bytes outside a character are shown; the beginning of one has three at most.
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  if (backbone_->detokenize({&token, 1}).empty()) return false;
  window_.push_back(token);
  const std::string known = backbone_->detokenize(std::span(window_).first(fresh_));
  const std::string all = backbone_->detokenize(window_);
  std::string_view shown = std::string_view(all).substr(std::min(known.size(), all.size()));
  const bool whole = !shown.ends_with(kReplacement);
  for (int i = 0; i < 3 && shown.ends_with(kReplacement); ++i)
    shown.remove_suffix(kReplacement.size());
  const std::size_t before = settled_;
  text_.resize(settled_);
  text_ += shown;
  if (whole) {
    settled_ = text_.size();
    window_.erase(window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(fresh_));
    fresh_ = window_.size();
  }

  std::size_t end = std::string::npos;
  for (const std::string& stop : *stops_)
    end = std::min(end, text_.find(stop, before - std::min(before, stop.size() - 1)));
  if (end == std::string::npos) return false;
  text_.resize(end);
  return true;
}

}  // namespace dt2it::local
