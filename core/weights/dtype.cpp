// SPDX-License-Identifier: Apache-2.0
#include "core/weights/dtype.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#ifdef __GNUC__
#pragma GCC optimize("O3")  // the loops below are worth vector instructions
#endif

namespace dt2it {
namespace {

struct Known {
  std::string_view name;
  std::size_t bits;
};
constexpr std::array<Known, 22> kKnown{
    {{"F64", 64},    {"F32", 32},    {"F16", 16},        {"BF16", 16},       {"I64", 64},
     {"I32", 32},    {"I16", 16},    {"I8", 8},          {"BOOL", 8},        {"U64", 64},
     {"U32", 32},    {"U16", 16},    {"U8", 8},          {"C64", 64},        {"F8_E5M2", 8},
     {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E5M2FNUZ", 8}, {"F8_E4M3FNUZ", 8}, {"F6_E2M3", 6},
     {"F6_E3M2", 6}, {"F4", 4}}};
static_assert(kKnown.size() == static_cast<std::size_t>(Dtype::none));

std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return static_cast<std::uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::uint16_t to_f16(float value) {
  const auto all = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = all >> 16 & 0x8000, bits = all & 0x7fffffff;
  std::uint32_t half = 0;
  if (bits >= 0x47800000)  // 65536 and more, infinities, NaN
    half = bits > 0x7f800000 ? 0x7e00 : 0x7c00;
  else if (bits < 0x38800000)  // below the smallest normal one: adding 0.5 rounds at the right bit
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(bits) + 0.5f) - 0x3f000000;
  else
    half = (bits - (112u << 23) + 0xfff + (bits >> 13 & 1)) >> 13;
  return static_cast<std::uint16_t>(sign | half);
}

float from_f16(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16, exponent = half & 0x7c00u;
  std::uint32_t bits = (half & 0x7fffu) << 13;
  if (exponent == 0x7c00)  // infinities, NaN
    bits += 224u << 23;
  else if (exponent == 0)  // a subnormal one: its digits count in units of 2^-24
    bits = std::bit_cast<std::uint32_t>(static_cast<float>(half & 0x3ffu) * 0x1p-24f);
  else
    bits += 112u << 23;
  return std::bit_cast<float>(sign | bits);
}

// A block of values as float; `to_type` then takes them from there. Only float64 to float64 would
// lose.
constexpr std::size_t kBlock = 1024;

template <class Stored, class Widen>
void widen(const void* from, float* to, std::size_t count, Widen each) {
  Stored values[kBlock];
  std::memcpy(values, from, count * sizeof(Stored));
  for (std::size_t i = 0; i < count; ++i) to[i] = each(values[i]);
}

template <class Stored, class Narrow>
void narrow(const float* from, void* to, std::size_t count, Narrow each) {
  Stored values[kBlock];
  for (std::size_t i = 0; i < count; ++i) values[i] = each(from[i]);
  std::memcpy(to, values, count * sizeof(Stored));
}

}  // namespace

std::string_view dtype_name(Dtype type) {
  return type == Dtype::none ? "unknown" : kKnown[static_cast<std::size_t>(type)].name;
}

Dtype dtype_named(std::string_view name) {
  const auto found = std::find_if(kKnown.begin(), kKnown.end(),
                                  [&](const Known& known) { return known.name == name; });
  return static_cast<Dtype>(found - kKnown.begin());
}

std::size_t dtype_bits(Dtype type) {
  return type == Dtype::none ? 0 : kKnown[static_cast<std::size_t>(type)].bits;
}

void convert(const void* from, Dtype from_type, void* to, Dtype to_type, std::size_t count) {
  if (count == 0) return;
  if (from_type == to_type) {
    std::memcpy(to, from, count * dtype_size(from_type));
    return;
  }
  const auto* source = static_cast<const char*>(from);
  auto* target = static_cast<char*>(to);
  for (std::size_t done = 0; done < count; done += kBlock) {
    const std::size_t n = std::min(kBlock, count - done);
    float block[kBlock];
    const void* in = source + done * dtype_size(from_type);
    void* out = target + done * dtype_size(to_type);
    switch (from_type) {
      case Dtype::bf16: widen<std::uint16_t>(in, block, n, from_bf16); break;
      case Dtype::f16: widen<std::uint16_t>(in, block, n, from_f16); break;
      case Dtype::f64:
        widen<double>(in, block, n, [](double v) { return static_cast<float>(v); });
        break;
      default: std::memcpy(block, in, n * sizeof(float));
    }
    switch (to_type) {
      case Dtype::bf16: narrow<std::uint16_t>(block, out, n, to_bf16); break;
      case Dtype::f16: narrow<std::uint16_t>(block, out, n, to_f16); break;
      case Dtype::f64:
        narrow<double>(block, out, n, [](float v) { return static_cast<double>(v); });
        break;
      default: std::memcpy(out, block, n * sizeof(float));
    }
  }
}

}  // namespace dt2it
