// SPDX-License-Identifier: Apache-2.0
#include "core/nn/resample_kernels.hpp"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#define DT2IT_AVX2 [[gnu::always_inline]] __attribute__((target("avx2"))) inline
#endif

namespace dt2it::nn {
namespace {

// A split weight is upper * 4096 + lower, 0 <= lower < 4096: both fit 16 bits, and the sum of
// products stays exact.
constexpr int kLowerBits = 12;
constexpr std::int32_t kLowerMask = (1 << kLowerBits) - 1;

std::uint8_t clamp8(std::int32_t fixed, int bits) {
  return static_cast<std::uint8_t>(std::clamp(fixed >> bits, 0, 255));
}

void columns_scalar(const AxisWeights& axis, const std::uint8_t* in, std::uint8_t* out, int width) {
  for (int x = 0; x < width; ++x, out += 3) {
    const std::int32_t* weight = axis.weights.data() + axis.offset[static_cast<std::size_t>(x)];
    const std::uint8_t* pixel =
        in + static_cast<std::ptrdiff_t>(axis.first[static_cast<std::size_t>(x)]) * 3;
    std::int32_t sum[3];
    std::fill_n(sum, 3, 1 << (axis.bits - 1));
    for (int k = axis.count(x); k > 0; --k, ++weight)
      for (int c = 0; c < 3; ++c) sum[c] += *weight * *pixel++;
    for (int c = 0; c < 3; ++c) out[c] = clamp8(sum[c], axis.bits);
  }
}

void rows_scalar(const AxisWeights& axis, int y, const std::uint8_t* const* in, std::uint8_t* out,
                 std::size_t begin, std::size_t end) {
  const std::int32_t* weights = axis.weights.data() + axis.offset[static_cast<std::size_t>(y)];
  const int count = axis.count(y);
  for (std::size_t i = begin; i < end; ++i) {
    std::int32_t sum = 1 << (axis.bits - 1);
    for (int k = 0; k < count; ++k) sum += weights[k] * in[k][i];
    out[i] = clamp8(sum, axis.bits);
  }
}

#if defined(__x86_64__)

// Two weights of 16 bits, as they are multiplied and added in pairs.
std::int32_t paired(std::int32_t first, std::int32_t second) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(second) << 16 |
                                   (static_cast<std::uint32_t>(first) & 0xFFFF));
}

// A sum of products, with `lower` for the lower bits of split weights. Plain variables, not arrays: they are to stay in
// registers without the compiler's help.
struct Sum {
  __m256i upper, lower;
};

template <bool kSplit>
DT2IT_AVX2 __m256i joined(Sum sum) {
  if constexpr (kSplit)
    return _mm256_add_epi32(_mm256_slli_epi32(sum.upper, kLowerBits), sum.lower);
  return sum.upper;
}

template <bool kSplit>
DT2IT_AVX2 __m256i rounded(Sum sum, __m256i half, __m128i bits) {
  return _mm256_sra_epi32(_mm256_add_epi32(joined<kSplit>(sum), half), bits);
}

// Eight inputs at a time: the lower half of a register has inputs 0-3 of a block, the upper half 4-7. Within a half two
// shuffles make [r0 r1 g0 g1 b0 b1 - -] and [r2 r3 ...] in 16 bits, which are multiplied and added in pairs.
template <bool kSplit>
DT2IT_AVX2 void add_block(const std::uint8_t* in, const __m256i* weights, Sum& sum) {
  const __m256i front = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
  const __m256i back = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in));
  const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + 12));
  const __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
  const __m256i a = _mm256_shuffle_epi8(bytes, front), b = _mm256_shuffle_epi8(bytes, back);
  sum.upper = _mm256_add_epi32(
      sum.upper, _mm256_add_epi32(_mm256_madd_epi16(a, _mm256_loadu_si256(weights)),
                                  _mm256_madd_epi16(b, _mm256_loadu_si256(weights + 1))));
  if constexpr (kSplit)
    sum.lower = _mm256_add_epi32(
        sum.lower, _mm256_add_epi32(_mm256_madd_epi16(a, _mm256_loadu_si256(weights + 2)),
                                    _mm256_madd_epi16(b, _mm256_loadu_si256(weights + 3))));
}

// The sums of two rows, [a | b], each red, green, blue, nothing.
template <bool kSplit>
DT2IT_AVX2 __m256i two_rows(Sum a, Sum b, __m256i half, __m128i bits) {
  const __m256i x = joined<kSplit>(a), y = joined<kSplit>(b);
  const __m256i sum = _mm256_add_epi32(_mm256_permute2x128_si256(x, y, 0x20),
                                       _mm256_permute2x128_si256(x, y, 0x31));
  return _mm256_sra_epi32(_mm256_add_epi32(sum, half), bits);
}

// Four rows; fewer are the last one again.
template <bool kSplit>
__attribute__((target("avx2"))) void columns_avx2(const AxisWeights& axis,
                                                  const std::int16_t* pairs,
                                                  const std::uint8_t* const* in,
                                                  std::uint8_t* const* out, int rows, int width) {
  const __m256i half = _mm256_set1_epi32(1 << (axis.bits - 1)), zero = _mm256_setzero_si256();
  const __m128i bits = _mm_cvtsi32_si128(axis.bits);
  const int blocks = axis.blocks();
  const auto last = [rows](int row) { return std::min(row, rows - 1); };
  const std::uint8_t *in0 = in[0], *in1 = in[last(1)], *in2 = in[last(2)], *in3 = in[last(3)];
  std::uint8_t *out0 = out[0], *out1 = out[last(1)], *out2 = out[last(2)], *out3 = out[last(3)];
  for (int x = 0; x < width; ++x, out0 += 3, out1 += 3, out2 += 3, out3 += 3) {
    Sum sum0{zero, zero}, sum1{zero, zero}, sum2{zero, zero}, sum3{zero, zero};
    std::ptrdiff_t at = static_cast<std::ptrdiff_t>(axis.first[static_cast<std::size_t>(x)]) * 3;
    for (int b = 0; b < blocks; ++b, at += 24, pairs += kSplit ? 64 : 32) {
      const auto* weights = reinterpret_cast<const __m256i*>(pairs);
      add_block<kSplit>(in0 + at, weights, sum0);
      add_block<kSplit>(in1 + at, weights, sum1);
      add_block<kSplit>(in2 + at, weights, sum2);
      add_block<kSplit>(in3 + at, weights, sum3);
    }
    const __m256i words =
        _mm256_packs_epi32(two_rows<kSplit>(sum0, sum1, half, bits),
                           two_rows<kSplit>(sum2, sum3, half, bits));  // rows 0 and 2 | 1 and 3
    const __m256i bytes = _mm256_packus_epi16(words, words);
    const __m128i even = _mm256_castsi256_si128(bytes), odd = _mm256_extracti128_si256(bytes, 1);
    const int rgb0 = _mm_cvtsi128_si32(even), rgb1 = _mm_cvtsi128_si32(odd);
    const int rgb2 = _mm_extract_epi32(even, 1), rgb3 = _mm_extract_epi32(odd, 1);
    // The fourth byte belongs to the next output, which comes later; the last output has none.
    const std::size_t size = x + 1 < width ? 4 : 3;
    if (size == 4) {
      std::memcpy(out0, &rgb0, 4);
      std::memcpy(out1, &rgb1, 4);
      std::memcpy(out2, &rgb2, 4);
      std::memcpy(out3, &rgb3, 4);
    } else {
      std::memcpy(out0, &rgb0, 3);
      std::memcpy(out1, &rgb1, 3);
      std::memcpy(out2, &rgb2, 3);
      std::memcpy(out3, &rgb3, 3);
    }
  }
}

template <bool kSplit>
DT2IT_AVX2 void add_pair(__m256i bytes, __m256i weight, __m256i lower_weight, Sum& sum) {
  sum.upper = _mm256_add_epi32(sum.upper, _mm256_madd_epi16(bytes, weight));
  if constexpr (kSplit)
    sum.lower = _mm256_add_epi32(sum.lower, _mm256_madd_epi16(bytes, lower_weight));
}

template <bool kSplit>
__attribute__((target("avx2"))) void rows_avx2(const AxisWeights& axis, int y,
                                               const std::uint8_t* const* in, std::uint8_t* out,
                                               std::size_t bytes) {
  const std::int32_t* weights = axis.weights.data() + axis.offset[static_cast<std::size_t>(y)];
  const int count = axis.count(y);
  const __m256i half = _mm256_set1_epi32(1 << (axis.bits - 1)), zero = _mm256_setzero_si256();
  const __m128i bits = _mm_cvtsi32_si128(axis.bits);
  for (std::size_t at = 0; at < bytes; at += 32) {
    at = std::min(at, bytes - 32);  // the last block may overlap the one before
    Sum sum0{zero, zero}, sum1{zero, zero}, sum2{zero, zero}, sum3{zero, zero};
    for (int k = 0; k < count; k += 2) {
      const bool pair = k + 1 < count;
      const std::int32_t w0 = weights[k], w1 = pair ? weights[k + 1] : 0;
      const __m256i weight =
          _mm256_set1_epi32(kSplit ? paired(w0 >> kLowerBits, w1 >> kLowerBits) : paired(w0, w1));
      const __m256i lower_weight = _mm256_set1_epi32(paired(w0 & kLowerMask, w1 & kLowerMask));
      const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in[k] + at));
      const __m256i b =
          pair ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in[k + 1] + at)) : zero;
      const __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
      add_pair<kSplit>(_mm256_unpacklo_epi8(low, zero), weight, lower_weight, sum0);
      add_pair<kSplit>(_mm256_unpackhi_epi8(low, zero), weight, lower_weight, sum1);
      add_pair<kSplit>(_mm256_unpacklo_epi8(high, zero), weight, lower_weight, sum2);
      add_pair<kSplit>(_mm256_unpackhi_epi8(high, zero), weight, lower_weight, sum3);
    }
    const __m256i first =
        _mm256_packs_epi32(rounded<kSplit>(sum0, half, bits), rounded<kSplit>(sum1, half, bits));
    const __m256i second =
        _mm256_packs_epi32(rounded<kSplit>(sum2, half, bits), rounded<kSplit>(sum3, half, bits));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + at), _mm256_packus_epi16(first, second));
  }
}

#endif

}  // namespace

bool vector_kernels() {
#if defined(__x86_64__)
  static const bool there = __builtin_cpu_supports("avx2");
  return there;
#else
  return false;
#endif
}

std::vector<std::int16_t> pair_columns(const AxisWeights& axis) {
  // Where inputs of a block go, as pairs of 16 bits that are repeated for red, green, blue and
  // nothing.
  constexpr int kPair[4][2] = {
      {0, 1}, {4, 5}, {2, 3}, {6, 7}};  // front: lower and upper half; back: the same
  std::vector<std::int16_t> all;
  const int outputs = static_cast<int>(axis.first.size());
  all.reserve(static_cast<std::size_t>(outputs) * static_cast<std::size_t>(axis.blocks()) *
              (axis.split ? 64 : 32));
  for (int x = 0; x < outputs; ++x) {
    const std::int32_t* weights = axis.weights.data() + axis.offset[static_cast<std::size_t>(x)];
    const int count = axis.count(x);
    for (int block = 0; block < axis.blocks(); ++block)
      for (int part = 0; part < (axis.split ? 2 : 1); ++part)
        for (const auto& pair : kPair)
          for (int channel = 0; channel < 4; ++channel)
            for (const int input : pair) {
              const int k = block * 8 + input;
              const std::int32_t weight = k < count ? weights[k] : 0;
              all.push_back(static_cast<std::int16_t>(!axis.split ? weight
                                                      : part == 0 ? weight >> kLowerBits
                                                                  : weight & kLowerMask));
            }
  }
  return all;
}

void resample_columns(const AxisWeights& axis, const std::vector<std::int16_t>& pairs,
                      const std::uint8_t* const* in, std::uint8_t* const* out, int count, int width,
                      [[maybe_unused]] bool vector) {
#if defined(__x86_64__)
  if (vector) {
    if (axis.split)
      columns_avx2<true>(axis, pairs.data(), in, out, count, width);
    else
      columns_avx2<false>(axis, pairs.data(), in, out, count, width);
    return;
  }
#endif
  for (int i = 0; i < count; ++i) columns_scalar(axis, in[i], out[i], width);
}

void resample_rows(const AxisWeights& axis, int y, const std::uint8_t* const* in, std::uint8_t* out,
                   std::size_t bytes, [[maybe_unused]] bool vector) {
#if defined(__x86_64__)
  if (vector && bytes >= 32) {
    if (axis.split)
      rows_avx2<true>(axis, y, in, out, bytes);
    else
      rows_avx2<false>(axis, y, in, out, bytes);
    return;
  }
#endif
  rows_scalar(axis, y, in, out, 0, bytes);
}

}  // namespace dt2it::nn
