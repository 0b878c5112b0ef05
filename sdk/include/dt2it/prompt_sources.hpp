// SPDX-License-Identifier: Apache-2.0
#pragma once

// The paper's Table 9: where the prompts of the distillation come from, and which domain each
// source belongs to.

#include <cctype>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace dt2it {

struct PromptSource {
  const char* name;    // as the table has it
  const char* domain;  // "visual_understanding", "reasoning", "safety"
  const char* others;  // how carriers call it, separated by spaces
};

inline std::span<const PromptSource> table9() {
  static constexpr PromptSource kRows[] = {
      {"GQA", "visual_understanding", ""},
      {"IconQA", "visual_understanding", "iconqa(mathv360k)"},
      {"InfoVQA", "visual_understanding",
       "infographic_vqa infographicvqa infographic_vqa_llava_format"},
      {"ChartQA", "visual_understanding", "chartqa(cauldron)"},
      {"DVQA", "visual_understanding", "dvqa(cauldron,llava_format)"},
      {"MapQA", "visual_understanding", "mapqa(cauldron,llava_format) mapqa(mathv360k)"},
      {"AI2D", "reasoning", "ai2d(cauldron,llava_format) ai2d(gpt4v) ai2d(internvl)"},
      {"M3CoT", "reasoning", ""},
      {"ScienceQA", "reasoning", "scienceqa(cauldron,llava_format) scienceqa(nona_context)"},
      {"MMK12", "reasoning", ""},
      {"CLEVR-Math", "reasoning", "clevr_math(mathv360k)"},
      {"GeoQA+", "reasoning", "geoqa_plus geoqa+(mathv360k)"},
      {"Geometry3K", "reasoning", "geo3k intergps geometry3k(mathv360k)"},
      {"Geo170K", "reasoning", "geo170k(qa) geo170k_qa"},
      {"GEOS", "reasoning", "geos(mathv360k)"},
      {"UniGeo", "reasoning", "unigeo(mathv360k)"},
      {"SPA-VL", "safety", ""}};
  return kRows;
}

// The row of a source by any of its names, without regard to case and signs; null when it has none.
inline const PromptSource* table9_row(std::string_view source) {
  const auto bare = [](std::string_view text) {
    std::string result;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (std::isalnum(byte) || c == '+') result += static_cast<char>(std::tolower(byte));
    }
    return result;
  };
  const std::string wanted = bare(source);
  if (wanted.empty()) return nullptr;
  for (const PromptSource& row : table9()) {
    if (bare(row.name) == wanted) return &row;
    for (std::string_view others = row.others; !others.empty();) {
      const std::size_t end = others.find(' ');
      if (bare(others.substr(0, end)) == wanted) return &row;
      others = end == others.npos ? std::string_view() : others.substr(end + 1);
    }
  }
  return nullptr;
}

}  // namespace dt2it
