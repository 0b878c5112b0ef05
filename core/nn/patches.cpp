// SPDX-License-Identifier: Apache-2.0
// Pixels to normalised patches, straight in the order in which the vision tower takes them.
#include <algorithm>
#include <array>
#include <cstring>

#include "core/nn/image_processor.hpp"
#include "core/nn/resample_kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dt2it::nn {
namespace {

// Where one line of a patch goes: `channel` floats from one channel to the next; to `second` too,
// where that is not null.
struct Target {
  float* first;
  float* second;
  std::ptrdiff_t channel;
};

struct Normal {
  std::array<float, 3> mean, deviation;              // in grey levels
  std::array<std::array<float, 256>, 3> of_level{};  // the same arithmetic for each level
};

void line_scalar(const std::uint8_t* pixels, int count, const Normal& normal, const Target& to) {
  for (std::size_t c = 0; c < 3; ++c) {
    float* out = to.first + static_cast<std::ptrdiff_t>(c) * to.channel;
    for (int x = 0; x < count; ++x)
      out[x] = normal.of_level[c][pixels[3 * x + static_cast<int>(c)]];
    if (to.second)
      std::memcpy(to.second + static_cast<std::ptrdiff_t>(c) * to.channel, out,
                  static_cast<std::size_t>(count) * sizeof(float));
  }
}

#if defined(__x86_64__)

#define DT2IT_AVX2 [[gnu::always_inline]] __attribute__((target("avx2"))) inline

DT2IT_AVX2 __m128i pick(__m128i a, __m128i b, __m128i c, __m128i from_a, __m128i from_b,
                        __m128i from_c) {
  return _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(a, from_a), _mm_shuffle_epi8(b, from_b)),
                      _mm_shuffle_epi8(c, from_c));
}

DT2IT_AVX2 __m256 normalised(__m128i levels, __m256 mean, __m256 deviation) {
  return _mm256_div_ps(_mm256_sub_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(levels)), mean),
                       deviation);
}

template <bool kStream>
DT2IT_AVX2 void store(float* to, __m256 values) {
  if constexpr (kStream)
    _mm256_stream_ps(to, values);
  else
    _mm256_storeu_ps(to, values);
}

// One channel of 14 or 16 pixels. Subtraction, then division: what torch does, to the last bit.
template <int kCount, bool kStream>
DT2IT_AVX2 void channel_avx2(__m128i levels, const Normal& normal, std::size_t channel,
                             const Target& to) {
  constexpr int kSecond = kCount - 8;  // the second half begins here and may overlap the first
  const __m256 mean = _mm256_set1_ps(normal.mean[channel]),
               deviation = _mm256_set1_ps(normal.deviation[channel]);
  const __m256 low = normalised(levels, mean, deviation),
               high = normalised(_mm_srli_si128(levels, kSecond), mean, deviation);
  const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(channel) * to.channel;
  store<kStream>(to.first + at, low);
  store<kStream>(to.first + at + kSecond, high);
  if (to.second) {
    store<kStream>(to.second + at, low);
    store<kStream>(to.second + at + kSecond, high);
  }
}

// Reads 48 bytes. kStream: past the caches, to targets at multiples of 32 bytes.
template <int kCount, bool kStream>
__attribute__((target("avx2"))) void line_avx2(const std::uint8_t* pixels, const Normal& normal,
                                               const Target& to) {
  const auto* in = reinterpret_cast<const __m128i*>(pixels);
  const __m128i a = _mm_loadu_si128(in), b = _mm_loadu_si128(in + 1), c = _mm_loadu_si128(in + 2);
  const __m128i red =
      pick(a, b, c, _mm_setr_epi8(0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
           _mm_setr_epi8(-1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14, -1, -1, -1, -1, -1),
           _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 4, 7, 10, 13));
  const __m128i green =
      pick(a, b, c, _mm_setr_epi8(1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
           _mm_setr_epi8(-1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1),
           _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14));
  const __m128i blue =
      pick(a, b, c, _mm_setr_epi8(2, 5, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
           _mm_setr_epi8(-1, -1, -1, -1, -1, 1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1),
           _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15));
  channel_avx2<kCount, kStream>(red, normal, 0, to);
  channel_avx2<kCount, kStream>(green, normal, 1, to);
  channel_avx2<kCount, kStream>(blue, normal, 2, to);
}

#endif

using Line = void (*)(const std::uint8_t*, const Normal&, const Target&);

// Patches beyond this leave the caches before anybody reads them: they need not be fetched into them to be written.
constexpr std::size_t kStreamed = std::size_t{8} << 20;

Line vector_line([[maybe_unused]] int patch, [[maybe_unused]] const float* out,
                 [[maybe_unused]] std::size_t bytes) {
#if defined(__x86_64__)
  if (!vector_kernels()) return nullptr;
  if (patch == 16) {
    const bool stream = bytes > kStreamed && reinterpret_cast<std::uintptr_t>(out) % 32 == 0;
    return stream ? line_avx2<16, true> : line_avx2<16, false>;
  }
  if (patch == 14) return line_avx2<14, false>;
#endif
  return nullptr;
}

}  // namespace

std::int64_t patch_count(const PreparedVisual& visual, const ImageProcessorConfig& config) {
  const std::int64_t steps = (visual.frames + config.temporal - 1) / config.temporal;
  return steps * (visual.height / config.patch) * (visual.width / config.patch);
}

void write_patches(const PreparedVisual& visual, const ImageProcessorConfig& config, float* out,
                   bool vector) {
  const int p = config.patch;
  Normal normal;
  for (std::size_t c = 0; c < 3; ++c) {
    normal.mean[c] = config.mean[c] * 255.f;
    normal.deviation[c] = config.deviation[c] * 255.f;
    for (std::size_t level = 0; level < 256; ++level)
      normal.of_level[c][level] =
          (static_cast<float>(level) - normal.mean[c]) / normal.deviation[c];
  }
  const auto bytes =
      static_cast<std::size_t>(patch_count(visual, config) * config.patch_length()) * sizeof(float);
  const Line fast = vector ? vector_line(p, out, bytes) : nullptr;
  const std::ptrdiff_t stride = std::ptrdiff_t{visual.width} * 3,
                       frame_bytes = stride * visual.height;
  const std::ptrdiff_t plane = std::ptrdiff_t{p} * p, channel = plane * config.temporal;
  const std::uint8_t* const end = visual.rgb.data() + visual.rgb.size();
  const int blocks_y = visual.height / p / config.merge, blocks_x = visual.width / p / config.merge;
  for (int begin = 0; begin < visual.frames; begin += config.temporal)
    for (int by = 0; by < blocks_y; ++by)
      for (int bx = 0; bx < blocks_x; ++bx)
        for (int iy = 0; iy < config.merge; ++iy)
          for (int ix = 0; ix < config.merge; ++ix, out += 3 * channel) {
            const int top = (by * config.merge + iy) * p, left = (bx * config.merge + ix) * p;
            for (int f = 0; f < config.temporal; ++f) {
              const int frame = std::min(begin + f, visual.frames - 1);
              // An image is its own second frame, a video's last one may be: the pixels are read
              // once for both.
              const bool twice = f + 1 < config.temporal && frame + 1 == visual.frames;
              const std::uint8_t* pixels =
                  visual.rgb.data() + frame * frame_bytes + top * stride + std::ptrdiff_t{left} * 3;
              for (int y = 0; y < p; ++y, pixels += stride) {
                float* first = out + f * plane + std::ptrdiff_t{y} * p;
                const Target to{first, twice ? first + plane : nullptr, channel};
                if (fast && end - pixels >= 48)
                  fast(pixels, normal, to);
                else
                  line_scalar(pixels, p, normal, to);
              }
              if (twice) ++f;
            }
          }
#if defined(__x86_64__)
  _mm_sfence();  // what went past the caches is seen by other threads
#endif
}

}  // namespace dt2it::nn
