// SPDX-License-Identifier: Apache-2.0
#include "plugins/curators/decontaminate/question_text.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <memory>

#include "dt2it/rng.hpp"

namespace dt2it {
namespace {

bool stands_alone(utf8proc_int32_t code) {
  return (code >= 0x2E80 && code <= 0x9FFF) || (code >= 0xF900 && code <= 0xFAFF) ||
         code >= 0x20000 || (code >= 0x0E00 && code <= 0x0EFF);
}

}  // namespace

std::vector<std::string> question_words(std::string_view text) {
  std::vector<std::string> words;
  utf8proc_uint8_t* folded = nullptr;
  const auto options = static_cast<utf8proc_option_t>(
      UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &folded, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(folded, &std::free);
  bool within = false;
  if (size < 0) {
    for (const char c : text) {
      const bool letter =
          std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80;
      if (letter && !within) words.emplace_back();
      if (letter) words.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      within = letter;
    }
    return words;
  }
  for (utf8proc_ssize_t at = 0; at < size;) {
    utf8proc_int32_t code = 0;
    const utf8proc_ssize_t length = utf8proc_iterate(folded + at, size - at, &code);
    if (length <= 0) break;
    const auto category = utf8proc_category(code);
    const bool letter = (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_ME) ||
                        (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
    if (letter) {
      const bool alone = stands_alone(code);
      if (!within || alone) words.emplace_back();
      words.back().append(reinterpret_cast<const char*>(folded + at),
                          static_cast<std::size_t>(length));
      within = !alone;
    } else {
      within = false;
    }
    at += length;
  }
  return words;
}

QuestionKey question_key(std::string_view text, std::size_t n) {
  const std::vector<std::string> words = question_words(text);
  QuestionKey key;
  if (words.empty()) return key;
  key.whole = 1;
  for (const std::string& word : words) key.whole = stable_hash(word, key.whole);
  if (words.size() < n) {
    key.grams = {key.whole};
    return key;
  }
  for (std::size_t i = 0; i + n <= words.size(); ++i) {
    std::uint64_t gram = 2;
    for (std::size_t k = 0; k < n; ++k) gram = stable_hash(words[i + k], gram);
    key.grams.push_back(gram);
  }
  std::sort(key.grams.begin(), key.grams.end());
  key.grams.erase(std::unique(key.grams.begin(), key.grams.end()), key.grams.end());
  return key;
}

double containment(const QuestionKey& benchmark, const QuestionKey& other) {
  if (benchmark.whole == 0 || other.whole == 0) return 0;
  if (benchmark.whole == other.whole) return 1;
  std::size_t common = 0;
  for (const std::uint64_t gram : benchmark.grams)
    common += std::binary_search(other.grams.begin(), other.grams.end(), gram);
  return static_cast<double>(common) / static_cast<double>(benchmark.grams.size());
}

}  // namespace dt2it
