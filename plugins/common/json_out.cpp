// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/json_out.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <simdjson.h>
#include <utf8proc.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace dt2it::json_out {

namespace {

// How many bytes at the beginning need no escape in JSON; eight at a time.
std::size_t plain_length(std::string_view text) {
  constexpr std::uint64_t kOnes = 0x0101010101010101, kTops = 0x8080808080808080;
  const auto zeros = [](std::uint64_t word) { return (word - kOnes) & ~word & kTops; };
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, 8);
    // Below 0x20, a quotation mark, a backslash.
    if (((word - 0x20 * kOnes) & ~word & kTops) | zeros(word ^ ('"' * kOnes)) |
        zeros(word ^ ('\\' * kOnes)))
      break;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) >= 0x20 && text[at] != '"' &&
         text[at] != '\\')
    ++at;
  return at;
}

}  // namespace

std::string valid_utf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return std::string(text);
  std::string clean;
  clean.reserve(text.size());
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (std::size_t at = 0; at < text.size();) {
    utf8proc_int32_t point = 0;
    const utf8proc_ssize_t length =
        utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at), &point);
    if (length > 0) {
      clean.append(text, at, static_cast<std::size_t>(length));
      at += static_cast<std::size_t>(length);
    } else {
      clean += "\xef\xbf\xbd";
      ++at;
    }
  }
  return clean;
}

void append_json_string(std::string& json, std::string_view text) {
  std::string clean;
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    clean = valid_utf8(text);
    text = clean;
  }
  json.reserve(json.size() + text.size() + 2);
  json += '"';
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t plain = plain_length(text.substr(at));
    json.append(text, at, plain);
    if ((at += plain) == text.size()) break;
    const char c = text[at++];
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else {
      fmt::format_to(std::back_inserter(json), "\\u{:04x}", static_cast<unsigned>(c));
    }
  }
  json += '"';
}

#if defined(__x86_64__) && defined(__GNUC__)
// Whole blocks of 24 bytes by AVX2 (W. Mula and D. Lemire, "Faster Base64 Encoding and Decoding using AVX2 Instructions",
// 2018); returns how many bytes it took. Reads 4 bytes before and 4 after a block, so that the first and the last are left.
__attribute__((target("avx2"))) static std::size_t encode_blocks(const std::uint8_t* from,
                                                                 std::size_t size, char* to) {
  const __m256i spread = _mm256_setr_epi8(5, 4, 6, 5, 8, 7, 9, 8, 11, 10, 12, 11, 14, 13, 15, 14, 1,
                                          0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
  // What to add to a value of six bits: 'A', 'a' - 26, '0' - 52, '+' - 62, '/' - 63.
  const __m256i shift =
      _mm256_setr_epi8(65, 71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 0, 0, 65, 71, -4,
                       -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 0, 0);
  std::size_t at = 0;
  for (; at + 28 <= size; at += 24, to += 32) {
    __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at - 4));
    bytes = _mm256_shuffle_epi8(bytes, spread);
    const __m256i high = _mm256_mulhi_epu16(_mm256_and_si256(bytes, _mm256_set1_epi32(0x0fc0fc00)),
                                            _mm256_set1_epi32(0x04000040));
    const __m256i low = _mm256_mullo_epi16(_mm256_and_si256(bytes, _mm256_set1_epi32(0x003f03f0)),
                                           _mm256_set1_epi32(0x01000010));
    const __m256i sixes = _mm256_or_si256(high, low);
    // 0 for A to Z, 1 for a to z, 2 to 11 for digits, 12 for +, 13 for /.
    const __m256i row = _mm256_sub_epi8(_mm256_subs_epu8(sixes, _mm256_set1_epi8(51)),
                                        _mm256_cmpgt_epi8(sixes, _mm256_set1_epi8(25)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm256_add_epi8(sixes, _mm256_shuffle_epi8(shift, row)));
  }
  return at;
}
#endif

void append_base64(std::string& to, std::span<const std::uint8_t> bytes) {
  // By way of a small block: the long string is written once, without being cleared before. A multiple of 3 has no padding.
  constexpr std::size_t kBlock = 6144;
  std::array<char, kBlock / 3 * 4 + 1> block;  // EVP_EncodeBlock ends with a zero byte
  to.reserve(to.size() + (bytes.size() + 2) / 3 * 4);
#if defined(__x86_64__) && defined(__GNUC__)
  static const bool kAvx2 = __builtin_cpu_supports("avx2");
  const bool wide = kAvx2 && bytes.size() >= 64;
#else
  const bool wide = false;
#endif
  std::size_t part = 0;
  for (std::size_t done = 0; done < bytes.size(); done += part) {
    part = std::min(wide && done == 0 ? 6 : kBlock, bytes.size() - done);
    std::size_t taken = 0;
#if defined(__x86_64__) && defined(__GNUC__)
    if (wide && done > 0) taken = encode_blocks(bytes.data() + done, part, block.data());
#endif
    std::size_t letters = taken / 3 * 4;
    letters += static_cast<std::size_t>(
        EVP_EncodeBlock(reinterpret_cast<unsigned char*>(block.data() + letters),
                        bytes.data() + done + taken, static_cast<int>(part - taken)));
    to.append(block.data(), letters);
  }
}

}  // namespace dt2it::json_out
